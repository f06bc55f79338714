// Measures how fast an adapter reads memory: each thread combines `PER` vec4s with XOR, eight at a time, in one of two
// orders: a contiguous range per thread (which suits software adapters), or interleaved with all other threads (which
// suits GPUs).

override PER: u32;        // vec4s that a thread reads, a multiple of 8
override INTERLEAVED: bool;     // interleaved with all other threads
override THREADS: u32;    // in the whole grid
override WORKGROUP: u32;

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>; // [THREADS · PER]
@group(0) @binding(1) var<storage, read_write> reduced: array<u32>; // [THREADS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let step = select(1u, THREADS, INTERLEAVED);
    var at = select(id.x * PER, id.x, INTERLEAVED);
    var x = vec4<u32>();
    for (var i = 0u; i < PER; i += 8u) {
        x ^= source[at] ^ source[at + step] ^ source[at + 2u * step] ^ source[at + 3u * step];
        x ^= source[at + 4u * step] ^ source[at + 5u * step] ^ source[at + 6u * step] ^ source[at + 7u * step];
        at += 8u * step;
    }
    reduced[id.x] = x.x ^ x.y ^ x.z ^ x.w;
}
