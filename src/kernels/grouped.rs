//! The MLP of a mixture of experts for a chunk of tokens: prefill.
//!
//! The chunk's entries (a token and one of its experts) are sorted by expert and multiplied in tiles of 16 entries, so that
//! an expert's rows are read once per tile. The steps are: sort, two grouped products, and a weighted sum per token.

mod cpu;

use super::epilogue::Gate;
use super::experts::{Experts, bindings, entry_at, expert_row, on};
use super::matvec::weights;
use super::product::gather_outputs;
use super::route::Route;
use super::small::{ENTRIES, EXPERT_ROWS, EXPERTS, K, Maker, Small};
use super::{Control, CpuMemory, Kernel, MAX_WORKGROUPS, Params, State, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, BufferId, Buffers, GROUP, Layout, Part, Role, Step, Vector};

/// See `shaders/expert_sort.wgsl`.
pub static SORT: Kernel = Kernel {
    name: "expert_sort",
    shader: shader!("expert_sort", "state"),
    reads_weights: false,
    variants: &[],
    params: SortParams::FIELDS,
    reference: sort_reference,
    cpu: on_processors(cpu::sort),
    small: Some(small_sort),
};
/// See `shaders/expert_matmul.wgsl`.
pub static MATMUL: Kernel = Kernel {
    name: "expert_matmul",
    shader: shader!("expert_matmul", "state", "block", "gate", "stored", "sums", "tile", "expert_rows"),
    reads_weights: true,
    variants: &[
        shader!(F16 "expert_matmul", "state", "block", "gate", "../variants/stored", "sums", "tile", "expert_rows"),
        shader!(Int8 "expert_matmul", "state", "block", "gate", "../variants/packed", "sums", "../variants/tile_int8", "expert_rows"),
    ],
    params: MatmulParams::FIELDS,
    reference: matmul_reference,
    cpu: on_processors(cpu::matmul),
    small: Some(small_matmul),
};
/// See `shaders/expert_sum.wgsl`.
pub static SUM: Kernel = Kernel {
    name: "expert_sum",
    shader: shader!("expert_sum", "state"),
    reads_weights: false,
    variants: &[],
    params: SumParams::FIELDS,
    reference: sum_reference,
    cpu: on_processors(cpu::sum),
    small: Some(small_sum),
};

params!(SortParams { slots: u32, entries: u32, routing_at: u32, tiles: u32 });
params!(MatmulParams {
    groups: u32,
    rows: u32,
    first_slot: u32,
    slots: u32,
    interleaved: u32,
    x_stride: u32,
    y_stride: u32,
    first_entry: u32,
    count: u32,
    entries: u32,
    routing_at: u32,
    tiles: u32,
});
params!(SumParams { width: u32, entries: u32, stride: u32 });

/// Slots that can be sorted.
pub const MAX_SLOTS: usize = 1024;
const ROW_TILE: usize = 64;
/// Entries of a tile: an expert has few.
const ENTRY_TILE: usize = 16;

/// Entries by expert, in tiles.
#[derive(Debug, Clone, Copy)]
pub struct Sorted {
    /// `[tiles]` slot, first, count; `[T · entries]` the order.
    pub buffer: BufferId,
    /// Tiles at most.
    pub tiles: usize,
}

impl Sorted {
    /// Declares it for `tokens` of at most `entries`, of `slots` experts.
    pub fn declare(buffers: &mut Buffers, tokens: usize, entries: usize, slots: usize) -> Self {
        // Every expert with entries may have a tile that is not full.
        let all = tokens * entries;
        let tiles = all / ENTRY_TILE + slots.min(all);
        let buffer = buffers.add("experts, sorted", ((3 * tiles + all) * 4) as u64, Role::Scratch);
        Self { buffer, tiles }
    }

