//! Discrete Fourier transforms of a few points, straight-line, on vectors: X[k] = Σ x[n]·e^(−2πi·kn/N).

use std::f64::consts::FRAC_1_SQRT_2;

use crate::simd::Arithmetic;

/// A complex number in every lane: (real, imaginary).
pub type C<S> = (<S as Arithmetic>::V, <S as Arithmetic>::V);

/// A transform of `N` complex points.
pub trait Codelet<const N: usize> {
    /// X[0..N] of x[0..N].
    fn dft<S: Arithmetic>(s: S, x: [C<S>; N]) -> [C<S>; N];
}

/// A transform of real points: the first `N/2 + 1` bins, the rest being their conjugates.
pub trait RealCodelet<const N: usize, const BINS: usize> {
    /// X[0..=N/2] of the real x[0..N].
    fn dft<S: Arithmetic>(s: S, x: [S::V; N]) -> [C<S>; BINS];
}

/// The straight-line transforms.
pub struct Straight;

#[inline(always)]
fn add<S: Arithmetic>(s: S, a: C<S>, b: C<S>) -> C<S> {
    (s.add(a.0, b.0), s.add(a.1, b.1))
}
#[inline(always)]
fn sub<S: Arithmetic>(s: S, a: C<S>, b: C<S>) -> C<S> {
    (s.sub(a.0, b.0), s.sub(a.1, b.1))
}
/// a − i·b
#[inline(always)]
fn sub_i<S: Arithmetic>(s: S, a: C<S>, b: C<S>) -> C<S> {
    (s.add(a.0, b.1), s.sub(a.1, b.0))
}
/// a + i·b
#[inline(always)]
fn add_i<S: Arithmetic>(s: S, a: C<S>, b: C<S>) -> C<S> {
    (s.sub(a.0, b.1), s.add(a.1, b.0))
}
/// a + by · b
#[inline(always)]
fn add_scaled<S: Arithmetic>(s: S, a: C<S>, by: S::V, b: C<S>) -> C<S> {
    (s.mul_add(by, b.0, a.0), s.mul_add(by, b.1, a.1))
}
/// a − by · b
#[inline(always)]
fn sub_scaled<S: Arithmetic>(s: S, a: C<S>, by: S::V, b: C<S>) -> C<S> {
    (s.neg_mul_add(by, b.0, a.0), s.neg_mul_add(by, b.1, a.1))
}
/// a · w, with the same w in every lane.
#[inline(always)]
pub fn twiddle<S: Arithmetic>(s: S, a: C<S>, w: [S::Scalar; 2]) -> C<S> {
    let (re, im) = (s.splat(w[0]), s.splat(w[1]));
    (s.neg_mul_add(a.1, im, s.mul(a.0, re)), s.mul_add(a.1, re, s.mul(a.0, im)))
}

impl Codelet<1> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(_: S, x: [C<S>; 1]) -> [C<S>; 1] {
        x
    }
}

impl Codelet<2> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(s: S, x: [C<S>; 2]) -> [C<S>; 2] {
        [add(s, x[0], x[1]), sub(s, x[0], x[1])]
    }
}

impl Codelet<4> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(s: S, x: [C<S>; 4]) -> [C<S>; 4] {
        let (sum, d) = (add(s, x[0], x[2]), sub(s, x[0], x[2]));
        let (t, e) = (add(s, x[1], x[3]), sub(s, x[1], x[3]));
        [add(s, sum, t), sub_i(s, d, e), sub(s, sum, t), add_i(s, d, e)]
    }
}

