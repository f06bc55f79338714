//! Tests of the vectors, and what other tests need of them.

use std::cell::Cell;

use super::*;

thread_local! {
    /// Whether all work is done on pairs of vectors.
    pub static PAIRS: Cell<bool> = const { Cell::new(false) };
}

/// Makes something on pairs of vectors, whatever the processor has.
pub fn on_pairs<T>(make: impl FnOnce() -> T) -> T {
    PAIRS.set(true);
    let made = make();
    PAIRS.set(false);
    made
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn bits(v: [F32x4; 2]) -> Vec<u32> {
    v.iter().flat_map(|v| v.values().map(f32::to_bits)).collect()
}

/// The arithmetic of floats on any bits.
fn same_floats([a, b]: [[f32; 4]; 2]) {
    let (f, g, h, i) = (F32x4::new(a), F32x4::new(b), plain::F32x4::new(a), plain::F32x4::new(b));
    let nan = F32x4::splat(f32::NAN);
    let got = [f.sub(g), f.div(g), f.min(g), f.max(g), nan.min(f), nan.max(f), F32x4::sums([f, g, g, f])];
    let nan = plain::F32x4::splat(f32::NAN);
    let want = [h.sub(i), h.div(i), h.min(i), h.max(i), nan.min(h), nan.max(h), plain::F32x4::sums([h, i, i, h])];
    assert_eq!(I16x8::lower_halves([f, g]).values(), plain::I16x8::lower_halves([h, i]).values(), "{a:?} {b:?}");
    let [even, odd] = f.unzip(g);
    let [plain_even, plain_odd] = h.unzip(i);
    let got = got.into_iter().chain([even, odd, f.two_to()]).flat_map(F32x4::values);
    let want = want.into_iter().chain([plain_even, plain_odd, h.two_to()]).flat_map(plain::F32x4::values);
    for (got, want) in got.zip(want) {
        assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{got} {want} of {a:?} {b:?}");
    }
}

#[test]
fn a_target_s_instructions_compute_what_arrays_do() {
    let mut random = Random(1);
    for round in 0..2000 {
        let mut bytes = || -> [u8; 16] { bytemuck::must_cast([random.next(), random.next()]) };
        let (a, b) = (bytes(), bytes());
        let (x, y) = (I16x8::from_bytes(a), I16x8::from_bytes(b));
        let (p, q) = (plain::I16x8::from_bytes(a), plain::I16x8::from_bytes(b));
        let same = |x: I16x8, p: plain::I16x8| {
            assert_eq!(x.values(), p.values(), "round {round}");
        };
        for (x, p) in I16x8::from_signed(a).into_iter().zip(plain::I16x8::from_signed(a)) {
            same(x, p);
        }
        for (x, p) in I16x8::from_unsigned(a).into_iter().zip(plain::I16x8::from_unsigned(a)) {
            same(x, p);
        }
        same(x.and(y), p.and(q));
        same(x.add(y), p.add(q));
        same(x.sub(y), p.sub(q));
        same(x.mul(y), p.mul(q));
        same(x.saturating_sub(y), p.saturating_sub(q));
        same(x.max(y), p.max(q));
        same(x.equal(x.and(I16x8::splat(7))), p.equal(p.and(plain::I16x8::splat(7))));
        same(x.shift_right::<4>(), p.shift_right::<4>());
        same(x.shift_right::<12>(), p.shift_right::<12>());
        same(I16x8::new(p.0), plain::I16x8::new(p.0));
        // Lanes of a target's products are its own; their sums are not.
        let four = [x.dot(y), x.dot(x).add(y.dot(x)), y.dot(y), y.dot(x.add(y))];
        let plain_four = [p.dot(q), p.dot(p).add(q.dot(p)), q.dot(q), q.dot(p.add(q))];
        let sums = plain::I32x4::sums(plain_four).to_floats().values();
        assert_eq!(I32x4::sums(four).to_floats().values(), sums);
        let floats = [p.dot(q).to_floats().values(), p.dot(p).to_floats().values()];
        let [f, g] = floats.map(F32x4::new);
        let [h, i] = floats.map(plain::F32x4::new);
        let half = (F32x4::splat(0.5), plain::F32x4::splat(0.5));
        assert_eq!(f.add(g).mul(half.0).values(), h.add(i).mul(half.1).values());
        for (i, w) in x.widen().into_iter().zip(p.widen()) {
            assert_eq!(i.to_floats().values(), w.to_floats().values());
        }
        same_floats([a, b].map(bytemuck::must_cast));
        let upper = plain::F32x4::from_upper(p);
        assert_eq!(bits(F32x4::from_upper(x)), upper.iter().flat_map(|v| v.0.map(f32::to_bits)).collect::<Vec<_>>());
        let halves = [plain::F32x4::from_halves(p), plain::F32x4::from_pairs(p)].concat();
        let got = [F32x4::from_halves(x), F32x4::from_pairs(x)].concat();
        for (got, want) in got.iter().flat_map(|v| v.values()).zip(halves.iter().flat_map(|v| v.values())) {
            assert!(got == want || got.is_nan() && want.is_nan(), "{got} {want}");
        }
    }
}

/// Eight f16 of any bits, as wide vectors.
struct Halves([u8; 16]);

impl Work for Halves {
    type Made = [F32x4; 4];

    fn run<W: Wide>(self, wide: W) -> [F32x4; 4] {
        let halves = I16x8::from_bytes(self.0);
        let [a, b] = wide.of_halves(halves).halves();
        let [c, d] = wide.of_pairs(halves);
        [a, b, c, d]
    }
}

#[test]
fn every_half_has_its_value() {
    for first in (0..=u16::MAX).step_by(8) {
        let halves: [u16; 8] = std::array::from_fn(|i| first + i as u16);
        let values = |i: usize| half::f16::from_bits(halves[i]).to_f32();
        let order = (0..8).chain([0, 2, 4, 6, 1, 3, 5, 7]);
        let bytes = || Halves(bytemuck::must_cast(halves));
        let both = [dispatch(bytes()), bytes().run(Pairs)];
        if values(7).is_finite() {
            let finite = F32x4::from_finite_halves(I16x8::from_bytes(bytemuck::must_cast(halves)));
            let plain = plain::F32x4::from_finite_halves(plain::I16x8::from_bytes(bytemuck::must_cast(halves)));
            assert_eq!(bits(finite), plain.iter().flat_map(|v| v.0.map(f32::to_bits)).collect::<Vec<_>>());
        }
        for (i, place) in order.enumerate() {
            for got in both.map(|made| made[i / 4].values()[i % 4]) {
                let want = values(place);
                assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{got} {want}");
            }
        }
    }
}
