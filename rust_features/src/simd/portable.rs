//! Plain Rust: what the others must equal, and what machines without them run.

use super::{Arithmetic, Kernel, Rows, RowsMut, Simd};

/// Four lanes of plain Rust.
#[derive(Clone, Copy)]
pub struct Portable;
/// The same in float64.
#[derive(Clone, Copy)]
pub struct PortableDouble;

#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct F32x4([f32; 4]);

#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct F64x4([f64; 4]);

#[inline(always)]
fn zip(a: F32x4, b: F32x4, f: impl Fn(f32, f32) -> f32) -> F32x4 {
    F32x4(std::array::from_fn(|i| f(a.0[i], b.0[i])))
}

macro_rules! arithmetic {
    ($S:ty, $scalar:ty, $V:ident) => {
        // SAFETY: arrays of four numbers, aligned to their size.
        unsafe impl Arithmetic for $S {
            type Scalar = $scalar;
            type V = $V;

            #[inline(always)]
            fn splat(self, x: $scalar) -> $V {
                $V([x; 4])
            }
            #[inline(always)]
            fn constant(self, x: f64) -> $V {
                self.splat(x as $scalar)
            }
            #[inline(always)]
            fn add(self, a: $V, b: $V) -> $V {
                $V(std::array::from_fn(|i| a.0[i] + b.0[i]))
            }
            #[inline(always)]
            fn sub(self, a: $V, b: $V) -> $V {
                $V(std::array::from_fn(|i| a.0[i] - b.0[i]))
            }
            #[inline(always)]
            fn mul(self, a: $V, b: $V) -> $V {
                $V(std::array::from_fn(|i| a.0[i] * b.0[i]))
            }
            #[inline(always)]
            fn mul_add(self, a: $V, b: $V, c: $V) -> $V {
                self.add(self.mul(a, b), c)
            }
            #[inline(always)]
            fn neg_mul_add(self, a: $V, b: $V, c: $V) -> $V {
                self.sub(c, self.mul(a, b))
            }
        }
    };
}
arithmetic!(Portable, f32, F32x4);
arithmetic!(PortableDouble, f64, F64x4);

// SAFETY: an array of four floats.
unsafe impl Simd for Portable {
    type Double = PortableDouble;
    const LANES: usize = 4;
    const FUSED: bool = false;

    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn double(self) -> PortableDouble {
        PortableDouble
    }
    #[inline(always)]
    fn widen(self, x: F32x4) -> F64x4 {
        F64x4(x.0.map(f64::from))
    }
    #[inline(always)]
    fn narrow(self, x: F64x4) -> F32x4 {
        F32x4(x.0.map(|x| x as f32))
    }
    #[inline(always)]
    fn div(self, a: F32x4, b: F32x4) -> F32x4 {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, a: F32x4, b: F32x4) -> F32x4 {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: F32x4) -> F32x4 {
        F32x4(a.0.map(f32::sqrt))
    }
    #[inline(always)]
    fn select_lt(self, a: F32x4, b: F32x4, x: F32x4, y: F32x4) -> F32x4 {
        F32x4(std::array::from_fn(|i| if a.0[i] < b.0[i] { x.0[i] } else { y.0[i] }))
    }
    #[inline(always)]
    fn split_exponent(self, x: F32x4) -> (F32x4, F32x4) {
        let mantissa = |x: f32| f32::from_bits(x.to_bits() & 0x007f_ffff | 0x3f80_0000);
        let exponent = |x: f32| (x.to_bits() >> 23) as f32 - 127.0;
        (F32x4(x.0.map(mantissa)), F32x4(x.0.map(exponent)))
    }
    #[inline(always)]
    fn load4(self, rows: &Rows, at: usize) -> [F32x4; 4] {
        std::array::from_fn(|s| F32x4(std::array::from_fn(|lane| rows.row(lane)[at + s])))
    }
    #[inline(always)]
    fn store4(self, rows: &mut RowsMut, at: usize, values: [F32x4; 4]) {
        for lane in 0..rows.n_rows().min(4) {
            for (s, v) in values.iter().enumerate() {
                rows.row(lane)[at + s] = v.0[lane];
            }
        }
    }
}
