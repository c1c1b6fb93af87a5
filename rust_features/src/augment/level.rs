//! Power, peak and sums of clips, the same to the last bit for every instruction set: lanes are a fixed
//! number, and no multiplication is fused with an addition.

// Index loops: an iterator or closure that the compiler leaves as a call of its own is compiled
// without the instruction set of its caller.
#![allow(clippy::needless_range_loop)]

use crate::simd::{Isa, Kernel, Simd};

const LANES: usize = 16;
/// Samples whose squares are added in float32, before they go to the sum in float64.
const RUN: usize = 64 * LANES;

/// Mean square; 0 for no samples.
pub(super) fn power(isa: Isa, x: &[f32]) -> f64 {
    if x.is_empty() { 0.0 } else { isa.dispatch(Squares(x)) / x.len() as f64 }
}

/// Greatest absolute value.
pub(super) fn peak(isa: Isa, x: &[f32]) -> f32 {
    isa.dispatch(Peak(x))
}

/// x ← `x_gain` · x + `y_gain` · y.
pub(super) fn blend(isa: Isa, x: &mut [f32], x_gain: f32, y: &[f32], y_gain: f32) {
    isa.dispatch(Blend { x, x_gain, y, y_gain });
}

/// x ← `gain` · x.
pub(super) fn scale(x: &mut [f32], gain: f32) {
    x.iter_mut().for_each(|x| *x *= gain);
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let mut total = 0.0;
        for run in self.0.chunks(RUN) {
            let (blocks, rest) = run.as_chunks::<LANES>();
            let mut sums = [0.0f32; LANES];
            for block in blocks {
                for i in 0..LANES {
                    sums[i] += block[i] * block[i];
                }
            }
            for i in 0..rest.len() {
                sums[i] += rest[i] * rest[i];
            }
            for sum in sums {
                total += f64::from(sum);
            }
        }
        total
    }
}

struct Peak<'a>(&'a [f32]);

impl Kernel for Peak<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f32 {
        let (blocks, rest) = self.0.as_chunks::<LANES>();
        let mut greatest = [0.0f32; LANES];
        for block in blocks {
            for i in 0..LANES {
                greatest[i] =
                    if block[i].abs() > greatest[i] { block[i].abs() } else { greatest[i] };
            }
        }
        for i in 0..rest.len() {
            greatest[i] = greatest[i].max(rest[i].abs());
        }
        let mut peak = 0.0f32;
        for value in greatest {
            peak = peak.max(value);
        }
        peak
    }
}

struct Blend<'a> {
    x: &'a mut [f32],
    x_gain: f32,
    y: &'a [f32],
    y_gain: f32,
}

impl Kernel for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { x, x_gain, y, y_gain } = self;
        let y = &y[..x.len()];
        for i in 0..x.len() {
            x[i] = x_gain * x[i] + y_gain * y[i];
        }
    }
}
