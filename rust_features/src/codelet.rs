//! Discrete Fourier transforms of a few points, straight-line, on vectors: X[k] = Σ x[n]·e^(−2πi·kn/N).

use crate::simd::Simd;

/// A complex number in every lane: (real, imaginary).
pub type C<S> = (<S as Simd>::V, <S as Simd>::V);

/// A transform of `N` complex points.
pub trait Codelet<const N: usize> {
    /// X[0..N] of x[0..N].
    fn dft<S: Simd>(x: [C<S>; N]) -> [C<S>; N];
}

/// A transform of real points: the first `N/2 + 1` bins, the rest being their conjugates.
pub trait RealCodelet<const N: usize, const BINS: usize> {
    /// X[0..=N/2] of the real x[0..N].
    fn dft<S: Simd>(x: [S::V; N]) -> [C<S>; BINS];
}

/// The straight-line transforms.
pub struct Straight;

#[inline(always)]
fn add<S: Simd>(a: C<S>, b: C<S>) -> C<S> {
    (S::add(a.0, b.0), S::add(a.1, b.1))
}
#[inline(always)]
fn sub<S: Simd>(a: C<S>, b: C<S>) -> C<S> {
    (S::sub(a.0, b.0), S::sub(a.1, b.1))
}
/// a − i·b
#[inline(always)]
fn sub_i<S: Simd>(a: C<S>, b: C<S>) -> C<S> {
    (S::add(a.0, b.1), S::sub(a.1, b.0))
}
/// a + i·b
#[inline(always)]
fn add_i<S: Simd>(a: C<S>, b: C<S>) -> C<S> {
    (S::sub(a.0, b.1), S::add(a.1, b.0))
}
/// a + s·b
#[inline(always)]
fn add_scaled<S: Simd>(a: C<S>, s: S::V, b: C<S>) -> C<S> {
    (S::mul_add(s, b.0, a.0), S::mul_add(s, b.1, a.1))
}
/// a − s·b
#[inline(always)]
fn sub_scaled<S: Simd>(a: C<S>, s: S::V, b: C<S>) -> C<S> {
    (S::neg_mul_add(s, b.0, a.0), S::neg_mul_add(s, b.1, a.1))
}
/// a · w, with the same w in every lane.
#[inline(always)]
pub fn twiddle<S: Simd>(a: C<S>, w: [f32; 2]) -> C<S> {
    let (re, im) = (S::splat(w[0]), S::splat(w[1]));
    (S::neg_mul_add(a.1, im, S::mul(a.0, re)), S::mul_add(a.1, re, S::mul(a.0, im)))
}

impl Codelet<1> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [C<S>; 1]) -> [C<S>; 1] {
        x
    }
}

impl Codelet<2> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [C<S>; 2]) -> [C<S>; 2] {
        [add::<S>(x[0], x[1]), sub::<S>(x[0], x[1])]
    }
}

impl Codelet<4> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [C<S>; 4]) -> [C<S>; 4] {
        let (s, d) = (add::<S>(x[0], x[2]), sub::<S>(x[0], x[2]));
        let (t, e) = (add::<S>(x[1], x[3]), sub::<S>(x[1], x[3]));
        [add::<S>(s, t), sub_i::<S>(d, e), sub::<S>(s, t), add_i::<S>(d, e)]
    }
}

impl Codelet<8> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [C<S>; 8]) -> [C<S>; 8] {
        let even = <Self as Codelet<4>>::dft::<S>([x[0], x[2], x[4], x[6]]);
        let odd = <Self as Codelet<4>>::dft::<S>([x[1], x[3], x[5], x[7]]);
        let h = S::splat(std::f32::consts::FRAC_1_SQRT_2);
        // w₈·o₁ = h·(1 − i)·o₁ and w₈³·o₃ = −h·(1 + i)·o₃, with h = √½ left for the last step.
        let o1 = sub_i::<S>(odd[1], odd[1]);
        let o3 = add_i::<S>(odd[3], odd[3]);
        [
            add::<S>(even[0], odd[0]),
            add_scaled::<S>(even[1], h, o1),
            sub_i::<S>(even[2], odd[2]),
            sub_scaled::<S>(even[3], h, o3),
            sub::<S>(even[0], odd[0]),
            sub_scaled::<S>(even[1], h, o1),
            add_i::<S>(even[2], odd[2]),
            add_scaled::<S>(even[3], h, o3),
        ]
    }
}

