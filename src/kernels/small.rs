//! What small steps of the self-test are made of: their sizes, and buffers with contents that are the same on every device. The small
//! step of a kernel is in the kernel's file.

use half::f16;

use super::{KvFormat, State};
use crate::plan::layout::SUPER_BLOCK;
use crate::plan::{BufferId, Buffers, GROUP, Layout, Role, Scales, Step};

/// Weights of a row of the small matrices: a super-block of the k-quants.
pub const K: usize = 256;
/// Rows of the small matrices.
pub const ROWS: usize = 12;
/// Tokens of the small caches.
pub const CAPACITY: usize = 96;
/// The position of the small steps.
pub const POSITION: usize = 70;
/// Query heads of a small attention, at most.
pub const HEADS: u32 = 8;
/// Experts of the small mixtures.
pub const EXPERTS: usize = 8;
/// Rows of each expert of the small mixtures.
pub const EXPERT_ROWS: usize = 4;
/// Entries of a token in the small mixtures.
pub const ENTRIES: usize = 2;
/// Heads of the small latent attention, and values of a head: without a position, with one, of the result.
pub const LATENT_HEADS: usize = 2;
pub const LATENT_NOPE: usize = 6;
pub const LATENT_ROTARY: usize = 4;
pub const LATENT_VALUES: usize = 6;

/// Weights of a row that threads share: a group for each of them, and a second one for some.
pub fn shared_row(step: &Step) -> usize {
    (step.constant("LANES") as usize + K / GROUP) * GROUP
}

/// Makes the buffers of small steps.
pub struct Maker {
    pub own: Buffers,
    pub contents: Vec<(BufferId, Vec<u8>)>,
    seed: u32,
    /// Buffers of the step that is being made.
    slots: Vec<(u32, BufferId)>,
}

/// Parameters, grid, and the slots that are written.
pub type Small = (Vec<u32>, [u32; 3], Vec<(u32, Option<(KvFormat, usize)>)>);

impl Maker {
    /// Without buffers.
    pub fn new() -> Self {
        Self { own: Buffers::default(), contents: Vec::new(), seed: 1, slots: Vec::new() }
    }

    /// Begins another step, with the same contents in every model.
    pub fn begin(&mut self) {
        self.slots.clear();
        self.seed = 1;
    }

    /// The buffer that was made for a slot of the step.
    pub fn slot(&self, slot: u32) -> Option<BufferId> {
        self.slots.iter().find(|(made, _)| *made == slot).map(|&(_, buffer)| buffer)
    }

    pub fn bytes(&mut self, slot: u32, mut bytes: Vec<u8>) {
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let id = self.own.add(format!("slot {slot}"), bytes.len() as u64, Role::Scratch);
        self.contents.push((id, bytes));
        self.slots.push((slot, id));
    }

    pub fn zeros(&mut self, slot: u32, words: usize) {
        self.bytes(slot, vec![0; words * 4]);
    }

    pub fn floats(&mut self, slot: u32, n: usize) {
        let values: Vec<f32> = (0..n).map(|_| self.random()).collect();
        self.bytes(slot, bytemuck::cast_slice(&values).to_vec());
    }

    /// What splits of attention leave: `width` sums each, their maximum and denominator.
    pub fn partials(&mut self, slot: u32, splits: usize, width: usize) {
        let mut parts: Vec<f32> = (0..splits * (width + 2)).map(|_| self.random()).collect();
        parts.chunks_mut(width + 2).for_each(|part| part[width + 1] = part[width + 1].abs() + 0.5);
        self.bytes(slot, bytemuck::cast_slice(&parts).to_vec());
    }

    pub fn state(&mut self, position: usize, count: usize) {
        let state = State { position: position as u32, count: count as u32, ..State::default() };
        self.bytes(1, bytemuck::bytes_of(&state).to_vec());
    }

    pub fn cache(&mut self, slot: u32, format: KvFormat, dim: usize) {
        let mut words = vec![0; CAPACITY * format.row_words(dim)];
        for row in words.chunks_mut(format.row_words(dim)) {
            let values: Vec<f64> = (0..dim).map(|_| self.random().into()).collect();
            format.store(row, &values);
        }
        self.bytes(slot, bytemuck::cast_slice(&words).to_vec());
    }

    /// `[rows, k]` in slots 2 and 3, weights of a tenth or so.
    pub fn weights(&mut self, layout: Layout, rows: usize, k: usize) {
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let numbers: Vec<f32> = (0..k).map(|_| 0.1 * self.random()).collect();
            match layout {
                Layout::F32 => codes.extend(numbers.iter().flat_map(|v| v.to_le_bytes())),
                Layout::F16 => codes.extend(numbers.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
                Layout::Bf16 => codes.extend(numbers.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes())),
                _ => codes.extend((0..layout.code_row_bytes(k)).map(|_| self.bits() as u8)),
            }
            let bytes = layout.scale_row_bytes(k);
            match layout.spec().scales {
                Scales::None => {}
                Scales::Halves(_) => {
                    scales.extend((0..bytes / 2).flat_map(|_| f16::from_f32(0.01 * self.random()).to_le_bytes()));
                }
                Scales::Exponents => scales.extend((0..bytes).map(|_| 120 + (self.bits() % 4) as u8)),
                Scales::SuperBlocks(bytes) => {
                    for _ in 0..k / SUPER_BLOCK {
                        scales.extend([1e-3, 2e-3].map(f16::from_f32).iter().flat_map(|v| v.to_le_bytes()));
                        scales.extend((4..bytes).map(|_| self.bits() as u8));
                    }
                }
            }
        }
        self.bytes(2, codes);
        if layout.has_scales() {
            self.bytes(3, scales);
        }
    }

    /// 24 bits (Numerical Recipes' generator, without its weak low bits).
    pub fn bits(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed >> 8
    }

    /// From -1 to 1.
    pub fn random(&mut self) -> f32 {
        self.bits() as f32 / (1 << 23) as f32 - 1.0
    }

    /// Logits of `tokens` in slot 8 with room for entries, corrections and slots in slot 9; where the entries begin.
    pub fn router(&mut self, tokens: usize) -> usize {
        let stride = (EXPERTS + 1).next_multiple_of(GROUP);
        self.floats(8, tokens * (stride + 2 * ENTRIES));
        let mut table: Vec<u32> = (0..EXPERTS).map(|_| (0.1 * self.random()).to_bits()).collect();
        table.extend((0..EXPERTS as u32).rev()); // slots
        self.bytes(9, bytemuck::cast_slice(&table).to_vec());
        tokens * stride
    }

    /// Entries of `tokens` in slot 8, from its beginning: neighbours among the experts.
    pub fn entries(&mut self, tokens: usize) -> Vec<u32> {
        let slots: Vec<u32> = (0..tokens * ENTRIES).map(|i| ((3 * i + i / ENTRIES) % EXPERTS) as u32).collect();
        let words: Vec<u32> = slots.iter().flat_map(|&slot| [slot, self.random().to_bits()]).collect();
        self.bytes(8, bytemuck::cast_slice(&words).to_vec());
        slots
    }

    /// Groups of experts, those kept and the experts chosen, as few as the small mixture has.
    pub fn choice(groups: u32, top_k: u32) -> [u32; 3] {
        if groups > 1 { [2, 1, top_k.min(ENTRIES as u32)] } else { [1, 1, top_k.min(ENTRIES as u32)] }
    }
}
