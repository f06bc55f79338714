//! The arithmetic of attention: scores, their softmax, and weighted sums of values, a tile of keys at a time.
//!
//! Tiles begin at multiples of their length, and each query meets its keys in order. What a query makes depends on nothing else:
//! not on the queries beside it, nor on how many there are.

use std::ops::Range;

use super::cache::Cache;
use super::exp::exp;
use super::lanes::{F32x4, Floats, Wide, Work, dispatch};

/// Keys that are read at once.
const TILE: usize = 64;
/// Vectors of values that are summed together.
const BLOCK: usize = 4;

/// A query and what it meets.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The head of the keys and values that it meets.
    pub head: usize,
    /// Its values.
    pub values: &'a [f32],
    /// The positions that it sees: at least one.
    pub keys: Range<usize>,
    /// One more score, without a value.
    pub sink: Option<f32>,
}

/// What attention makes of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Attended {
    /// The values weighted by the exponentials of the scores less the largest, and summed.
    pub sums: Vec<f32>,
    /// The largest score.
    pub maximum: f32,
    /// The sum of the weights.
    pub denominator: f32,
}

/// What is known of a query before its last tile.
struct Row {
    keys: Range<usize>,
    maximum: f32,
    denominator: f32,
}

/// Keys and values of a tile, in rows of whole blocks.
struct Tile {
    keys: Vec<F32x4>,
    /// Empty where values are the first of the keys' numbers.
    values: Vec<F32x4>,
    /// Vectors of a row of each.
    key_width: usize,
    value_width: usize,
}

impl Tile {
    fn new(keys: &Cache<'_>, values: &Cache<'_>, value_dim: usize) -> Self {
        let width = |dim: usize| dim.div_ceil(4).next_multiple_of(BLOCK);
        let (key_width, value_width) = (width(keys.dim), width(value_dim));
        let same = keys.words.as_ptr() == values.words.as_ptr() && keys.row_words == values.row_words;
        let zeros = |width: usize| vec![F32x4::splat(0.0); TILE * width];
        let values = if same { Vec::new() } else { zeros(value_width) };
        Self { keys: zeros(key_width), values, key_width, value_width }
    }

    /// Reads the positions of `part` of a head from keys and values, of which `finite` says whether they are f16 that are finite.
    #[inline(always)]
    fn read<W: Wide>(
        &mut self,
        wide: W,
        [keys, values]: [&Cache<'_>; 2],
        head: usize,
        part: Range<usize>,
        finite: [bool; 2],
    ) {
        for position in part {
            let at = position % TILE;
            let to = &mut self.keys[at * self.key_width..][..keys.dim.div_ceil(4)];
            keys.read(wide, position, head, finite[0], to);
            if !self.values.is_empty() {
                let width = self.value_width.min(values.dim.div_ceil(4));
                let to = &mut self.values[at * self.value_width..][..width];
                values.read(wide, position, head, finite[1], to);
            }
        }
    }

    /// The values, and vectors of a row of theirs.
    fn values(&self) -> (&[F32x4], usize) {
        if self.values.is_empty() { (&self.keys, self.key_width) } else { (&self.values, self.value_width) }
    }
}

/// Attention of queries, of which those of a head follow each other, to its keys and values: of each key's value, the first
/// `value_dim` numbers. Queries are multiplied with `scale`.
pub fn attend(
    queries: &[Query<'_>],
    scale: f32,
    keys: &Cache<'_>,
    values: &Cache<'_>,
    value_dim: usize,
) -> Vec<Attended> {
    dispatch(Attention { queries, scale, keys, values, value_dim })
}

/// See [`attend`].
struct Attention<'a> {
    queries: &'a [Query<'a>],
    scale: f32,
    keys: &'a Cache<'a>,
    values: &'a Cache<'a>,
    value_dim: usize,
}

impl Work for Attention<'_> {
    type Made = Vec<Attended>;

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) -> Vec<Attended> {
        attend_on(wide, self)
    }
}