impl Codelet<3> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [C<S>; 3]) -> [C<S>; 3] {
        let (s, d) = (add::<S>(x[1], x[2]), sub::<S>(x[1], x[2]));
        let half = S::splat(0.5);
        let m = (S::neg_mul_add(half, s.0, x[0].0), S::neg_mul_add(half, s.1, x[0].1));
        let sin = S::splat(0.866_025_4);
        let e = (S::mul(sin, d.0), S::mul(sin, d.1));
        [add::<S>(x[0], s), sub_i::<S>(m, e), add_i::<S>(m, e)]
    }
}

impl Codelet<5> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [C<S>; 5]) -> [C<S>; 5] {
        let (s1, d1) = (add::<S>(x[1], x[4]), sub::<S>(x[1], x[4]));
        let (s2, d2) = (add::<S>(x[2], x[3]), sub::<S>(x[2], x[3]));
        // cos and sin of 2π/5 and 4π/5
        let (c1, c2) = (S::splat(0.309_017), S::splat(-0.809_017));
        let (k1, k2) = (S::splat(0.951_056_5), S::splat(0.587_785_25));
        let e1 = add_scaled::<S>(add_scaled::<S>(x[0], c1, s1), c2, s2);
        let e2 = add_scaled::<S>(add_scaled::<S>(x[0], c2, s1), c1, s2);
        let o1 = (S::mul_add(k1, d1.0, S::mul(k2, d2.0)), S::mul_add(k1, d1.1, S::mul(k2, d2.1)));
        let o2 = (
            S::neg_mul_add(k1, d2.0, S::mul(k2, d1.0)),
            S::neg_mul_add(k1, d2.1, S::mul(k2, d1.1)),
        );
        [
            add::<S>(x[0], add::<S>(s1, s2)),
            sub_i::<S>(e1, o1),
            sub_i::<S>(e2, o2),
            add_i::<S>(e2, o2),
            add_i::<S>(e1, o1),
        ]
    }
}

impl RealCodelet<4, 3> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [S::V; 4]) -> [C<S>; 3] {
        let zero = S::splat(0.0);
        let (s, t) = (S::add(x[0], x[2]), S::add(x[1], x[3]));
        [(S::add(s, t), zero), (S::sub(x[0], x[2]), S::sub(x[3], x[1])), (S::sub(s, t), zero)]
    }
}

impl RealCodelet<8, 5> for Straight {
    #[inline(always)]
    fn dft<S: Simd>(x: [S::V; 8]) -> [C<S>; 5] {
        let e = <Self as RealCodelet<4, 3>>::dft::<S>([x[0], x[2], x[4], x[6]]);
        let o = <Self as RealCodelet<4, 3>>::dft::<S>([x[1], x[3], x[5], x[7]]);
        let zero = S::splat(0.0);
        let h = S::splat(std::f32::consts::FRAC_1_SQRT_2);
        let (p, q) = (S::add(o[1].0, o[1].1), S::sub(o[1].1, o[1].0));
        [
            (S::add(e[0].0, o[0].0), zero),
            (S::mul_add(h, p, e[1].0), S::mul_add(h, q, e[1].1)),
            (e[2].0, S::sub(zero, o[2].0)),
            (S::neg_mul_add(h, p, e[1].0), S::sub(S::mul(h, q), e[1].1)),
            (S::sub(e[0].0, o[0].0), zero),
        ]
    }
}
