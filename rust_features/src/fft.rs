//! The windowed real Fourier transform of many frames at once, one frame a lane.

pub mod codelet;
mod lanes;

use std::sync::Arc;

use realfft::num_complex::Complex64;
use realfft::{RealFftPlanner, RealToComplex};

use self::lanes::{F32, F64, LaneFft, LaneScratch};
use crate::simd::{Block, Rows, Simd};
use crate::spec::Precision;

/// What becomes of a bin X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// |X|², one vector a bin.
    Power,
    /// Real and imaginary part, two vectors a bin.
    Complex,
}

/// The windowed transform of `n` points. The window may be shorter: the rest is zeros.
pub enum Fft {
    /// Sizes with small factors: one frame a lane.
    Lanes(LaneFft, Precision),
    /// All others: one frame after another in float64, by realfft.
    FrameByFrame(FrameFft),
}

/// A transform of any size, in float64.
pub struct FrameFft {
    window: Vec<f64>,
    n_bins: usize,
    plan: Arc<dyn RealToComplex<f64>>,
}

/// Buffers of one worker.
pub enum FftScratch {
    /// For the sizes on lanes.
    Lanes(LaneScratch),
    /// For all others.
    FrameByFrame(FrameScratch),
}

/// Buffers for [`FrameFft`].
pub struct FrameScratch {
    points: Vec<f64>,
    bins: Vec<Complex64>,
    /// What realfft asks for.
    inner: Vec<Complex64>,
}

impl Fft {
    /// Plans the transform.
    pub fn new(n: usize, window: &[f64], precision: Precision) -> Self {
        if let Some(fft) = LaneFft::new(n, window) {
            return Self::Lanes(fft, precision);
        }
        let plan = RealFftPlanner::new().plan_fft_forward(n);
        Self::FrameByFrame(FrameFft { window: window.to_vec(), n_bins: n / 2 + 1, plan })
    }

    /// Rows and columns of the matrix of bins.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Lanes(fft, _) => fft.shape(),
            Self::FrameByFrame(fft) => (1, fft.n_bins),
        }
    }

    /// Where bin `k` lies in the matrix, counted row by row. Cells without a bin stay untouched.
    pub fn position(&self, k: usize) -> usize {
        match self {
            Self::Lanes(fft, _) => fft.position(k),
            Self::FrameByFrame(_) => k,
        }
    }

    /// Buffers for [`Fft::run`].
    pub fn scratch(&self) -> FftScratch {
        match self {
            Self::Lanes(fft, _) => FftScratch::Lanes(fft.scratch()),
            Self::FrameByFrame(FrameFft { plan, .. }) => FftScratch::FrameByFrame(FrameScratch {
                points: plan.make_input_vec(),
                bins: plan.make_output_vec(),
                inner: plan.make_scratch_vec(),
            }),
        }
    }

    /// Transforms one frame a lane. `out` is the matrix of bins, see [`Fft::position`].
    pub fn run<S: Simd>(
        &self,
        s: S,
        frames: &Rows,
        scratch: &mut FftScratch,
        output: Output,
        out: &mut [Block],
    ) {
        match (self, scratch) {
            (Self::Lanes(fft, Precision::Single), FftScratch::Lanes(scratch)) => {
                fft.run::<F32, S>(s, frames, scratch, output, out);
            }
            (Self::Lanes(fft, Precision::Double), FftScratch::Lanes(scratch)) => {
                fft.run::<F64, S>(s, frames, scratch, output, out);
            }
            (Self::FrameByFrame(fft), FftScratch::FrameByFrame(scratch)) => {
                let out = s.floats_mut(s.cast_mut(out));
                for lane in 0..S::LANES.min(frames.n_rows()) {
                    let bins = fft.run(frames.row(lane), scratch);
                    for (k, bin) in bins.iter().enumerate() {
                        match output {
                            Output::Power => out[k * S::LANES + lane] = bin.norm_sqr() as f32,
                            Output::Complex => {
                                out[2 * k * S::LANES + lane] = bin.re as f32;
                                out[(2 * k + 1) * S::LANES + lane] = bin.im as f32;
                            }
                        }
                    }
                }
            }
            _ => unreachable!("scratch of another transform"),
        }
    }
}

