// How fast an adapter reads memory when nothing else is to be done: each thread joins a stretch of `PER` words of four, eight at a
// time. In two orders: a stretch of its own (which software adapters prefer), or by turns with its neighbours (which GPUs do).

override PER: u32;        // vec4s a thread reads, a multiple of 8
override TURNS: bool;     // by turns with all other threads
override THREADS: u32;    // of the whole grid
override WORKGROUP: u32;

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>; // [THREADS · PER]
@group(0) @binding(1) var<storage, read_write> joined: array<u32>; // [THREADS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let step = select(1u, THREADS, TURNS);
    var at = select(id.x * PER, id.x, TURNS);
    var x = vec4<u32>();
    for (var i = 0u; i < PER; i += 8u) {
        x ^= source[at] ^ source[at + step] ^ source[at + 2u * step] ^ source[at + 3u * step];
        x ^= source[at + 4u * step] ^ source[at + 5u * step] ^ source[at + 6u * step] ^ source[at + 7u * step];
        at += 8u * step;
    }
    joined[id.x] = x.x ^ x.y ^ x.z ^ x.w;
}