#[inline(always)]
fn attend_on<W: Wide>(wide: W, attention: Attention<'_>) -> Vec<Attended> {
    let Attention { queries, scale, keys, values, value_dim } = attention;
    let mut tile = Tile::new(keys, values, value_dim);
    let (width, value_width) = (tile.key_width, tile.value_width);
    let mut scaled = vec![F32x4::splat(0.0); queries.len() * width];
    for (query, to) in queries.iter().zip(scaled.chunks_exact_mut(width)) {
        for (four, to) in query.values.chunks(4).zip(to) {
            let mut padded = [0.0; 4];
            padded[..four.len()].copy_from_slice(four);
            *to = F32x4::new(padded).mul(F32x4::splat(scale));
        }
    }
    let begin = |query: &Query<'_>| Row {
        keys: query.keys.clone(),
        maximum: query.sink.unwrap_or(f32::NEG_INFINITY),
        denominator: if query.sink.is_some() { 1.0 } else { 0.0 },
    };
    let mut rows: Vec<Row> = queries.iter().map(begin).collect();
    let mut sums = vec![F32x4::splat(0.0); queries.len() * value_width];
    let first = rows.iter().map(|row| row.keys.start).min().unwrap_or(0);
    let end = rows.iter().map(|row| row.keys.end).max().unwrap_or(0);
    let groups: Vec<&[Query<'_>]> = queries.chunk_by(|a, b| a.head == b.head).collect();
    let heads = queries.iter().map(|query| query.head);
    let heads = heads.clone().min().unwrap_or(0)..heads.max().map_or(0, |head| head + 1);
    for start in (first / TILE * TILE..end).step_by(TILE) {
        let part = start.max(first)..end.min(start + TILE);
        let mut finite = [false; 2];
        for (finite, cache) in finite.iter_mut().zip([keys, values]) {
            match W::WHOLE {
                true if heads.len() > 1 => cache.fetch(part.clone(), &heads),
                true => {} // one instruction converts any f16
                false => *finite = cache.finite(part.clone(), &heads),
            }
        }
        let mut at = 0;
        for group in &groups {
            tile.read(wide, [keys, values], group[0].head, part.clone(), finite);
            let own = at..at + group.len();
            let scaled = scaled[own.start * width..own.end * width].chunks(2 * width);
            let sums = sums[own.start * value_width..own.end * value_width].chunks_mut(2 * value_width);
            for ((rows, queries), sums) in rows[own.clone()].chunks_mut(2).zip(scaled).zip(sums) {
                meet(wide, &tile, start, rows, queries, sums);
            }
            at = own.end;
        }
    }
    let made = rows.iter().zip(sums.chunks_exact(value_width)).map(|(row, sums)| Attended {
        sums: sums.iter().flat_map(|four| four.values()).take(value_dim).collect(),
        maximum: row.maximum,
        denominator: row.denominator,
    });
    made.collect()
}

/// A tile's scores of a query, then their exponentials.
type Scores = [F32x4; TILE / 4];

/// The places of a tile that begins at `start` which `keys` have.
fn places(keys: &Range<usize>, start: usize) -> Range<usize> {
    let place = |position: usize| position.clamp(start, start + TILE) - start;
    place(keys.start)..place(keys.end)
}