impl FrameFft {
    fn run<'a>(&self, frame: &[f32], scratch: &'a mut FrameScratch) -> &'a [Complex64] {
        let FrameScratch { points, bins, inner } = scratch;
        let (head, tail) = points.split_at_mut(self.window.len());
        for ((p, &x), w) in head.iter_mut().zip(frame).zip(&self.window) {
            *p = f64::from(x) * w;
        }
        tail.fill(0.0);
        self.plan
            .process_with_scratch(points, bins, inner)
            .expect("buffers of the plan's own sizes");
        bins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel, MAX_LANES};
    use std::f64::consts::TAU;

    struct TransformFrame<'a> {
        fft: &'a Fft,
        n: usize,
        frame: &'a [f32],
    }

    impl Kernel for TransformFrame<'_> {
        type Output = Vec<[f32; 2]>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<[f32; 2]> {
            let (rows, stride) = self.fft.shape();
            let mut buffer = Block::zeros(2 * rows * stride, S::LANES);
            let frames = Rows::new(self.frame, &[0; MAX_LANES], self.frame.len());
            let scratch = &mut self.fft.scratch();
            self.fft.run(s, &frames, scratch, Output::Complex, &mut buffer);
            let cells = s.cast(&buffer).as_chunks::<2>().0;
            let bins = 0..=self.n / 2;
            bins.map(|k| {
                let [re, im] = cells[self.fft.position(k)];
                let (re, im) = ([re], [im]);
                let (re, im) = (s.floats(&re), s.floats(&im));
                // Every lane holds the same frame.
                assert!(re.iter().all(|x| x.to_bits() == re[0].to_bits()));
                assert!(im.iter().all(|x| x.to_bits() == im[0].to_bits()));
                [re[0], im[0]]
            })
            .collect()
        }
    }

    #[test]
    fn equals_the_definition_in_float64() {
        let on_lanes = [
            64, 96, 120, 128, 160, 192, 200, 240, 256, 320, 384, 400, 480, 512, 640, 768, 800, 960,
            1024, 1280, 1536, 1600, 2048, 4096,
        ];
        for n in on_lanes.into_iter().chain([1, 2, 3, 7, 15, 32, 401, 1000, 2050]) {
            // A window shorter than the transform, so that the zeros beyond it count too.
            let span = n - n / 5;
            let window: Vec<f64> = (0..span).map(|i| 1.0 - i as f64 / n as f64).collect();
            let mut x: Vec<f32> =
                (0..span).map(|i| ((i * i * 7 + i * 13) % 1009) as f32 / 504.5 - 1.0).collect();
            x.extend([9e9; 4]);
            let expected: Vec<[f64; 2]> = (0..=n / 2)
                .map(|k| {
                    (0..span).fold([0.0, 0.0], |[re, im], i| {
                        let angle = -TAU * ((i * k) % n) as f64 / n as f64;
                        let v = f64::from(x[i]) * window[i];
                        [re + v * angle.cos(), im + v * angle.sin()]
                    })
                })
                .collect();
            let peak = expected.iter().map(|[re, im]| re.hypot(*im)).fold(0.0, f64::max);
            for (precision, of_peak) in [(Precision::Single, 1e-6), (Precision::Double, 1e-12)] {
                let fft = Fft::new(n, &window, precision);
                assert_eq!(matches!(fft, Fft::Lanes(..)), on_lanes.contains(&n), "{n}");
                for isa in Isa::available() {
                    let got = isa.dispatch(TransformFrame { fft: &fft, n, frame: &x });
                    for (k, (got, want)) in got.iter().zip(&expected).enumerate() {
                        for (got, want) in got.iter().zip(want) {
                            // Double precision errs when the result is rounded, and there only.
                            let error = (f64::from(*got) - want).abs();
                            let bound = of_peak * peak + f64::from(f32::EPSILON) / 2.0 * want.abs();
                            assert!(error <= bound, "n {n} {isa:?} bin {k}: {got} {want}");
                        }
                    }
                }
            }
        }
    }
}
