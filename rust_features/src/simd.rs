//! The only unsafe code of the engine: vectors of float32 lanes, and the choice of instruction set.
//!
//! Kernels are `#[inline(always)]` functions generic over [`Simd`]; a kernel is entered through a
//! small function with `#[target_feature]`, into which everything is inlined, so the compiler emits
//! the instructions of that set. Which set is chosen once, when a plan is made.

/// One vector of `W` float32 lanes and its arithmetic, lane by lane.
///
/// The types are zero-sized tokens. [`Isa::detect`] hands out a set only where the processor has it.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Number of lanes.
    const W: usize;
    /// `W` lanes.
    type V: Copy + Send + Sync + 'static;

    /// All lanes `x`.
    fn splat(x: f32) -> Self::V;
    /// The `W` values of `from` at `at`; panics beyond the end.
    fn load(from: &[f32], at: usize) -> Self::V;
    /// The `W` values of `from` at `at`.
    ///
    /// # Safety
    /// `at + W` must not exceed the length of `from`.
    unsafe fn load_unchecked(from: &[f32], at: usize) -> Self::V;
    /// Writes the lanes to `to` at `at`; panics beyond the end.
    fn store(v: Self::V, to: &mut [f32], at: usize);
    /// `a + b`
    fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the set has fused arithmetic.
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c − a · b`, rounded once where the set has fused arithmetic.
    fn neg_mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of `a` and `b`.
    fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of `a` and `b`.
    fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `(exponent, mantissa)` with `x = mantissa · 2^exponent` and mantissa in [√½, √2), for a
    /// positive normal `x`.
    fn split_exponent(x: Self::V) -> (Self::V, Self::V);
}

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 16 lanes, AVX-512 F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 lanes, AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 4 lanes: what every processor of the architecture has (SSE2; NEON).
    Baseline,
}

impl Isa {
    /// The sets this processor has, the fastest first.
    pub fn available() -> Vec<Isa> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                sets.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Isa::Avx2);
            }
        }
        sets.push(Isa::Baseline);
        sets
    }

    /// As the user spells it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            Isa::Baseline => "baseline",
        }
    }

    /// Lanes of a vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 8,
            Isa::Baseline => 4,
        }
    }
}

/// Runs `$kernel::<S>(args…)` compiled for `$isa`, which must come from [`Isa::available`].
#[macro_export]
macro_rules! dispatch {
    ($isa:expr, $kernel:ident ( $($arg:ident : $ty:ty),* $(,)? )) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        fn avx512($($arg: $ty),*) { $kernel::<$crate::simd::Avx512>($($arg),*) }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2($($arg: $ty),*) { $kernel::<$crate::simd::Avx2>($($arg),*) }
        match $isa {
            // SAFETY: `Isa::available` lists a set only after the processor was asked for it.
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Isa::Avx512 => unsafe { avx512($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Isa::Avx2 => unsafe { avx2($($arg),*) },
            $crate::simd::Isa::Baseline => $kernel::<$crate::simd::Baseline>($($arg),*),
        }
    }};
}

/// Views a buffer as vectors. It must be aligned to 64 bytes and hold a whole number of them.
#[inline(always)]
pub fn as_vectors<S: Simd>(buffer: &mut [f32]) -> &mut [S::V] {
    // SAFETY: every `V` is `W` plain float32 without padding or invalid bit patterns, and
    // `align_to_mut` itself checks length and alignment.
    let (head, vectors, tail) = unsafe { buffer.align_to_mut::<S::V>() };
    assert!(head.is_empty() && tail.is_empty(), "buffer is not aligned to whole vectors");
    vectors
}

/// Zeroed float32 memory aligned to 64 bytes: a cache line, and the widest vector.
pub struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Aligned {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; 16]); len.div_ceil(16)], len }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 float32 without padding, and `len` is at most 16 times their number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Implements [`Simd`] with one intrinsic an operation.
#[cfg(target_arch = "x86_64")]
macro_rules! x86 {
    ($token:ident, $doc:literal, $v:ty, $w:literal, $set1:ident, $loadu:ident, $storeu:ident,
     $add:ident, $sub:ident, $mul:ident, $max:ident, $min:ident,
     |$a:ident, $b:ident, $c:ident| $fma:expr, $fnma:expr,
     |$x:ident| $split:expr) => {
        #[doc = $doc]
        #[derive(Clone, Copy)]
        pub struct $token;

        impl Simd for $token {
            const W: usize = $w;
            type V = $v;
            #[inline(always)]
            fn splat(x: f32) -> Self::V {
                // SAFETY: runs only where `Isa::available` found the set.
                unsafe { $set1(x) }
            }
            #[inline(always)]
            fn load(from: &[f32], at: usize) -> Self::V {
                let from = &from[at..at + $w];
                // SAFETY: as above; `from` holds `W` values and the load is unaligned.
                unsafe { $loadu(from.as_ptr()) }
            }
            #[inline(always)]
            unsafe fn load_unchecked(from: &[f32], at: usize) -> Self::V {
                debug_assert!(at + $w <= from.len());
                // SAFETY: the caller's promise; the load is unaligned.
                unsafe { $loadu(from.as_ptr().add(at)) }
            }
            #[inline(always)]
            fn store(v: Self::V, to: &mut [f32], at: usize) {
                let to = &mut to[at..at + $w];
                // SAFETY: as above; `to` holds `W` values and the store is unaligned.
                unsafe { $storeu(to.as_mut_ptr(), v) }
            }
            #[inline(always)]
            fn add(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn sub(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            fn mul(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn mul_add($a: Self::V, $b: Self::V, $c: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { $fma }
            }
            #[inline(always)]
            fn neg_mul_add($a: Self::V, $b: Self::V, $c: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { $fnma }
            }
            #[inline(always)]
            fn max(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            fn min(a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { $min(a, b) }
            }
            #[inline(always)]
            fn split_exponent($x: Self::V) -> (Self::V, Self::V) {
                // SAFETY: as above.
                unsafe { $split }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::Simd;
    use std::arch::x86_64::*;

    // The bits of √½; subtracting them before the shift puts the mantissa into [√½, √2).
    const SQRT_HALF: i32 = 0x3f35_04f3;

    x86!(
        Avx512,
        "16 lanes of AVX-512.",
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_max_ps,
        _mm512_min_ps,
        |a, b, c| _mm512_fmadd_ps(a, b, c),
        _mm512_fnmadd_ps(a, b, c),
        |x| {
            let bits = _mm512_castps_si512(x);
            let e = _mm512_srai_epi32::<23>(_mm512_sub_epi32(bits, _mm512_set1_epi32(SQRT_HALF)));
            let m = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(e));
            (_mm512_cvtepi32_ps(e), _mm512_castsi512_ps(m))
        }
    );

    x86!(
        Avx2,
        "8 lanes of AVX2 with FMA.",
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_max_ps,
        _mm256_min_ps,
        |a, b, c| _mm256_fmadd_ps(a, b, c),
        _mm256_fnmadd_ps(a, b, c),
        |x| {
            let bits = _mm256_castps_si256(x);
            let e = _mm256_srai_epi32::<23>(_mm256_sub_epi32(bits, _mm256_set1_epi32(SQRT_HALF)));
            let m = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(e));
            (_mm256_cvtepi32_ps(e), _mm256_castsi256_ps(m))
        }
    );

    x86!(
        Baseline,
        "4 lanes of SSE2, which every x86-64 processor has.",
        __m128,
        4,
        _mm_set1_ps,
        _mm_loadu_ps,
        _mm_storeu_ps,
        _mm_add_ps,
        _mm_sub_ps,
        _mm_mul_ps,
        _mm_max_ps,
        _mm_min_ps,
        |a, b, c| _mm_add_ps(_mm_mul_ps(a, b), c),
        _mm_sub_ps(c, _mm_mul_ps(a, b)),
        |x| {
            let bits = _mm_castps_si128(x);
            let e = _mm_srai_epi32::<23>(_mm_sub_epi32(bits, _mm_set1_epi32(SQRT_HALF)));
            let m = _mm_sub_epi32(bits, _mm_slli_epi32::<23>(e));
            (_mm_cvtepi32_ps(e), _mm_castsi128_ps(m))
        }
    );
}
#[cfg(target_arch = "x86_64")]
pub use x86_64::{Avx2, Avx512, Baseline};

/// Four lanes of plain Rust, which the compiler turns into NEON (or whatever the target has).
#[cfg(not(target_arch = "x86_64"))]
mod portable {
    use super::Simd;

    /// 4 lanes of the architecture's baseline (NEON on 64-bit Arm).
    #[derive(Clone, Copy)]
    pub struct Baseline;

    #[inline(always)]
    fn lanes(f: impl Fn(usize) -> f32) -> [f32; 4] {
        [f(0), f(1), f(2), f(3)]
    }

    impl Simd for Baseline {
        const W: usize = 4;
        type V = [f32; 4];
        #[inline(always)]
        fn splat(x: f32) -> [f32; 4] {
            [x; 4]
        }
        #[inline(always)]
        fn load(from: &[f32], at: usize) -> [f32; 4] {
            let from = &from[at..at + 4];
            lanes(|i| from[i])
        }
        #[inline(always)]
        unsafe fn load_unchecked(from: &[f32], at: usize) -> [f32; 4] {
            Self::load(from, at)
        }
        #[inline(always)]
        fn store(v: [f32; 4], to: &mut [f32], at: usize) {
            to[at..at + 4].copy_from_slice(&v);
        }
        #[inline(always)]
        fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
            lanes(|i| a[i] + b[i])
        }
        #[inline(always)]
        fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
            lanes(|i| a[i] - b[i])
        }
        #[inline(always)]
        fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
            lanes(|i| a[i] * b[i])
        }
        #[inline(always)]
        fn mul_add(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
            lanes(|i| a[i].mul_add(b[i], c[i]))
        }
        #[inline(always)]
        fn neg_mul_add(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
            lanes(|i| (-a[i]).mul_add(b[i], c[i]))
        }
        #[inline(always)]
        fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
            lanes(|i| if a[i] > b[i] { a[i] } else { b[i] })
        }
        #[inline(always)]
        fn min(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
            lanes(|i| if a[i] < b[i] { a[i] } else { b[i] })
        }
        #[inline(always)]
        fn split_exponent(x: [f32; 4]) -> ([f32; 4], [f32; 4]) {
            let e = x.map(|x| (x.to_bits() as i32 - 0x3f35_04f3) >> 23);
            let m = lanes(|i| f32::from_bits((x[i].to_bits() as i32 - (e[i] << 23)) as u32));
            (e.map(|e| e as f32), m)
        }
    }
}
#[cfg(not(target_arch = "x86_64"))]
pub use portable::Baseline;