/// Two queries, or one, meet the tile that begins at `start`.
#[inline(always)]
fn meet<W: Wide>(wide: W, tile: &Tile, start: usize, rows: &mut [Row], queries: &[F32x4], sums: &mut [F32x4]) {
    let seen = [0, 1].map(|i| rows.get(i).map_or(0..0, |row| places(&row.keys, start)));
    let mut scores = [[F32x4::splat(0.0); TILE / 4]; 2];
    let [a, b] = &seen;
    let (first, second) = queries.split_at(tile.key_width);
    if !a.is_empty() && !b.is_empty() {
        let span = a.start.min(b.start)..a.end.max(b.end);
        match W::WHOLE {
            true => score::<W, 2, 4>(wide, tile, span, [first, second], &mut scores),
            false => score::<W, 2, 2>(wide, tile, span, [first, second], &mut scores),
        }
    } else {
        for ((query, seen), scores) in [first, second].into_iter().zip(&seen).zip(&mut scores) {
            let scores = std::array::from_mut(scores);
            match W::WHOLE {
                true => score::<W, 1, 8>(wide, tile, seen.clone(), [query], scores),
                false => score::<W, 1, 4>(wide, tile, seen.clone(), [query], scores),
            }
        }
    }
    for (i, (row, seen)) in rows.iter_mut().zip(&seen).enumerate().filter(|(_, (_, seen))| !seen.is_empty()) {
        let factor = soften(row, seen, &mut scores[i]);
        if factor != 1.0 {
            let factor = F32x4::splat(factor);
            let sums = &mut sums[i * tile.value_width..][..tile.value_width];
            sums.iter_mut().for_each(|sum| *sum = sum.mul(factor));
        }
    }
    let mut weights = [[0.0; TILE]; 2];
    for (weights, scores) in weights.iter_mut().zip(&scores) {
        for (to, four) in weights.as_chunks_mut::<4>().0.iter_mut().zip(scores) {
            *to = four.values();
        }
    }
    let [first, second] = &weights;
    let (values, row) = tile.values();
    let (sums, more) = sums.split_at_mut(tile.value_width);
    // Keys that both see, and before and after them those of one.
    let both = a.start.max(b.start)..a.end.min(b.end);
    if both.is_empty() {
        weigh(wide, values, row, a.clone(), [first], [sums]);
        return weigh(wide, values, row, b.clone(), [second], [more]);
    }
    weigh(wide, values, row, a.start..both.start, [first], [&mut *sums]);
    weigh(wide, values, row, b.start..both.start, [second], [&mut *more]);
    weigh(wide, values, row, both.clone(), [first, second], [&mut *sums, &mut *more]);
    weigh(wide, values, row, both.end..a.end, [first], [sums]);
    weigh(wide, values, row, both.end..b.end, [second], [more]);
}

