//! The small steps of attention and its reduction, for the self-test.

use super::{AttentionParams, ReduceParams};
use crate::kernels::KvFormat;
use crate::kernels::kernel::Params;
use crate::kernels::small::{CAPACITY, HEADS, Maker, POSITION, Small};
use crate::plan::Step;

pub(super) fn attention(maker: &mut Maker, step: &Step) -> Small {
    let p = AttentionParams::of(step);
    let splits = step.constant("SPLITS") as u32;
    let (heads, count) = ((p.heads / p.kv_heads).min(HEADS), if splits > 1 { 1 } else { 2 });
    let params = AttentionParams {
        heads,
        kv_heads: 1,
        window: p.window.min(CAPACITY as u32),
        chunk: p.chunk.min(CAPACITY as u32),
        q_stride: heads * p.key_dim,
        out_stride: heads * p.value_dim,
        scale: 1.0 / (p.key_dim as f32).sqrt(),
        capacity: CAPACITY as u32,
        ..p
    };
    let format = KvFormat::of(step);
    maker.state(POSITION, count as usize);
    maker.floats(2, (count * heads * p.key_dim) as usize);
    maker.cache(3, format, p.key_dim as usize);
    maker.cache(4, format, p.value_row as usize);
    let out = if splits > 1 { heads * splits * (p.value_dim + 2) } else { count * heads * p.value_dim };
    maker.zeros(5, out as usize);
    maker.floats(6, heads as usize);
    let grid = [1, splits, (heads * count).div_ceil(step.constant("ROWS") as u32)];
    (params.words(), grid, vec![(5, None)])
}

pub(super) fn reduce(maker: &mut Maker, step: &Step) -> Small {
    let p = ReduceParams::of(step);
    let splits = step.constant("SPLITS") as usize;
    let params = ReduceParams { window: p.window.min(CAPACITY as u32), chunk: p.chunk.min(CAPACITY as u32), ..p };
    maker.state(POSITION, 1);
    maker.partials(2, 2 * splits, p.value_dim as usize);
    maker.zeros(3, 2 * p.value_dim as usize);
    maker.floats(6, 2);
    (params.words(), [2, 1, 1], vec![(3, None)])
}