    /// The step that fills it with the entries of `tokens`.
    pub fn step(&self, label: &str, route: &Route, slots: usize, control: &Control) -> Step {
        assert!(slots <= MAX_SLOTS, "{label}: slots");
        let params = SortParams {
            slots: slots as u32,
            entries: route.entries() as u32,
            routing_at: route.router.routing_at as u32,
            tiles: self.tiles as u32,
        };
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        Step {
            label: label.to_owned(),
            kernel: SORT.name,
            shader: SORT.shader,
            constants: Vec::new(),
            bindings: vec![
                read(1, control.state),
                read(8, route.router.logits.buffer),
                Binding { slot: 9, buffer: self.buffer, access: Access::ReadWrite },
            ],
            params: params.words(),
            grid: [1, 1, 1],
            detail: format!("[{},{}] by {slots}", route.router.logits.rows, route.entries()),
        }
    }
}

/// Which half of the MLP a grouped product is.
#[derive(Debug, Clone, Copy)]
pub enum Half {
    /// From tokens to `[T · count, I]`; gates and ups are interleaved in the experts' rows.
    Up(Gate),
    /// From there to `[T · entries, N]`; the rows of so many slots are interleaved.
    Down {
        /// Slots whose rows are interleaved.
        interleaved: usize,
    },
}

/// The products of the sorted entries with the experts of one matrix.
#[derive(Debug, Clone, Copy)]
pub struct GroupedMatmul<'a> {
    /// Which half.
    pub half: Half,
    /// Experts of `rows` rows each.
    pub experts: Experts<'a>,
    /// Rows of an expert.
    pub rows: usize,
    /// Entries and their weights.
    pub route: &'a Route,
    /// Their order.
    pub sorted: Sorted,
    /// `[T, K]`, or `[T · count, K]`.
    pub x: Activation,
    /// See [`Half`].
    pub y: Activation,
    /// `[experts, rows]`
    pub bias: Option<Vector>,
    /// Whether an entry's weight multiplies here: before the gate, or at the end.
    pub weighted: bool,
}

impl GroupedMatmul<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str) -> impl Iterator<Item = Step> + 'a {
        let width = if matches!(self.half, Half::Up(_)) { self.rows / 2 } else { self.rows };
        assert_eq!((self.x.width, self.y.width), (self.experts.w.k, width), "{label}: widths of x and y");
        self.experts.w.parts.iter().map(move |part| self.step(label, part))
    }

    fn step(&self, label: &str, part: &Part) -> Step {
        let k = self.experts.w.k;
        let (gate, interleaved) = match self.half {
            Half::Up(gate) => (Some(gate), 0),
            Half::Down { interleaved } => (None, interleaved),
        };
        let slots = self.experts.slots(part, self.rows, interleaved);
        let mut constants =
            vec![("GATED", on(gate.is_some())), ("BIAS", on(self.bias.is_some())), ("WEIGHTED", on(self.weighted))];
        constants.extend(gate.into_iter().flat_map(|gate| gate.constants()));
        let mut bindings = bindings(part, self.x.buffer, self.y.buffer, self.bias);
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        bindings.extend([read(8, self.route.router.logits.buffer), read(9, self.sorted.buffer)]);
        let params = MatmulParams {
            groups: Layout::groups(k) as u32,
            rows: self.rows as u32,
            first_slot: slots.first,
            slots: slots.count,
            interleaved: slots.interleaved,
            x_stride: self.x.stride() as u32 / 4,
            y_stride: self.y.stride() as u32,
            first_entry: self.experts.first_entry as u32,
            count: self.experts.count as u32,
            entries: self.route.entries() as u32,
            routing_at: self.route.router.routing_at as u32,
            tiles: self.sorted.tiles as u32,
        };
        let grid = [self.rows.div_ceil(ROW_TILE) as u32, self.sorted.tiles as u32, 1];
        assert!(grid.iter().all(|&n| n <= MAX_WORKGROUPS), "{label}: grid");
        Step {
            label: label.to_owned(),
            kernel: MATMUL.name,
            shader: MATMUL.shader.of(part.layout),
            constants,
            bindings,
            params: params.words(),
            grid,
            detail: format!(
                "w[{}×{},{k}]:{} x[{},{}]{} → {}×[{}]",
                slots.count,
                self.rows,
                part.layout.name(),
                self.x.rows,
                self.x.width,
                gate.map_or(String::new(), |gate| format!(" {}", gate.word())),
                self.experts.count,
                self.y.width,
            ),
        }
    }
}