/// The scores of `N` queries with the keys of a tile, `PAIRS` pairs of keys at a time: those of `places`, and others around them.
#[inline(always)]
fn score<W: Wide, const N: usize, const PAIRS: usize>(
    wide: W,
    tile: &Tile,
    places: Range<usize>,
    queries: [&[F32x4]; N],
    scores: &mut [Scores; N],
) {
    if places.is_empty() {
        return;
    }
    let (width, step) = (tile.key_width, 2 * PAIRS);
    let queries = queries.map(|query| &query[..width]);
    for first in (places.start / step * step..places.end).step_by(step) {
        let rows = &tile.keys[first * width..][..step * width];
        let mut keys = [[rows; 2]; PAIRS];
        for (pair, rows) in keys.iter_mut().zip(rows.chunks_exact(2 * width)) {
            *pair = rows.split_at(width).into();
        }
        let mut sums = [[wide.floats([F32x4::splat(0.0); 2]); PAIRS]; N];
        for d in 0..width {
            for pair in 0..PAIRS {
                let key = wide.floats([keys[pair][0][d], keys[pair][1][d]]);
                for (sums, query) in sums.iter_mut().zip(queries) {
                    sums[pair] = sums[pair].add(wide.floats([query[d]; 2]).mul(key));
                }
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            for (i, pairs) in sums.chunks_exact(2).enumerate() {
                let [[a, b], [c, d]] = [pairs[0].halves(), pairs[1].halves()];
                scores[first / 4 + i] = F32x4::sums([a, b, c, d]);
            }
        }
    }
}

/// Turns a query's scores at `seen` into weights, others into 0; returns what its sums are to be multiplied with.
#[inline(always)]
fn soften(row: &mut Row, seen: &Range<usize>, scores: &mut Scores) -> f32 {
    let fours = seen.start / 4..seen.end.div_ceil(4);
    // Vectors at the ends may have scores of keys that the query does not see.
    for four in [fours.start, fours.end - 1] {
        let mut values = scores[four].values();
        for (_, value) in values.iter_mut().enumerate().filter(|(i, _)| !seen.contains(&(4 * four + i))) {
            *value = f32::NEG_INFINITY;
        }
        scores[four] = F32x4::new(values);
    }
    let scores = &mut scores[fours];
    let largest = scores.iter().fold(F32x4::splat(row.maximum), |most, score| most.max(*score));
    let maximum = largest.values().into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = F32x4::splat(0.0);
    for score in scores {
        *score = exp(score.sub(F32x4::splat(maximum)));
        sum = sum.add(*score);
    }
    let factor = if row.maximum == maximum { 1.0 } else { exp(F32x4::splat(row.maximum - maximum)).values()[0] };
    row.denominator = row.denominator * factor + sum.values().iter().sum::<f32>();
    row.maximum = maximum;
    factor
}

/// Adds the values at `places`, in rows of `row` vectors, times the weights of `N` queries to their sums.
#[inline(always)]
fn weigh<W: Wide, const N: usize>(
    wide: W,
    values: &[F32x4],
    row: usize,
    places: Range<usize>,
    weights: [&[f32; TILE]; N],
    sums: [&mut [F32x4]; N],
) {
    if places.is_empty() {
        return;
    }
    let width = sums[0].len();
    let mut sums = sums.map(|sums| &mut sums[..width]);
    // Where a register holds twice as much, sums of two blocks fit.
    let twos = if W::WHOLE { width / (2 * BLOCK) * 2 * BLOCK } else { 0 };
    for block in (0..twos).step_by(2 * BLOCK) {
        weigh_block::<W, N, BLOCK>(wide, &values[block..], row, places.clone(), weights, &mut sums, block);
    }
    for block in (twos..width).step_by(BLOCK) {
        weigh_block::<W, N, { BLOCK / 2 }>(wide, &values[block..], row, places.clone(), weights, &mut sums, block);
    }
}

/// The same for `B` wide vectors of each sum, from vector `block` on, where `values` begins.
#[inline(always)]
fn weigh_block<W: Wide, const N: usize, const B: usize>(
    wide: W,
    values: &[F32x4],
    row: usize,
    places: Range<usize>,
    weights: [&[f32; TILE]; N],
    sums: &mut [&mut [F32x4]; N],
    block: usize,
) {
    let mut held = [[wide.floats([F32x4::splat(0.0); 2]); B]; N];
    for (held, sums) in held.iter_mut().zip(&*sums) {
        *held = pairs(wide, &sums[block..]);
    }
    for place in places {
        let values = pairs::<W, B>(wide, &values[place * row..]);
        for (held, weights) in held.iter_mut().zip(weights) {
            let weight = wide.floats([F32x4::splat(weights[place]); 2]);
            for (sum, v) in held.iter_mut().zip(values) {
                *sum = sum.add(v.mul(weight));
            }
        }
    }
    for (sums, held) in sums.iter_mut().zip(held) {
        let (pairs, _) = sums[block..].as_chunks_mut::<2>();
        for (to, sum) in pairs.iter_mut().zip(held) {
            *to = sum.halves();
        }
    }
}

/// The first `2B` vectors as wide ones.
#[inline(always)]
fn pairs<W: Wide, const B: usize>(wide: W, vectors: &[F32x4]) -> [W::Floats; B] {
    let (vectors, _) = vectors[..2 * B].as_chunks::<2>();
    let mut pairs = [wide.floats([F32x4::splat(0.0); 2]); B];
    for (to, pair) in pairs.iter_mut().zip(vectors) {
        *to = wide.load_floats(pair);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::super::cache::Stored;
    use super::super::lanes::tests::on_pairs;
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        let mix = |i: u32| (i ^ seed).wrapping_mul(0x9e37_79b9).rotate_left(13).wrapping_mul(0x85eb_ca6b) >> 8;
        (0..n as u32).map(|i| mix(i) as f32 / 8_388_608.0 - 1.0).collect()
    }

    /// Whatever is computed beside a query, what it makes has the same bits.
    #[test]
    fn queries_do_not_depend_on_each_other() {
        for (dim, value_dim, heads) in [(24, 24, 2), (64, 64, 1), (6, 6, 1), (48, 40, 1)] {
            let capacity = 210;
            let row_words = 4 * usize::div_ceil(dim, 4);
            let [keys, others] = [1, 2].map(|seed| values(capacity * heads * row_words, seed));
            let cache = |numbers: &'static [u32]| Cache {
                words: numbers,
                stored: Stored::F32,
                dim,
                row_words,
                heads: 0..heads,
                capacity,
            };
            let [keys, others] =
                [keys, others].map(|v| &*v.iter().map(|v| v.to_bits()).collect::<Vec<_>>().leak()).map(cache);
            let numbers = values(5 * dim, 3);
            let spans = [0..140, 0..141, 130..131, 190..400, 320..330]; // of a ring
            let spans = if heads == 1 { spans } else { [0..1, 63..65, 64..128, 1..128, 200..209] };
            let queries = numbers.chunks(dim).zip(spans).enumerate().map(|(i, (values, keys))| Query {
                head: if i < 3 { 0 } else { heads - 1 },
                values,
                keys,
                sink: (i == 1).then_some(0.3),
            });
            let queries: Vec<Query<'_>> = queries.collect();
            for values in [&keys, &others] {
                let all = attend(&queries, 0.7, &keys, values, value_dim);
                for (i, (query, all)) in queries.iter().zip(&all).enumerate() {
                    let alone = attend(std::slice::from_ref(query), 0.7, &keys, values, value_dim);
                    assert_eq!(&alone[0], all, "query {i} of {dim}");
                    let more = attend(&queries[i / 2..], 0.7, &keys, values, value_dim);
                    assert_eq!(&more[i - i / 2], all, "query {i} of {dim}");
                    assert!(all.denominator > 0.0 && all.sums.len() == value_dim);
                }
            }
        }
    }

    #[test]
    fn wide_vectors_make_the_same_bits() {
        for (stored, dim, row_words) in [
            (Stored::F32, 64, 64),
            (Stored::F16, 64, 32),
            (Stored::F16, 6, 4),
            (Stored::F16, 80, 40),
            (Stored::Q8, 96, 28),
        ] {
            let (heads, capacity) = (2, 300);
            // Without the highest bits of exponents, numbers of both kinds are finite.
            let words =
                |seed| values(capacity * heads * row_words, seed).into_iter().map(|v| v.to_bits() & 0xbfff_bfff);
            let [keys, others] = [1, 2].map(|seed| words(seed).collect::<Vec<u32>>());
            let cache = |words| Cache { words, stored, dim, row_words, heads: 0..heads, capacity };
            let (keys, others) = (cache(&keys), cache(&others));
            let numbers = values(5 * dim, 3);
            let spans = [0..140, 0..141, 130..131, 190..400, 320..330];
            let queries =
                numbers.chunks(dim).zip(spans).map(|(values, keys)| Query { head: 1, values, keys, sink: Some(0.5) });
            let queries: Vec<Query<'_>> = queries.collect();
            for values in [&keys, &others] {
                for n in 1..=5 {
                    let made = || attend(&queries[..n], 0.7, &keys, values, dim);
                    assert_eq!(made(), on_pairs(made), "{n} of {stored:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let (dim, capacity) = (8, 70);
        let cache = Cache { words: &[], stored: Stored::F16, dim, row_words: 4, heads: 0..1, capacity };
        let words = |other: Option<(usize, u32)>| {
            let mut words = vec![0x3c00_3c00; capacity * 4]; // ones
            other.into_iter().for_each(|(place, word)| words[place] = word);
            words
        };
        let (ones, nan, infinite) =
            (words(None), words(Some((66 * 4, 0x3c00_7e00))), words(Some((3 * 4, 0xfc00_3c00))));
        let query = |end: usize| Query { head: 0, values: &[0.5; 8], keys: 0..end, sink: None };
        let made = |keys: &[u32], values: &[u32], end| {
            let of = |words| Cache { words, ..cache.clone() };
            let made = || attend(&[query(end)], 1.0, &of(keys), &of(values), dim);
            [made(), on_pairs(made)].map(|made| made[0].sums.clone())
        };
        assert_eq!(made(&nan, &ones, 66), [vec![66.0; 8], vec![66.0; 8]]);
        assert!(made(&nan, &ones, 67).iter().flatten().all(|v| v.is_nan()));
        for sums in made(&ones, &infinite, 67) {
            assert_eq!(sums, [67.0, f32::NEG_INFINITY, 67.0, 67.0, 67.0, 67.0, 67.0, 67.0]);
        }
    }
}
