//! Small steps of the kernels of experts and of latent attention.

use super::{CAPACITY, K, Maker, POSITION, Small, shared_row};
use crate::kernels::experts::{self, DownParams, UpParams};
use crate::kernels::grouped::{self, MatmulParams, SortParams, SumParams};
use crate::kernels::latent::{self, QueryParams, ValueParams};
use crate::kernels::matvec::layout_of;
use crate::kernels::route::RouteParams;
use crate::kernels::{KvFormat, Params, rope_table};
use crate::plan::{GROUP, Step};

/// Experts of the small mixtures, of so many rows, and entries of a token.
const EXPERTS: usize = 8;
const ROWS: usize = 4;
const ENTRIES: usize = 2;
/// Heads of the small latent attention, with so many values of each kind.
const HEADS: usize = 2;
const NOPE: usize = 6;
const ROTARY: usize = 4;
const VALUES: usize = 6;

impl Maker {
    /// Logits of `tokens` in slot 8 with room for entries, corrections and slots in slot 9; where the entries begin.
    fn router(&mut self, tokens: usize) -> usize {
        let stride = (EXPERTS + 1).next_multiple_of(GROUP);
        self.floats(8, tokens * (stride + 2 * ENTRIES));
        let mut table: Vec<u32> = (0..EXPERTS).map(|_| (0.1 * self.random()).to_bits()).collect();
        table.extend((0..EXPERTS as u32).rev()); // slots
        self.bytes(9, bytemuck::cast_slice(&table).to_vec());
        tokens * stride
    }

    /// Entries of `tokens` in slot 8, from its beginning: neighbours among the experts.
    fn entries(&mut self, tokens: usize) -> Vec<u32> {
        let slots: Vec<u32> = (0..tokens * ENTRIES).map(|i| ((3 * i + i / ENTRIES) % EXPERTS) as u32).collect();
        let words: Vec<u32> = slots.iter().flat_map(|&slot| [slot, self.random().to_bits()]).collect();
        self.bytes(8, bytemuck::cast_slice(&words).to_vec());
        slots
    }

    /// Groups of experts, those kept and the experts chosen, as few as the small mixture has.
    fn choice(groups: u32, top_k: u32) -> [u32; 3] {
        if groups > 1 { [2, 1, top_k.min(ENTRIES as u32)] } else { [1, 1, top_k.min(ENTRIES as u32)] }
    }

    pub(super) fn route(&mut self, step: &Step) -> Small {
        let p = RouteParams::of(step);
        let [expert_groups, kept_groups, top_k] = Self::choice(p.expert_groups, p.top_k);
        self.state(0, 3);
        let routing_at = self.router(3);
        let params = RouteParams {
            experts: EXPERTS as u32,
            top_k,
            expert_groups,
            kept_groups,
            shared_slot: 0,
            routing_at: routing_at as u32,
            entries: ENTRIES as u32,
            stride: (routing_at / 3) as u32,
            ..p
        };
        (params.words(), [3, 1, 1], vec![(8, None)])
    }

    pub(super) fn expert_up(&mut self, step: &Step) -> Small {
        let k = shared_row(step);
        let p = UpParams::of(step);
        let [expert_groups, kept_groups, top_k] = Self::choice(p.expert_groups, p.top_k);
        self.weights(layout_of(step, &experts::UP_SHADERS), EXPERTS * ROWS, k);
        self.floats(4, k);
        self.zeros(5, ENTRIES * ROWS / 2);
        self.floats(6, k);
        self.floats(7, EXPERTS * ROWS);
        let params = UpParams {
            groups: (k / GROUP) as u32,
            rows: ROWS as u32,
            first_slot: 0,
            slots: EXPERTS as u32,
            width: k as u32,
            h_stride: ROWS as u32 / 2,
            first_entry: 0,
            experts: EXPERTS as u32,
            top_k,
            expert_groups,
            kept_groups,
            shared_slot: 0,
            routing_at: self.router(1) as u32,
            entries: ENTRIES as u32,
            ..p
        };
        (params.words(), [ROWS as u32 / 4, 1, ENTRIES as u32], vec![(5, None), (8, None)])
    }

    pub(super) fn expert_down(&mut self, step: &Step) -> Small {
        let k = shared_row(step);
        self.weights(layout_of(step, &experts::DOWN_SHADERS), EXPERTS * ROWS, k);
        self.floats(4, ENTRIES * k);
        self.floats(5, ROWS);
        self.floats(6, ENTRIES * k);
        self.floats(7, EXPERTS * ROWS);
        self.entries(1);
        let params = DownParams {
            groups: (k / GROUP) as u32,
            rows: ROWS as u32,
            first_slot: 0,
            slots: EXPERTS as u32,
            spread: DownParams::of(step).spread.min(1),
            x_stride: k as u32 / 4,
            first_entry: 0,
            count: ENTRIES as u32,
            routing_at: 0,
        };
        (params.words(), [ROWS as u32 / 4, 1, 1], vec![(5, None)])
    }