/// `y[t] += factor · Σ_j z[t, j]`
#[derive(Debug, Clone, Copy)]
pub struct ExpertSum {
    /// `[T · entries, N]`
    pub z: Activation,
    /// Rows of a token in `z`.
    pub entries: usize,
    /// `[T, N]`
    pub y: Activation,
    /// Multiplies the sum.
    pub factor: f32,
}

impl ExpertSum {
    /// The step.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        assert_eq!(self.z.width, self.y.width, "{label}: widths");
        let width = self.y.width as u32;
        let params = SumParams { width, entries: self.entries as u32, stride: self.y.stride() as u32 };
        let constants = if self.factor == 1.0 { Vec::new() } else { vec![("FACTOR", f64::from(self.factor))] };
        Step {
            label: label.to_owned(),
            kernel: SUM.name,
            shader: SUM.shader,
            constants,
            bindings: vec![
                Binding { slot: 1, buffer: control.state, access: Access::Read },
                Binding { slot: 4, buffer: self.z.buffer, access: Access::Read },
                Binding { slot: 5, buffer: self.y.buffer, access: Access::ReadWrite },
            ],
            params: params.words(),
            grid: [width.div_ceil(64), self.y.rows as u32, 1],
            detail: format!("[{}×{},{width}] → [{},{width}] +=", self.y.rows, self.entries, self.y.rows),
        }
    }
}

fn sort_reference(step: &Step, memory: &mut CpuMemory) {
    let p = SortParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let n = (state.count * p.entries) as usize;
    let slot = |memory: &CpuMemory, i: usize| memory.words(step.buffer(8))[p.routing_at as usize + 2 * i];
    let (mut tiles, mut order) = (Vec::new(), Vec::<u32>::new());
    for s in 0..p.slots {
        let of_slot: Vec<u32> = (0..n).filter(|&i| slot(memory, i) == s).map(|i| i as u32).collect();
        for tile in of_slot.chunks(ENTRY_TILE) {
            tiles.extend([s, order.len() as u32, tile.len() as u32]);
            order.extend(tile);
        }
    }
    tiles.resize(3 * p.tiles as usize, 0);
    tiles.extend(order);
    memory.words_mut(step.buffer(9))[..tiles.len()].copy_from_slice(&tiles);
}

fn matmul_reference(step: &Step, memory: &mut CpuMemory) {
    let p = MatmulParams::of(step);
    let (rows, width, entries) = (p.rows as usize, p.groups as usize * crate::plan::GROUP, p.entries as usize);
    let (gated, weighted) = (step.constant("GATED") == 1.0, step.constant("WEIGHTED") == 1.0);
    let (rows_of_one, mut starts) = (if gated { 2 } else { 1 }, Vec::new());
    let sorted = memory.words(step.buffer(9)).to_vec();
    let (tiles, order) = sorted.split_at(3 * p.tiles as usize);
    for tile in tiles.chunks(3) {
        let &[slot, first, count] = tile else { unreachable!("tiles are of three words") };
        if count == 0 || slot < p.first_slot || slot - p.first_slot >= p.slots {
            continue;
        }
        let of_tile = &order[first as usize..][..count as usize];
        let row = |entry: usize| entry / entries * p.count as usize + entry % entries - p.first_entry as usize;
        let input = |&entry: &u32| {
            let entry = entry as usize;
            let start = if gated { entry / entries } else { row(entry) } * p.x_stride as usize * 4;
            memory.floats(step.buffer(4))[start..start + width].iter().map(|&v| v.into()).collect()
        };
        let inputs: Vec<Vec<f64>> = of_tile.iter().map(input).collect();
        let local = (slot - p.first_slot) as usize;
        let of_expert = |r, rows| expert_row(local, r, rows, p.interleaved);
        let weights = weights(step, memory, width);
        let (own, all) = (weights.own(rows), weights.exact(rows, &of_expert, &inputs));
        for (&entry, mut v) in of_tile.iter().zip(all) {
            let entry = entry as usize;
            let weight = if weighted { entry_at(step, memory, p.routing_at as usize + 2 * entry).1 } else { 1.0 };
            let bias = (step.constant("BIAS") == 1.0)
                .then(|| &memory.floats(step.buffer(7))[slot as usize * rows + own.start..]);
            for (i, v) in v.iter_mut().enumerate() {
                let bias = bias.map_or(0.0, |b| f64::from(b[i]));
                *v = if gated { *v * weight + bias } else { (*v + bias) * weight };
            }
            if gated {
                v = v.chunks(2).map(|pair| Gate::of(step).apply(pair[0], pair[1])).collect();
            }
            let start = if gated { row(entry) } else { entry } * p.y_stride as usize;
            let y = &mut memory.floats_mut(step.buffer(5))[start + own.start / rows_of_one..];
            y.iter_mut().zip(v).for_each(|(y, v)| *y = v as f32);
            starts.push(start);
        }
    }
    gather_outputs(step, memory, rows, rows_of_one, &starts);
}

