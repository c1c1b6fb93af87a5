//! The logarithm of a whole vector.
//!
//! x = m · 2^e with m in [√½, √2); ln x = ln m + e · ln 2. The polynomial for ln m is Cephes'
//! `logf` (S. Moshier), good to one unit in the last place.

use std::f32::consts::SQRT_2;

use crate::simd::Simd;
use crate::spec::{FeatureSpec, Log, LogFloorRule};

/// ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Highest power first: ln(1 + t) = t − t²/2 + t³ · polynomial(t).
const POLYNOMIAL: [f32; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_9e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_8e-1,
    2.000_071_5e-1,
    -2.499_999_4e-1,
    3.333_333e-1,
];

/// Natural logarithm of positive x, subnormal numbers included.
#[inline(always)]
pub fn ln<S: Simd>(s: S, x: S::V) -> S::V {
    // Subnormal numbers have no leading one for `split_exponent`: lift them by 2^32.
    let least_normal = s.splat(f32::MIN_POSITIVE);
    let lifted = s.mul(x, s.splat(4_294_967_296.0));
    let shift = s.select_lt(x, least_normal, s.splat(-32.0), s.splat(0.0));
    let x = s.select_lt(x, least_normal, lifted, x);

    let (m, e) = s.split_exponent(x);
    let e = s.add(e, shift);
    // [1, 2) → [√½, √2), where t = m − 1 is smallest.
    let root = s.splat(SQRT_2);
    let e = s.select_lt(m, root, e, s.add(e, s.splat(1.0)));
    let m = s.select_lt(m, root, m, s.mul(m, s.splat(0.5)));
    let t = s.sub(m, s.splat(1.0));

    let mut p = s.splat(POLYNOMIAL[0]);
    for &c in &POLYNOMIAL[1..] {
        p = s.mul_add(p, t, s.splat(c));
    }
    let t2 = s.mul(t, t);
    let mut y = s.mul(s.mul(t2, t), p);
    y = s.mul_add(e, s.splat(LN_2_LOW), y);
    y = s.neg_mul_add(t2, s.splat(0.5), y);
    s.mul_add(e, s.splat(LN_2_HIGH), s.add(t, y))
}

/// The logarithm of a spec: floor, then base.
pub struct LogScale {
    floor: f32,
    replace_zeros: bool,
    per_ln: f32,
    per_ln_of_power: f32,
}

impl LogScale {
    /// None if the spec has no logarithm.
    pub fn new(spec: &FeatureSpec) -> Option<Self> {
        // 10 · log10 of power is 20 · log10 of magnitude.
        let per_ln = |power: u32| match spec.log {
            Log::Db => 20.0 / f64::from(power) / std::f64::consts::LN_10,
            Log::Log10 => 1.0 / std::f64::consts::LN_10,
            Log::Natural | Log::None => 1.0,
        };
        if spec.log == Log::None {
            return None;
        }
        Some(Self {
            floor: spec.log_floor as f32,
            replace_zeros: spec.log_floor_rule == LogFloorRule::ReplaceZeros,
            per_ln: per_ln(spec.power) as f32,
            per_ln_of_power: per_ln(2) as f32,
        })
    }

    /// The logarithm of a value of the spectrum.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, s: S, x: S::V) -> S::V {
        s.mul(ln(s, self.floored(s, x)), s.splat(self.per_ln))
    }

    /// The logarithm of an energy, which is a power even where the spectrum is one of magnitudes.
    #[inline(always)]
    pub fn apply_to_energy<S: Simd>(&self, s: S, x: S::V) -> S::V {
        s.mul(ln(s, self.floored(s, x)), s.splat(self.per_ln_of_power))
    }

    #[inline(always)]
    fn floored<S: Simd>(&self, s: S, x: S::V) -> S::V {
        let floor = s.splat(self.floor);
        if self.replace_zeros { s.select_lt(s.splat(0.0), x, x, floor) } else { s.max(x, floor) }
    }
}

/// `top_db` in the unit of the logarithm.
pub fn dynamic_range(spec: &FeatureSpec) -> Option<f32> {
    let bels = spec.top_db? / 10.0 * f64::from(spec.power) / 2.0;
    Some(match spec.log {
        Log::None => return None,
        Log::Db => spec.top_db?,
        Log::Natural => bels * std::f64::consts::LN_10,
        Log::Log10 => bels,
    } as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel};

    struct Ln<'a>(&'a mut [f32]);

    impl Kernel for Ln<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for chunk in self.0.chunks_exact_mut(S::LANES) {
                let y = ln(s, s.load(chunk));
                s.store(chunk, y);
            }
        }
    }

    #[test]
    fn equals_float64_over_the_whole_range() {
        // Every exponent from the least subnormal number to the greatest finite one.
        let mut x: Vec<f32> = (1..0x7f80_0000_u32).step_by(4999).map(f32::from_bits).collect();
        x.extend([1.0, SQRT_2, 0.5 * SQRT_2, f32::MAX, f32::MIN_POSITIVE, 1e-45]);
        x.extend((0..4096).map(|i| 1.0 + (i as f32 - 2048.0) * f32::EPSILON));
        x.resize(x.len().next_multiple_of(16), 1.0);
        for isa in Isa::available() {
            let mut y = x.clone();
            isa.dispatch(Ln(&mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let exact = f64::from(x).ln();
                let error = (f64::from(y) - exact).abs();
                assert!(error <= 1.5e-7 * exact.abs() + 1e-10, "{isa:?}: ln {x:e} = {y}");
            }
        }
    }
}
