// What changes from step to step. The host writes it before a prefill chunk; afterwards the sampler advances it.
struct State {
    position: u32, // tokens in the KV cache before this step
    count: u32,    // tokens of this step: 1 in decode, the chunk's in prefill
    draws: u32,    // random draws of this generation so far
    ring: u32,     // tokens sampled so far: the next goes to slot ring % ring size
}
