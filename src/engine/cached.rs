//! Tracks which tokens are in the KV cache, and how long a prefix of the next prompt can be reused from it.

use std::ops::Range;

use crate::model::KvBuffer;
use crate::plan::BufferId;

/// The tokens whose keys and values are in a KV cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cached {
    /// The tokens at positions 0, 1, ….
    pub ids: Vec<u32>,
    /// Slots written since position 0 was, including those of steps that were rolled back: a ring-buffer cache has
    /// overwritten whatever was `tokens` slots before the last of them.
    pub written: usize,
    /// Whether the keys were rotated for sequences beyond LongRoPE's original length.
    pub long: bool,
}

impl Cached {
    /// Notes that `ids` are about to be fed at `position`, which is at most the number of tokens cached so far.
    pub fn feed(&mut self, position: usize, ids: &[u32]) {
        assert!(position <= self.ids.len(), "tokens are fed at a position beyond the cached ones");
        if position == 0 {
            self.written = 0;
        }
        self.ids.truncate(position);
        self.ids.extend(ids);
        self.written = self.written.max(self.ids.len());
    }

    /// The length of the reusable prefix of `prompt`, at most `most`: the keys and values of its tokens are cached, as
    /// far back as the tokens after them attend.
    pub fn reusable(&self, prompt: &[u32], most: usize, buffers: &[KvBuffer]) -> usize {
        let common = self.ids.iter().zip(prompt).take(most).take_while(|(a, b)| a == b).count();
        let held = |b: &KvBuffer| b.span.first(common + 1) + b.tokens >= self.written;
        if buffers.iter().all(held) { common } else { 0 }
    }

    /// How many token slots at the start of a buffer are in use.
    pub fn tokens_in(&self, buffer: &KvBuffer) -> usize {
        if self.written > buffer.tokens { buffer.tokens } else { self.ids.len() }
    }

    /// The byte range of each buffer that is in use; the ends of ranges are multiples of 4.
    pub fn ranges(&self, buffers: &[KvBuffer]) -> Vec<(BufferId, Range<u64>)> {
        let bytes = |b: &KvBuffer| 0..(self.tokens_in(b) as u64 * b.token_bytes).next_multiple_of(4);
        buffers.iter().map(|b| (b.buffer, bytes(b))).filter(|(_, bytes)| !bytes.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Span;

    fn buffer(tokens: usize, span: Span) -> KvBuffer {
        KvBuffer { buffer: BufferId(0), tokens, token_bytes: 6, span }
    }

    /// Compares [`Cached::reusable`] with a simulated cache that is written slot by slot.
    #[test]
    fn the_reusable_prefix_is_what_the_cache_holds() {
        let spans = [(64, Span::All), (9, Span::Window(5)), (12, Span::Chunk(8)), (7, Span::Window(3))];
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let (mut all, mut whole, mut none) = (0, 0, 0);
        for _ in 0..2000 {
            let (tokens, span) = spans[random(4)];
            let b = [buffer(tokens, span)];
            let mut places: Vec<Option<(usize, u32)>> = vec![None; tokens];
            let mut cached = Cached::default();
            for _ in 0..6 {
                let most = cached.ids.len().min(60);
                let keep = if random(3) == 0 { 0 } else { most - random(most.min(9) + 1) };
                let mut prompt = cached.ids[..keep].to_vec();
                prompt.extend((0..1 + random(64 - keep)).map(|_| random(50) as u32 + 100));
                let from = cached.reusable(&prompt, prompt.len() - 1, &b);
                all += 1;
                whole += usize::from(from == keep);
                none += usize::from(from == 0 && keep > 0);
                // Tokens are fed in pieces of at most four; each query attends as far back as its span reaches.
                let mut at = from;
                while at < prompt.len() {
                    let piece = at..prompt.len().min(at + 4);
                    cached.feed(at, &prompt[piece.clone()]);
                    piece.clone().for_each(|p| places[p % tokens] = Some((p, prompt[p])));
                    for query in piece.clone() {
                        for seen in span.first(query + 1)..=query {
                            assert_eq!(places[seen % tokens], Some((seen, prompt[seen])), "{span:?} {query} {seen}");
                        }
                    }
                    at = piece.end;
                }
                // Up to three steps run past the end; their tokens are unknown.
                let past = random(4).min(64 - cached.ids.len());
                (0..past).for_each(|i| places[(prompt.len() + i) % tokens] = None);
                cached.written = cached.written.max(prompt.len() + past);
            }
        }
        assert!(whole > all / 2 && none > 100, "{whole} and {none} of {all}");
    }

    #[test]
    fn ranges_cover_the_used_slots() {
        let buffers = [buffer(64, Span::All), buffer(9, Span::Window(5))];
        let mut cached = Cached::default();
        assert!(cached.ranges(&buffers).is_empty());
        cached.feed(0, &[1; 7]);
        assert_eq!(cached.ranges(&buffers), [(BufferId(0), 0..44), (BufferId(0), 0..44)]);
        cached.feed(7, &[1; 3]);
        assert_eq!(cached.ranges(&buffers), [(BufferId(0), 0..60), (BufferId(0), 0..56)]);
        assert_eq!(cached.reusable(&[1; 10], 9, &buffers), 9);
        assert_eq!(cached.reusable(&[1, 1], 1, &buffers), 0, "slot 0 is overwritten by position 9");
        assert_eq!(cached.reusable(&[1, 1], 1, &buffers[..1]), 1);
        cached.written = 64;
        assert_eq!((cached.reusable(&[1; 10], 9, &buffers), cached.reusable(&[1; 10], 9, &buffers[..1])), (0, 9));
    }
}
