//! SSE2, AVX2 with FMA, and AVX-512.

// Index loops: an iterator or closure that the compiler leaves as a call of its own is compiled
// without the instruction set of its caller.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::{Arithmetic, Kernel, Rows, RowsMut, Simd};

/// Runs the kernel with AVX-512.
///
/// # Safety
/// The machine must have the features named.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
#[inline(never)]
pub unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// Runs the kernel with AVX2 and FMA.
///
/// # Safety
/// The machine must have the features named.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// Runs the kernel with SSE2, which every x86-64 has.
#[inline(never)]
pub fn sse2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Sse2(()))
}

/// Made only by [`avx512`].
#[derive(Clone, Copy)]
pub struct Avx512(());
/// Made only by [`avx2`].
#[derive(Clone, Copy)]
pub struct Avx2(());
/// Made only by [`sse2`].
#[derive(Clone, Copy)]
pub struct Sse2(());
/// Made only from one of them.
#[derive(Clone, Copy)]
pub struct Double<S>(S);

/// The arithmetic that is one instruction a register. `$f` makes a vector of what is done to its
/// registers: one of float32, or two of float64.
macro_rules! plain {
    ($scalar:ty, $V:ty, $map:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident) => {
        type Scalar = $scalar;
        type V = $V;
        #[inline(always)]
        fn splat(self, x: $scalar) -> $V {
            // SAFETY: `self` proves that the machine has the instruction.
            unsafe { $map!($splat, x;) }
        }
        #[inline(always)]
        fn constant(self, x: f64) -> $V {
            self.splat(x as $scalar)
        }
        #[inline(always)]
        fn add(self, a: $V, b: $V) -> $V {
            // SAFETY: as above.
            unsafe { $map!($add, ; a, b) }
        }
        #[inline(always)]
        fn sub(self, a: $V, b: $V) -> $V {
            // SAFETY: as above.
            unsafe { $map!($sub, ; a, b) }
        }
        #[inline(always)]
        fn mul(self, a: $V, b: $V) -> $V {
            // SAFETY: as above.
            unsafe { $map!($mul, ; a, b) }
        }
    };
}

/// Multiply-add, rounded once.
macro_rules! fused {
    ($V:ty, $map:ident, $fmadd:ident, $fnmadd:ident) => {
        #[inline(always)]
        fn mul_add(self, a: $V, b: $V, c: $V) -> $V {
            // SAFETY: `self` proves that the machine has the instruction.
            unsafe { $map!($fmadd, ; a, b, c) }
        }
        #[inline(always)]
        fn neg_mul_add(self, a: $V, b: $V, c: $V) -> $V {
            // SAFETY: as above.
            unsafe { $map!($fnmadd, ; a, b, c) }
        }
    };
}

/// Multiply-add, rounded twice.
macro_rules! separate {
    ($V:ty) => {
        #[inline(always)]
        fn mul_add(self, a: $V, b: $V, c: $V) -> $V {
            self.add(self.mul(a, b), c)
        }
        #[inline(always)]
        fn neg_mul_add(self, a: $V, b: $V, c: $V) -> $V {
            self.sub(c, self.mul(a, b))
        }
    };
}

/// An instruction on a register.
macro_rules! one {
    ($f:ident, $($x:ident)?; $($v:ident),*) => { $f($($x)? $($v),*) };
}
/// An instruction on each of two registers.
macro_rules! two {
    ($f:ident, $($x:ident)?; $($v:ident),*) => { [$f($($x)? $($v[0]),*), $f($($x)? $($v[1]),*)] };
}

// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for Sse2 {
    plain!(f32, __m128, one, _mm_set1_ps, _mm_add_ps, _mm_sub_ps, _mm_mul_ps);
    separate!(__m128);
}
// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for Double<Sse2> {
    plain!(f64, [__m128d; 2], two, _mm_set1_pd, _mm_add_pd, _mm_sub_pd, _mm_mul_pd);
    separate!([__m128d; 2]);
}
// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for Avx2 {
    plain!(f32, __m256, one, _mm256_set1_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps);
    fused!(__m256, one, _mm256_fmadd_ps, _mm256_fnmadd_ps);
}
// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for Double<Avx2> {
    plain!(f64, [__m256d; 2], two, _mm256_set1_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd);
    fused!([__m256d; 2], two, _mm256_fmadd_pd, _mm256_fnmadd_pd);
}
// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for Avx512 {
    plain!(f32, __m512, one, _mm512_set1_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps);
    fused!(__m512, one, _mm512_fmadd_ps, _mm512_fnmadd_ps);
}
// SAFETY: registers hold lanes and nothing else.
unsafe impl Arithmetic for Double<Avx512> {
    plain!(f64, [__m512d; 2], two, _mm512_set1_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd);
    fused!([__m512d; 2], two, _mm512_fmadd_pd, _mm512_fnmadd_pd);
}

/// The other methods that are one instruction each.
macro_rules! more {
    ($V:ty, $div:ident, $max:ident, $sqrt:ident) => {
        #[inline(always)]
        fn div(self, a: $V, b: $V) -> $V {
            // SAFETY: `self` proves that the machine has the instruction.
            unsafe { $div(a, b) }
        }
        #[inline(always)]
        fn max(self, a: $V, b: $V) -> $V {
            // SAFETY: as above.
            unsafe { $max(a, b) }
        }
        #[inline(always)]
        fn sqrt(self, a: $V) -> $V {
            // SAFETY: as above.
            unsafe { $sqrt(a) }
        }
        #[inline(always)]
        fn double(self) -> Double<Self> {
            Double(self)
        }
    };
}

/// Inside each group of four lanes, the 4 × 4 transpose: vector s of the result holds element s
/// of each of the four inputs.
macro_rules! transpose4 {
    ($name:ident, $features:literal, $V:ty, $to_pd:ident, $from_pd:ident, $lo:ident, $hi:ident,
     $lo_pd:ident, $hi_pd:ident) => {
        #[target_feature(enable = $features)]
        #[inline]
        fn $name([a, b, c, d]: [$V; 4]) -> [$V; 4] {
            let (ab_lo, ab_hi) = ($to_pd($lo(a, b)), $to_pd($hi(a, b)));
            let (cd_lo, cd_hi) = ($to_pd($lo(c, d)), $to_pd($hi(c, d)));
            // ab_lo = a0 b0 a1 b1; as pairs, with cd_lo: (a0 b0 c0 d0), (a1 b1 c1 d1).
            [
                $from_pd($lo_pd(ab_lo, cd_lo)),
                $from_pd($hi_pd(ab_lo, cd_lo)),
                $from_pd($lo_pd(ab_hi, cd_hi)),
                $from_pd($hi_pd(ab_hi, cd_hi)),
            ]
        }
    };
}

transpose4!(
    transpose4_sse2,
    "sse2",
    __m128,
    _mm_castps_pd,
    _mm_castpd_ps,
    _mm_unpacklo_ps,
    _mm_unpackhi_ps,
    _mm_unpacklo_pd,
    _mm_unpackhi_pd
);
transpose4!(
    transpose4_avx2,
    "avx2",
    __m256,
    _mm256_castps_pd,
    _mm256_castpd_ps,
    _mm256_unpacklo_ps,
    _mm256_unpackhi_ps,
    _mm256_unpacklo_pd,
    _mm256_unpackhi_pd
);
transpose4!(
    transpose4_avx512,
    "avx512f",
    __m512,
    _mm512_castps_pd,
    _mm512_castpd_ps,
    _mm512_unpacklo_ps,
    _mm512_unpackhi_ps,
    _mm512_unpacklo_pd,
    _mm512_unpackhi_pd
);

/// Four floats of the rows `j` and `j + 4`.
#[target_feature(enable = "avx2")]
#[inline]
fn half_pair(rows: &Rows, j: usize, at: usize) -> __m256 {
    // SAFETY: `quad` checks the bounds.
    unsafe {
        let low = _mm256_castps128_ps256(_mm_loadu_ps(rows.quad(j, at)));
        _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(rows.quad(j + 4, at)))
    }
}

