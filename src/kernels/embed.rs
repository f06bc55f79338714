//! The embedding: `x[t] = scale · W[tokens[t]]`.

use super::small::{K, Maker, ROWS, Small};
use super::{Control, CpuMemory, Kernel, Params, State, params, shader};
use crate::plan::{Access, Activation, Binding, GROUP, Layout, Matrix, Step};

/// See `shaders/embed.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "embed",
    shader: shader!("embed", "state", "block"),
    reads_weights: true,
    variants: &[],
    params: EmbedParams::FIELDS,
    reference,
    cpu: None,
    small: Some(small),
};

params!(EmbedParams { groups: u32, row_start: u32, row_end: u32, stride: u32, scale: f32 });

/// Rows of the embedding matrix for the step's tokens.
#[derive(Debug, Clone, Copy)]
pub struct Embed<'a> {
    /// `[vocabulary, D]`
    pub w: &'a Matrix,
    /// `[T, D]`
    pub x: Activation,
    /// Multiplies every value.
    pub scale: f32,
}

impl Embed<'_> {
    /// One step for each part of the matrix; a token's row lies in one of them.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        assert_eq!(self.x.width, self.w.k, "{label}: width of x");
        let groups = Layout::groups(self.w.k);
        self.w.parts.iter().map(move |part| {
            let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
            let mut bindings = vec![read(1, control.state), read(2, part.codes)];
            bindings.extend(part.scales.map(|s| read(3, s)));
            bindings.push(read(4, control.tokens));
            bindings.push(Binding { slot: 5, buffer: self.x.buffer, access: Access::ReadWrite });
            let params = EmbedParams {
                groups: groups as u32,
                row_start: part.rows.start as u32,
                row_end: part.rows.end as u32,
                stride: self.x.stride() as u32 / 4,
                scale: self.scale,
            };
            Step {
                label: label.to_owned(),
                kernel: KERNEL.name,
                shader: KERNEL.shader.of(part.layout),
                constants: Vec::new(),
                bindings,
                params: params.words(),
                grid: [groups.div_ceil(64) as u32, self.x.rows as u32, 1],
                detail: format!(
                    "w[{},{}]:{} → [{},{}]",
                    part.rows.len(),
                    self.w.k,
                    part.layout.name(),
                    self.x.rows,
                    self.x.width
                ),
            }
        })
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = EmbedParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let layout = step.layout();
    let k = p.groups as usize * crate::plan::GROUP;
    let (cb, sb) = (layout.code_row_bytes(k), layout.scale_row_bytes(k));
    let tokens = memory.words(step.buffer(4))[..state.count as usize].to_vec();
    let here: Vec<(usize, usize)> = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| (p.row_start..p.row_end).contains(token))
        .map(|(t, token)| (t, (token - p.row_start) as usize))
        .collect();
    for &(t, row) in &here {
        let Some(row) = memory.local_row(step.buffer(2), row) else { continue };
        let scales = if sb > 0 { &memory.bytes(step.buffer(3))[row * sb..][..sb] } else { &[] };
        let w = layout.dequantize_row(k, &memory.bytes(step.buffer(2))[row * cb..][..cb], scales);
        let x = &mut memory.floats_mut(step.buffer(5))[t * p.stride as usize * 4..];
        x.iter_mut().zip(w).for_each(|(x, w)| *x = (f64::from(w) * f64::from(p.scale)) as f32);
    }
    exchange_rows(step, memory, &here, p.stride as usize * 4);
}

/// Exchanges the rows of `x` that workers have made, each for the tokens whose rows it holds; `here` are tokens and rows of this part.
fn exchange_rows(step: &Step, memory: &mut CpuMemory, here: &[(usize, usize)], stride: usize) {
    let codes = step.buffer(2);
    let Some(division) = memory.division_of(codes).cloned() else { return };
    let mut owners: Vec<(usize, usize)> = here.iter().map(|&(t, row)| (memory.owner(codes, row), t)).collect();
    owners.sort_unstable();
    let before = |worker: usize| owners.iter().filter(|(owner, _)| *owner < worker).count() * stride;
    let own = before(division.share.index)..before(division.share.index + 1);
    let row = |t: usize| t * stride..(t + 1) * stride;
    let x = memory.floats_mut(step.buffer(5));
    let mut all: Vec<f32> = owners.iter().flat_map(|&(_, t)| x[row(t)].to_vec()).collect();
    division.gather(&mut all, own);
    for (&(_, t), values) in owners.iter().zip(all.chunks_exact(stride)) {
        x[row(t)].copy_from_slice(values);
    }
}

fn small(maker: &mut Maker, step: &Step) -> Small {
    let params = EmbedParams {
        groups: (K / GROUP) as u32,
        row_start: 0,
        row_end: ROWS as u32,
        stride: K as u32 / 4,
        scale: EmbedParams::of(step).scale,
    };
    maker.state(0, 3);
    maker.weights(step.layout(), ROWS, K);
    maker.bytes(4, bytemuck::cast_slice(&[5u32, ROWS as u32 - 1, 0]).to_vec());
    maker.floats(5, 3 * K);
    (params.words(), [1, 3, 1], vec![(5, None)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;
    use crate::plan::GROUP;

    #[test]
    fn every_layout_whole_and_in_parts() {
        for layout in Layout::ALL {
            for (k, max_binding) in [(32usize, u64::MAX), (96, u64::MAX), (576, 192 << 10)] {
                let k = k.next_multiple_of(layout.row_multiple());
                let mut b = Bench::new(9, 200);
                let w = b.matrix("w", 200, k, layout, max_binding);
                let x = b.activation("x", 12, k);
                b.plan.push(Embed { w: &w, x, scale: 1.5 }.steps("embed", &b.control));
                b.check(x.buffer, 1e-6, &format!("{layout:?} k={k}")); // one product
            }
        }
        let mut b = Bench::new(9, 200);
        let w = b.matrix("w", 200, 41, Layout::F16, u64::MAX);
        let x = b.activation("x", 9, 41);
        b.plan.push(Embed { w: &w, x, scale: 1.0 }.steps("embed", &b.control));
        b.check(x.buffer, 1e-6, "k=41");
    }

    /// All exponents whose values are f32: bit for bit, and 0 for the two whose scales may be subnormal.
    #[test]
    fn exponents_of_four_bit_floats() {
        for exponents in [2..=252u8, 0..=1] {
            let n = exponents.len();
            let mut b = Bench::new(n, n);
            let w = b.matrix("w", n, GROUP, Layout::Mxfp4, u64::MAX);
            let codes = (0..16 * n).map(|i| [0x10, 0x32, 0x54, 0x76, 0x99, 0xba, 0xdc, 0xfe][i % 8]);
            b.set(w.parts[0].codes, &codes.collect::<Vec<u8>>());
            let scales: Vec<u8> = exponents.clone().flat_map(|e| [e, 0, 0, 0]).collect();
            b.set(w.parts[0].scales.expect("it has scales"), &scales);
            b.set(b.control.tokens, bytemuck::cast_slice(&(0..n as u32).collect::<Vec<_>>()));
            let x = b.activation("x", n, GROUP);
            b.plan.push(Embed { w: &w, x, scale: 1.0 }.steps("embed", &b.control));
            match exponents.start() {
                0 => b.check(x.buffer, 1e-37, "subnormals"),
                _ => b.check_exact(x.buffer, "normal scales"),
            }
        }
    }
}