fn sum_reference(step: &Step, memory: &mut CpuMemory) {
    let p = SumParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let factor = match step.constant("FACTOR") {
        0.0 => 1.0, // the shader's default
        factor => factor,
    };
    let (entries, stride) = (p.entries as usize, p.stride as usize);
    for (t, i) in (0..state.count as usize).flat_map(|t| (0..p.width as usize).map(move |i| (t, i))) {
        let z = memory.floats(step.buffer(4));
        let sum: f64 = (0..entries).map(|j| f64::from(z[(t * entries + j) * stride + i])).sum();
        let y = &mut memory.floats_mut(step.buffer(5))[t * stride + i];
        *y = (f64::from(*y) + factor * sum) as f32;
    }
}

fn small_sort(maker: &mut Maker, _: &Step) -> Small {
    let tiles = EXPERTS as u32;
    maker.state(0, 3);
    maker.entries(3);
    maker.zeros(9, 3 * EXPERTS + 3 * ENTRIES);
    let params = SortParams { slots: EXPERTS as u32, entries: ENTRIES as u32, routing_at: 0, tiles };
    (params.words(), [1, 1, 1], vec![(9, None)])
}

fn small_matmul(maker: &mut Maker, step: &Step) -> Small {
    let tokens = 3;
    maker.weights(step.layout(), EXPERTS * EXPERT_ROWS, K);
    maker.floats(4, tokens * ENTRIES * K);
    maker.zeros(5, tokens * ENTRIES * EXPERT_ROWS);
    maker.floats(7, EXPERTS * EXPERT_ROWS);
    let slots = maker.entries(tokens);
    let (mut sorted, mut order) = (Vec::new(), Vec::new());
    for slot in 0..EXPERTS as u32 {
        let own: Vec<u32> = (0..slots.len() as u32).filter(|&i| slots[i as usize] == slot).collect();
        sorted.extend([slot, order.len() as u32, own.len() as u32]);
        order.extend(own);
    }
    sorted.extend(order);
    maker.bytes(9, bytemuck::cast_slice(&sorted).to_vec());
    let params = MatmulParams {
        groups: (K / GROUP) as u32,
        rows: EXPERT_ROWS as u32,
        first_slot: 0,
        slots: EXPERTS as u32,
        interleaved: MatmulParams::of(step).interleaved.min(1),
        x_stride: K as u32 / 4,
        y_stride: EXPERT_ROWS as u32,
        first_entry: 0,
        count: ENTRIES as u32,
        entries: ENTRIES as u32,
        routing_at: 0,
        tiles: EXPERTS as u32,
    };
    (params.words(), [1, EXPERTS as u32, 1], vec![(5, None)])
}

fn small_sum(maker: &mut Maker, _: &Step) -> Small {
    let width = 96u32;
    maker.state(0, 3);
    maker.floats(4, 3 * ENTRIES * width as usize);
    maker.floats(5, 3 * width as usize);
    let params = SumParams { width, entries: ENTRIES as u32, stride: width };
    (params.words(), [width.div_ceil(64), 3, 1], vec![(5, None)])
}