    pub(super) fn expert_sort(&mut self) -> Small {
        let tiles = EXPERTS as u32;
        self.state(0, 3);
        self.entries(3);
        self.zeros(9, 3 * EXPERTS + 3 * ENTRIES);
        let params = SortParams { slots: EXPERTS as u32, entries: ENTRIES as u32, routing_at: 0, tiles };
        (params.words(), [1, 1, 1], vec![(9, None)])
    }

    pub(super) fn expert_matmul(&mut self, step: &Step) -> Small {
        let tokens = 3;
        self.weights(layout_of(step, &grouped::MATMUL_SHADERS), EXPERTS * ROWS, K);
        self.floats(4, tokens * ENTRIES * K);
        self.zeros(5, tokens * ENTRIES * ROWS);
        self.floats(7, EXPERTS * ROWS);
        let slots = self.entries(tokens);
        let (mut sorted, mut order) = (Vec::new(), Vec::new());
        for slot in 0..EXPERTS as u32 {
            let own: Vec<u32> = (0..slots.len() as u32).filter(|&i| slots[i as usize] == slot).collect();
            sorted.extend([slot, order.len() as u32, own.len() as u32]);
            order.extend(own);
        }
        sorted.extend(order);
        self.bytes(9, bytemuck::cast_slice(&sorted).to_vec());
        let params = MatmulParams {
            groups: (K / GROUP) as u32,
            rows: ROWS as u32,
            first_slot: 0,
            slots: EXPERTS as u32,
            spread: MatmulParams::of(step).spread.min(1),
            x_stride: K as u32 / 4,
            y_stride: ROWS as u32,
            first_entry: 0,
            count: ENTRIES as u32,
            entries: ENTRIES as u32,
            routing_at: 0,
            tiles: EXPERTS as u32,
        };
        (params.words(), [1, EXPERTS as u32, 1], vec![(5, None)])
    }

    pub(super) fn expert_sum(&mut self) -> Small {
        let width = 96u32;
        self.state(0, 3);
        self.floats(4, 3 * ENTRIES * width as usize);
        self.floats(5, 3 * width as usize);
        let params = SumParams { width, entries: ENTRIES as u32, stride: width };
        (params.words(), [width.div_ceil(64), 3, 1], vec![(5, None)])
    }

    pub(super) fn latent_query(&mut self, step: &Step) -> Small {
        let format = KvFormat::of(step);
        let (width, queries) = (K + ROTARY, HEADS * (NOPE + ROTARY));
        let in_out = step.constant("Q_IN_OUT") == 1.0;
        let q_from = if in_out { HEADS * width } else { width };
        let [x_stride, out_stride] = if in_out { [width, q_from + queries] } else { [q_from + queries, HEADS * width] };
        let frequencies: Vec<f64> = (0..ROTARY / 2).map(|i| 0.1f64.powi(i as i32)).collect();
        self.state(POSITION, 2);
        self.weights(layout_of(step, &latent::QUERY_SHADERS), HEADS * (NOPE + VALUES), K);
        self.floats(4, 2 * x_stride);
        self.floats(5, 2 * out_stride);
        self.bytes(6, bytemuck::cast_slice(&rope_table(&frequencies, 1.0, CAPACITY)).to_vec());
        self.floats(7, K);
        self.zeros(8, CAPACITY * format.row_words(width));
        let params = QueryParams {
            groups: (K / GROUP) as u32,
            rank: K as u32,
            nope: NOPE as u32,
            rotary: ROTARY as u32,
            head_rows: (NOPE + VALUES) as u32,
            first_head: 0,
            heads: HEADS as u32,
            q_from: q_from as u32,
            x_stride: x_stride as u32,
            out_stride: out_stride as u32,
            eps: QueryParams::of(step).eps,
        };
        (params.words(), [HEADS as u32 + 1, 2, 1], vec![(5, None), (8, Some((format, width)))])
    }

    pub(super) fn latent_value(&mut self, step: &Step) -> Small {
        let stretches = step.constant("STRETCHES") == 1.0;
        let (splits, tokens) = (step.constant("SPLITS") as usize, if stretches { 1 } else { 2 });
        self.state(POSITION, tokens);
        self.weights(layout_of(step, &latent::VALUE_SHADERS), HEADS * (NOPE + VALUES), K);
        if stretches {
            self.partials(4, HEADS * splits, K);
        } else {
            self.floats(4, tokens * HEADS * K);
        }
        self.zeros(5, tokens * HEADS * VALUES);
        self.zeros(6, 4);
        let params = ValueParams {
            groups: (K / GROUP) as u32,
            rank: K as u32,
            value_dim: VALUES as u32,
            nope: NOPE as u32,
            head_rows: (NOPE + VALUES) as u32,
            first_head: 0,
            x_stride: (HEADS * K) as u32,
            y_stride: (HEADS * VALUES) as u32,
        };
        let rows = 4 * 64 / step.constant("LANES") as u32;
        (params.words(), [(VALUES as u32).div_ceil(rows), HEADS as u32, tokens as u32], vec![(5, None)])
    }
}