impl Codelet<8> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(s: S, x: [C<S>; 8]) -> [C<S>; 8] {
        let even = <Self as Codelet<4>>::dft(s, [x[0], x[2], x[4], x[6]]);
        let odd = <Self as Codelet<4>>::dft(s, [x[1], x[3], x[5], x[7]]);
        let h = s.constant(FRAC_1_SQRT_2);
        // w₈·o₁ = h·(1 − i)·o₁ and w₈³·o₃ = −h·(1 + i)·o₃, with h = √½ left for the last step.
        let o1 = sub_i(s, odd[1], odd[1]);
        let o3 = add_i(s, odd[3], odd[3]);
        [
            add(s, even[0], odd[0]),
            add_scaled(s, even[1], h, o1),
            sub_i(s, even[2], odd[2]),
            sub_scaled(s, even[3], h, o3),
            sub(s, even[0], odd[0]),
            sub_scaled(s, even[1], h, o1),
            add_i(s, even[2], odd[2]),
            add_scaled(s, even[3], h, o3),
        ]
    }
}

impl Codelet<3> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(s: S, x: [C<S>; 3]) -> [C<S>; 3] {
        let (sum, d) = (add(s, x[1], x[2]), sub(s, x[1], x[2]));
        let half = s.constant(0.5);
        let m = (s.neg_mul_add(half, sum.0, x[0].0), s.neg_mul_add(half, sum.1, x[0].1));
        let sin = s.constant(0.866_025_403_784_438_6);
        let e = (s.mul(sin, d.0), s.mul(sin, d.1));
        [add(s, x[0], sum), sub_i(s, m, e), add_i(s, m, e)]
    }
}

impl Codelet<5> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(s: S, x: [C<S>; 5]) -> [C<S>; 5] {
        let (s1, d1) = (add(s, x[1], x[4]), sub(s, x[1], x[4]));
        let (s2, d2) = (add(s, x[2], x[3]), sub(s, x[2], x[3]));
        // cos and sin of 2π/5 and 4π/5
        let (c1, c2) = (s.constant(0.309_016_994_374_947_45), s.constant(-0.809_016_994_374_947_5));
        let (k1, k2) = (s.constant(0.951_056_516_295_153_5), s.constant(0.587_785_252_292_473_1));
        let e1 = add_scaled(s, add_scaled(s, x[0], c1, s1), c2, s2);
        let e2 = add_scaled(s, add_scaled(s, x[0], c2, s1), c1, s2);
        let o1 = (s.mul_add(k1, d1.0, s.mul(k2, d2.0)), s.mul_add(k1, d1.1, s.mul(k2, d2.1)));
        let o2 =
            (s.neg_mul_add(k1, d2.0, s.mul(k2, d1.0)), s.neg_mul_add(k1, d2.1, s.mul(k2, d1.1)));
        [
            add(s, x[0], add(s, s1, s2)),
            sub_i(s, e1, o1),
            sub_i(s, e2, o2),
            add_i(s, e2, o2),
            add_i(s, e1, o1),
        ]
    }
}

impl RealCodelet<4, 3> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(s: S, x: [S::V; 4]) -> [C<S>; 3] {
        let zero = s.constant(0.0);
        let (p, q) = (s.add(x[0], x[2]), s.add(x[1], x[3]));
        [(s.add(p, q), zero), (s.sub(x[0], x[2]), s.sub(x[3], x[1])), (s.sub(p, q), zero)]
    }
}

impl RealCodelet<8, 5> for Straight {
    #[inline(always)]
    fn dft<S: Arithmetic>(s: S, x: [S::V; 8]) -> [C<S>; 5] {
        let e = <Self as RealCodelet<4, 3>>::dft(s, [x[0], x[2], x[4], x[6]]);
        let o = <Self as RealCodelet<4, 3>>::dft(s, [x[1], x[3], x[5], x[7]]);
        let zero = s.constant(0.0);
        let h = s.constant(FRAC_1_SQRT_2);
        let (p, q) = (s.add(o[1].0, o[1].1), s.sub(o[1].1, o[1].0));
        [
            (s.add(e[0].0, o[0].0), zero),
            (s.mul_add(h, p, e[1].0), s.mul_add(h, q, e[1].1)),
            (e[2].0, s.sub(zero, o[2].0)),
            (s.neg_mul_add(h, p, e[1].0), s.sub(s.mul(h, q), e[1].1)),
            (s.sub(e[0].0, o[0].0), zero),
        ]
    }
}
