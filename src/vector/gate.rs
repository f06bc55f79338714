//! Gates of MLPs.

use super::exp::exp;
use super::lanes::F32x4;

/// How a gate and an up become one value, as `kernels/epilogue.rs` describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // see there
pub enum Gate {
    Silu,
    GeluTanh,
    Clamped { limit: f32 },
}

impl Gate {
    #[inline(always)]
    fn apply(self, gate: F32x4, up: F32x4) -> F32x4 {
        let of = F32x4::splat;
        // gate / (1 + exp(-v))
        let sigmoid = |gate: F32x4, v: F32x4| gate.div(of(1.0).add(exp(of(0.0).sub(v))));
        match self {
            Self::Silu => sigmoid(gate, gate).mul(up),
            Self::GeluTanh => {
                // (1 + tanh(u)) / 2 is the sigmoid of 2u.
                let cubed = gate.mul(gate).mul(gate);
                let inner = gate.add(cubed.mul(of(0.044715)));
                sigmoid(gate, inner.mul(of(1.595_769))).mul(up)
            }
            Self::Clamped { limit } => {
                let (gate, up) = (gate.min(of(limit)), up.max(of(-limit)).min(of(limit)));
                sigmoid(gate, gate.mul(of(1.702))).mul(up.add(of(1.0)))
            }
        }
    }
}

fn four(values: &[f32]) -> F32x4 {
    match values.first_chunk() {
        Some(&four) => F32x4::new(four),
        None => F32x4::new(std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0))),
    }
}

/// Gates pairs of a gate and an up.
pub fn gate_pairs(gate: Gate, pairs: &[f32], to: &mut [f32]) {
    for (pairs, to) in pairs.chunks(8).zip(to.chunks_mut(4)) {
        let [gates, ups] = four(pairs).unzip(four(pairs.get(4..).unwrap_or_default()));
        to.copy_from_slice(&gate.apply(gates, ups).values()[..to.len()]);
    }
}

/// Gates rows of gates and of ups.
pub fn gate_rows(gate: Gate, gates: &[f32], ups: &[f32], to: &mut [f32]) {
    for ((gates, ups), to) in gates.chunks(4).zip(ups.chunks(4)).zip(to.chunks_mut(4)) {
        to.copy_from_slice(&gate.apply(four(gates), four(ups)).values()[..to.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(of: Gate, gate: f64, up: f64) -> f64 {
        match of {
            Gate::Silu => gate / (1.0 + (-gate).exp()) * up,
            Gate::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044715 * gate.powi(3));
                0.5 * gate * (1.0 + inner.tanh()) * up
            }
            Gate::Clamped { limit } => {
                let (gate, up) = (gate.min(limit.into()), up.clamp(-f64::from(limit), limit.into()));
                gate / (1.0 + (-1.702 * gate).exp()) * (up + 1.0)
            }
        }
    }

    #[test]
    fn gates_are_those_of_f64() {
        for gate in [Gate::Silu, Gate::GeluTanh, Gate::Clamped { limit: 7.0 }] {
            for n in [1, 2, 3, 4, 5, 8, 1001] {
                let gates: Vec<f32> = (0..n).map(|i| -40.0 + 80.0 * ((i * 389 % 1009) as f32 / 1009.0)).collect();
                let ups: Vec<f32> = (0..n).map(|i| 9.0 - 18.0 * ((i * 241 % 1013) as f32 / 1013.0)).collect();
                let pairs: Vec<f32> = gates.iter().zip(&ups).flat_map(|(&g, &u)| [g, u]).collect();
                let (mut of_pairs, mut of_rows) = (vec![0.0; n], vec![0.0; n]);
                gate_pairs(gate, &pairs, &mut of_pairs);
                gate_rows(gate, &gates, &ups, &mut of_rows);
                assert_eq!(of_pairs, of_rows);
                for ((&g, &u), &got) in gates.iter().zip(&ups).zip(&of_rows) {
                    let want = exact(gate, g.into(), u.into());
                    assert!(
                        (f64::from(got) - want).abs() <= 2e-6 * want.abs().max(0.1),
                        "{gate:?} {g} {u}: {got} {want}"
                    );
                }
            }
        }
        let mut y = [0.0; 6];
        let ends = [1e30, -1e30, 200.0, -200.0, f32::INFINITY, f32::NAN];
        for gate in [Gate::Silu, Gate::GeluTanh] {
            gate_rows(gate, &ends, &[1.0; 6], &mut y);
            assert_eq!(y[..5], [1e30, 0.0, 200.0, 0.0, f32::INFINITY]);
            assert!(y[5].is_nan());
        }
    }
}
