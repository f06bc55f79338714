// Combines a gate and an up value into one.
override GATE: u32 = 0u;     // 0: silu(gate) · up (Shazeer 2020, arXiv 2002.05202); 1: gelu_tanh(gate) · up (Hendrycks &
                             // Gimpel 2016, arXiv 1606.08415); 2: gpt-oss, both clamped
override LIMIT: f32 = 7.0;   // of the clamp

fn gate_up(gate: f32, up: f32) -> f32 {
    if (GATE == 1u) {
        // A large argument makes exp infinite in tanh's quotient on some devices; tanh is 1 long before.
        let inner = clamp(0.7978845608 * (gate + 0.044715 * gate * gate * gate), -15.0, 15.0);
        return 0.5 * gate * (1.0 + tanh(inner)) * up;
    }
    if (GATE == 2u) {
        let g = min(gate, LIMIT);
        return g / (1.0 + exp(-1.702 * g)) * (clamp(up, -LIMIT, LIMIT) + 1.0);
    }
    return gate / (1.0 + exp(-gate)) * up;
}