/// Four floats of the rows `j`, `j + 4`, `j + 8` and `j + 12`.
#[target_feature(enable = "avx512f,avx512dq,avx2")]
#[inline]
fn quarters(rows: &Rows, j: usize, at: usize) -> __m512 {
    let low = _mm512_castps256_ps512(half_pair(rows, j, at));
    _mm512_insertf32x8::<1>(low, half_pair(rows, j + 8, at))
}

// SAFETY: as many lanes as the register has.
unsafe impl Simd for Sse2 {
    type Double = Double<Self>;
    const LANES: usize = 4;
    const FUSED: bool = false;

    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        sse2(kernel)
    }
    more!(__m128, _mm_div_ps, _mm_max_ps, _mm_sqrt_ps);

    #[inline(always)]
    fn widen(self, x: __m128) -> [__m128d; 2] {
        // SAFETY: `self` proves that the machine has the instructions.
        unsafe { [_mm_cvtps_pd(x), _mm_cvtps_pd(_mm_movehl_ps(x, x))] }
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [__m128d; 2]) -> __m128 {
        // SAFETY: as above.
        unsafe { _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high)) }
    }
    #[inline(always)]
    fn select_lt(self, a: __m128, b: __m128, x: __m128, y: __m128) -> __m128 {
        // SAFETY: `self` proves that the machine has the instructions.
        unsafe {
            let mask = _mm_cmplt_ps(a, b);
            _mm_or_ps(_mm_and_ps(mask, x), _mm_andnot_ps(mask, y))
        }
    }
    #[inline(always)]
    fn split_exponent(self, x: __m128) -> (__m128, __m128) {
        // SAFETY: as above.
        unsafe {
            let bits = _mm_castps_si128(x);
            let one = _mm_set1_epi32(0x3f80_0000);
            let mantissa = _mm_or_si128(_mm_and_si128(bits, _mm_set1_epi32(0x007f_ffff)), one);
            let exponent = _mm_sub_epi32(_mm_srli_epi32::<23>(bits), _mm_set1_epi32(127));
            (_mm_castsi128_ps(mantissa), _mm_cvtepi32_ps(exponent))
        }
    }
    #[inline(always)]
    fn load4(self, rows: &Rows, at: usize) -> [__m128; 4] {
        // SAFETY: `Rows::quad` checks the bounds; `self` proves the instructions.
        unsafe {
            transpose4_sse2([
                _mm_loadu_ps(rows.quad(0, at)),
                _mm_loadu_ps(rows.quad(1, at)),
                _mm_loadu_ps(rows.quad(2, at)),
                _mm_loadu_ps(rows.quad(3, at)),
            ])
        }
    }
    #[inline(always)]
    fn store4(self, rows: &mut RowsMut, at: usize, values: [__m128; 4]) {
        // SAFETY: `quad` checks the bounds; `self` proves the instructions.
        unsafe {
            let v = transpose4_sse2(values);
            for j in 0..4 {
                if let Some(p) = rows.quad(j, at) {
                    _mm_storeu_ps(p, v[j]);
                }
            }
        }
    }
}

