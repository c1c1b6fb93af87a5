//! NEON, which every 64-bit Arm has.

use std::arch::aarch64::*;

use super::{Arithmetic, Kernel, Rows, RowsMut, Simd};

/// Runs the kernel with NEON.
#[inline(never)]
pub fn neon<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon(()))
}

/// Made only by [`neon`].
#[derive(Clone, Copy)]
pub struct Neon(());

/// The same lanes in float64.
#[derive(Clone, Copy)]
pub struct NeonDouble;

// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for Neon {
    type Scalar = f32;
    type V = float32x4_t;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    fn constant(self, x: f64) -> float32x4_t {
        self.splat(x as f32)
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn neg_mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmsq_f32(c, a, b) }
    }
}

/// Two registers hold as many lanes as one of float32.
type Pair = [float64x2_t; 2];

// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for NeonDouble {
    type Scalar = f64;
    type V = Pair;

    #[inline(always)]
    fn splat(self, x: f64) -> Pair {
        // SAFETY: NEON is part of the target.
        unsafe { [vdupq_n_f64(x); 2] }
    }
    #[inline(always)]
    fn constant(self, x: f64) -> Pair {
        self.splat(x)
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: as above.
        unsafe { [vaddq_f64(a[0], b[0]), vaddq_f64(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: as above.
        unsafe { [vsubq_f64(a[0], b[0]), vsubq_f64(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: as above.
        unsafe { [vmulq_f64(a[0], b[0]), vmulq_f64(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: as above.
        unsafe { [vfmaq_f64(c[0], a[0], b[0]), vfmaq_f64(c[1], a[1], b[1])] }
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: as above.
        unsafe { [vfmsq_f64(c[0], a[0], b[0]), vfmsq_f64(c[1], a[1], b[1])] }
    }
}

/// The 4 × 4 transpose: vector s of the result holds element s of each of the four inputs.
#[inline(always)]
fn transpose4([a, b, c, d]: [float32x4_t; 4]) -> [float32x4_t; 4] {
    // SAFETY: NEON is part of the target.
    unsafe {
        let pairs = |lo: float32x4_t, hi: float32x4_t| {
            (vreinterpretq_f64_f32(lo), vreinterpretq_f64_f32(hi))
        };
        // a0 b0 a2 b2 and c0 d0 c2 d2; a1 b1 a3 b3 and c1 d1 c3 d3.
        let (ab_even, cd_even) = pairs(vtrn1q_f32(a, b), vtrn1q_f32(c, d));
        let (ab_odd, cd_odd) = pairs(vtrn2q_f32(a, b), vtrn2q_f32(c, d));
        [
            vreinterpretq_f32_f64(vtrn1q_f64(ab_even, cd_even)),
            vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd)),
            vreinterpretq_f32_f64(vtrn2q_f64(ab_even, cd_even)),
            vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd)),
        ]
    }
}

// SAFETY: as many lanes as the register has.
unsafe impl Simd for Neon {
    type Double = NeonDouble;
    const LANES: usize = 4;
    const FUSED: bool = true;

    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        neon(kernel)
    }
    #[inline(always)]
    fn double(self) -> NeonDouble {
        NeonDouble
    }
    #[inline(always)]
    fn widen(self, x: float32x4_t) -> Pair {
        // SAFETY: NEON is part of the target.
        unsafe { [vcvt_f64_f32(vget_low_f32(x)), vcvt_high_f64_f32(x)] }
    }
    #[inline(always)]
    fn narrow(self, [low, high]: Pair) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vcvt_high_f32_f64(vcvt_f32_f64(low), high) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vsqrtq_f32(a) }
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // As elsewhere b if either is not a number, which `vmaxq_f32` would hand on.
        self.select_lt(b, a, a, b)
    }
    #[inline(always)]
    fn select_lt(
        self,
        a: float32x4_t,
        b: float32x4_t,
        x: float32x4_t,
        y: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vbslq_f32(vcltq_f32(a, b), x, y) }
    }
    #[inline(always)]
    fn split_exponent(self, x: float32x4_t) -> (float32x4_t, float32x4_t) {
        // SAFETY: as above.
        unsafe {
            let bits = vreinterpretq_u32_f32(x);
            let fraction = vandq_u32(bits, vdupq_n_u32(0x007f_ffff));
            let mantissa = vorrq_u32(fraction, vdupq_n_u32(0x3f80_0000));
            let exponent = vreinterpretq_s32_u32(vshrq_n_u32::<23>(bits));
            let exponent = vsubq_s32(exponent, vdupq_n_s32(127));
            (vreinterpretq_f32_u32(mantissa), vcvtq_f32_s32(exponent))
        }
    }
    #[inline(always)]
    fn load4(self, rows: &Rows, at: usize) -> [float32x4_t; 4] {
        // SAFETY: `Rows::quad` checks the bounds.
        transpose4(unsafe {
            [
                vld1q_f32(rows.quad(0, at)),
                vld1q_f32(rows.quad(1, at)),
                vld1q_f32(rows.quad(2, at)),
                vld1q_f32(rows.quad(3, at)),
            ]
        })
    }
    #[inline(always)]
    fn store4(self, rows: &mut RowsMut, at: usize, values: [float32x4_t; 4]) {
        for (lane, row) in transpose4(values).into_iter().enumerate() {
            if let Some(p) = rows.quad(lane, at) {
                // SAFETY: `quad` checks the bounds.
                unsafe { vst1q_f32(p, row) }
            }
        }
    }
}
