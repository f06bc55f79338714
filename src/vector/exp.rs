//! Exponentials.

use super::lanes::F32x4;

/// The exponentials of four values, to two units in the last place: by Cody and Waite's reduction and the polynomial of Cephes'
/// `expf`. Those of values above 88.7 are infinite, those below -104 zero; what is no number stays so.
#[inline(always)]
pub fn exp(x: F32x4) -> F32x4 {
    let of = F32x4::splat;
    let round = of(12_582_912.0); // 1.5 · 2²³: floats that large are integers
    let x = x.min(of(89.0)).max(of(-104.0));
    let n = x.mul(of(std::f32::consts::LOG2_E)).add(round).sub(round);
    // ln 2 in two parts, of which products of the first with n are exact.
    let x = x.sub(n.mul(of(0.693_359_4))).sub(n.mul(of(-2.121_944_4e-4)));
    let terms = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let y = terms.into_iter().fold(of(1.987_569_2e-4), |y, term| y.mul(x).add(of(term)));
    let y = y.mul(x.mul(x)).add(x).add(of(1.0));
    // 2ⁿ in two factors, since n may be beyond the exponents of floats.
    let half = n.mul(of(0.5)).add(round);
    let rest = n.sub(half.sub(round)).add(round);
    y.mul(half.two_to()).mul(rest.two_to())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(x: f32) -> f32 {
        exp(F32x4::splat(x)).values()[0]
    }

    #[test]
    fn within_two_units_of_the_last_place() {
        let mut worst = 0.0f64;
        for i in 0..2_000_000 {
            let x = -105.0 + 194.0 * (i as f32 / 2_000_000.0);
            let (got, want) = (one(x), f64::from(x).exp());
            if want > f64::from(f32::MAX) {
                assert!(got == f32::INFINITY || got == f32::MAX, "{x}: {got}");
                continue;
            }
            let unit = f64::from(f32::from_bits((want as f32).to_bits() & 0x7f80_0000).max(f32::MIN_POSITIVE))
                * 2f64.powi(-23);
            worst = worst.max((f64::from(got) - want).abs() / unit);
        }
        assert!(worst <= 2.0, "{worst} units");
    }

    #[test]
    fn ends_and_what_is_no_number() {
        assert_eq!([0.0, -0.0, f32::MIN_POSITIVE / 8.0, -1e-30].map(one), [1.0; 4]);
        assert_eq!([f32::INFINITY, f32::MAX, 89.0, 88.8].map(one), [f32::INFINITY; 4]);
        assert_eq!([f32::NEG_INFINITY, f32::MIN, -104.0, -200.0].map(one), [0.0; 4]);
        assert!([-87.5, -95.0, -103.0].map(one).iter().all(|v| v.is_subnormal()));
        assert!(one(f32::NAN).is_nan());
    }
}