// SAFETY: as many lanes as the register has.
unsafe impl Simd for Avx2 {
    type Double = Double<Self>;
    const LANES: usize = 8;
    const FUSED: bool = true;

    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the machine has the features.
        unsafe { avx2(kernel) }
    }
    more!(__m256, _mm256_div_ps, _mm256_max_ps, _mm256_sqrt_ps);

    #[inline(always)]
    fn widen(self, x: __m256) -> [__m256d; 2] {
        // SAFETY: `self` proves that the machine has the instructions.
        unsafe {
            let (low, high) = (_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            [_mm256_cvtps_pd(low), _mm256_cvtps_pd(high)]
        }
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [__m256d; 2]) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low)) }
    }
    #[inline(always)]
    fn select_lt(self, a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
        // SAFETY: `self` proves that the machine has the instructions.
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn split_exponent(self, x: __m256) -> (__m256, __m256) {
        // SAFETY: as above.
        unsafe {
            let bits = _mm256_castps_si256(x);
            let one = _mm256_set1_epi32(0x3f80_0000);
            let low = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
            (_mm256_castsi256_ps(_mm256_or_si256(low, one)), _mm256_cvtepi32_ps(exponent))
        }
    }
    #[inline(always)]
    fn load4(self, rows: &Rows, at: usize) -> [__m256; 4] {
        // SAFETY: `Rows::quad` checks the bounds; `self` proves the instructions.
        unsafe {
            transpose4_avx2([
                half_pair(rows, 0, at),
                half_pair(rows, 1, at),
                half_pair(rows, 2, at),
                half_pair(rows, 3, at),
            ])
        }
    }
    #[inline(always)]
    fn store4(self, rows: &mut RowsMut, at: usize, values: [__m256; 4]) {
        // SAFETY: `quad` checks the bounds; `self` proves the instructions.
        unsafe {
            let v = transpose4_avx2(values);
            for j in 0..4 {
                if let Some(p) = rows.quad(j, at) {
                    _mm_storeu_ps(p, _mm256_castps256_ps128(v[j]));
                }
                if let Some(p) = rows.quad(j + 4, at) {
                    _mm_storeu_ps(p, _mm256_extractf128_ps::<1>(v[j]));
                }
            }
        }
    }
}

// SAFETY: as many lanes as the register has.
unsafe impl Simd for Avx512 {
    type Double = Double<Self>;
    const LANES: usize = 16;
    const FUSED: bool = true;

    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the machine has the features.
        unsafe { avx512(kernel) }
    }
    more!(__m512, _mm512_div_ps, _mm512_max_ps, _mm512_sqrt_ps);

    #[inline(always)]
    fn widen(self, x: __m512) -> [__m512d; 2] {
        // SAFETY: `self` proves that the machine has the instructions.
        unsafe {
            let (low, high) = (_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            [_mm512_cvtps_pd(low), _mm512_cvtps_pd(high)]
        }
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [__m512d; 2]) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let low = _mm512_castps256_ps512(_mm512_cvtpd_ps(low));
            _mm512_insertf32x8::<1>(low, _mm512_cvtpd_ps(high))
        }
    }
    #[inline(always)]
    fn select_lt(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: `self` proves that the machine has the instructions.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn split_exponent(self, x: __m512) -> (__m512, __m512) {
        // SAFETY: as above.
        unsafe {
            let bits = _mm512_castps_si512(x);
            let one = _mm512_set1_epi32(0x3f80_0000);
            let low = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
            let exponent = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), _mm512_set1_epi32(127));
            (_mm512_castsi512_ps(_mm512_or_si512(low, one)), _mm512_cvtepi32_ps(exponent))
        }
    }
    #[inline(always)]
    fn load4(self, rows: &Rows, at: usize) -> [__m512; 4] {
        // SAFETY: `Rows::quad` checks the bounds; `self` proves the instructions.
        unsafe {
            transpose4_avx512([
                quarters(rows, 0, at),
                quarters(rows, 1, at),
                quarters(rows, 2, at),
                quarters(rows, 3, at),
            ])
        }
    }
    #[inline(always)]
    fn store4(self, rows: &mut RowsMut, at: usize, values: [__m512; 4]) {
        // SAFETY: `quad` checks the bounds; `self` proves the instructions.
        unsafe {
            let v = transpose4_avx512(values);
            for j in 0..4 {
                let quarters = [
                    _mm512_castps512_ps128(v[j]),
                    _mm512_extractf32x4_ps::<1>(v[j]),
                    _mm512_extractf32x4_ps::<2>(v[j]),
                    _mm512_extractf32x4_ps::<3>(v[j]),
                ];
                for i in 0..4 {
                    if let Some(p) = rows.quad(4 * i + j, at) {
                        _mm_storeu_ps(p, quarters[i]);
                    }
                }
            }
        }
    }
}
