//! The windowed real Fourier transform of many frames at once, one frame a lane.

mod codelet;
mod lanes;

use std::sync::Arc;

use rustfft::FftPlanner;
use rustfft::num_complex::Complex32;

use self::lanes::{LaneFft, LaneScratch};
use crate::simd::{Block, MAX_LANES, Rows, Simd};

/// What becomes of a bin X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// |X|², one vector a bin.
    Power,
    /// Real and imaginary part, two vectors a bin.
    Complex,
}

/// The windowed transform of `n` points. The window may be shorter: the rest is zeros.
pub struct Fft {
    n: usize,
    window: Vec<f32>,
    way: Way,
}

enum Way {
    /// Sizes with small factors: one frame a lane.
    Lanes(LaneFft),
    /// All others: one frame after another, by rustfft.
    AnySize(Arc<dyn rustfft::Fft<f32>>),
}

/// Buffers of one worker.
pub enum FftScratch {
    /// For the sizes on lanes.
    Lanes(LaneScratch),
    /// For all others.
    AnySize {
        /// The frame, then its transform.
        points: Vec<Complex32>,
        /// What rustfft asks for.
        inner: Vec<Complex32>,
        /// `[bin][lane]`: real and imaginary part.
        bins: Vec<[f32; 2]>,
    },
}

impl Fft {
    /// Plans the transform.
    pub fn new(n: usize, window: &[f64]) -> Self {
        let window: Vec<f32> = window.iter().map(|&w| w as f32).collect();
        let way = LaneFft::new(n, &window)
            .map_or_else(|| Way::AnySize(FftPlanner::new().plan_fft_forward(n)), Way::Lanes);
        Self { n, window, way }
    }

    /// Rows and columns of the matrix of bins.
    pub fn shape(&self) -> (usize, usize) {
        match &self.way {
            Way::Lanes(fft) => fft.shape(),
            Way::AnySize(_) => (1, self.n / 2 + 1),
        }
    }

    /// Where bin `k` lies in the matrix, counted row by row. Cells without a bin stay untouched.
    pub fn position(&self, k: usize) -> usize {
        match &self.way {
            Way::Lanes(fft) => fft.position(k),
            Way::AnySize(_) => k,
        }
    }

    /// Buffers for [`Fft::run`].
    pub fn scratch(&self) -> FftScratch {
        match &self.way {
            Way::Lanes(fft) => FftScratch::Lanes(fft.scratch()),
            Way::AnySize(fft) => {
                let zero = Complex32::new(0.0, 0.0);
                FftScratch::AnySize {
                    points: vec![zero; self.n],
                    inner: vec![zero; fft.get_inplace_scratch_len()],
                    bins: vec![[0.0; 2]; (self.n / 2 + 1) * MAX_LANES],
                }
            }
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
        match (&self.way, scratch) {
            (Way::Lanes(fft), FftScratch::Lanes(scratch)) => {
                fft.run(s, frames, scratch, output, out);
            }
            (Way::AnySize(fft), FftScratch::AnySize { points, inner, bins }) => {
                self.one_by_one::<S>(fft.as_ref(), frames, points, inner, bins);
                let out = s.floats_mut(s.cast_mut(out));
                for (i, &[re, im]) in bins[..(self.n / 2 + 1) * S::LANES].iter().enumerate() {
                    let (k, lane) = (i / S::LANES, i % S::LANES);
                    match output {
                        Output::Power => out[i] = re * re + im * im,
                        Output::Complex => {
                            out[2 * k * S::LANES + lane] = re;
                            out[(2 * k + 1) * S::LANES + lane] = im;
                        }
                    }
                }
            }
            _ => unreachable!("scratch of another transform"),
        }
    }

    fn one_by_one<S: Simd>(
        &self,
        fft: &dyn rustfft::Fft<f32>,
        frames: &Rows,
        points: &mut [Complex32],
        inner: &mut [Complex32],
        bins: &mut [[f32; 2]],
    ) {
        for lane in 0..S::LANES.min(frames.n_rows()) {
            let (head, tail) = points.split_at_mut(self.window.len());
            for ((p, x), w) in head.iter_mut().zip(frames.row(lane)).zip(&self.window) {
                *p = Complex32::new(x * w, 0.0);
            }
            tail.fill(Complex32::new(0.0, 0.0));
            fft.process_with_scratch(points, inner);
            for (k, p) in points[..=self.n / 2].iter().enumerate() {
                bins[k * S::LANES + lane] = [p.re, p.im];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel};
    use std::f64::consts::TAU;

    struct Spectrum<'a> {
        fft: &'a Fft,
        frame: &'a [f32],
    }

    impl Kernel for Spectrum<'_> {
        type Output = Vec<[f32; 2]>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<[f32; 2]> {
            let (rows, stride) = self.fft.shape();
            let mut buffer = Block::zeros(2 * rows * stride, S::LANES);
            let frames = Rows::new(self.frame, &[0; MAX_LANES], self.frame.len());
            let scratch = &mut self.fft.scratch();
            self.fft.run(s, &frames, scratch, Output::Complex, &mut buffer);
            let cells = s.cast(&buffer).as_chunks::<2>().0;
            let bins = 0..=self.fft.n / 2;
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
        for n in on_lanes.into_iter().chain([2, 3, 7, 15, 32, 401, 1000, 2050]) {
            // A window shorter than the transform, so that the zeros beyond it count too.
            let span = n - n / 5;
            let window: Vec<f64> = (0..span).map(|i| 1.0 - i as f64 / n as f64).collect();
            let fft = Fft::new(n, &window);
            assert_eq!(matches!(fft.way, Way::Lanes(_)), on_lanes.contains(&n), "{n}");
            let mut x: Vec<f32> =
                (0..span).map(|i| ((i * i * 7 + i * 13) % 1009) as f32 / 504.5 - 1.0).collect();
            x.extend([9e9; 4]);
            let expected: Vec<[f64; 2]> = (0..=n / 2)
                .map(|k| {
                    (0..span).fold([0.0, 0.0], |[re, im], i| {
                        let angle = -TAU * ((i * k) % n) as f64 / n as f64;
                        let v = f64::from(x[i]) * f64::from(window[i] as f32);
                        [re + v * angle.cos(), im + v * angle.sin()]
                    })
                })
                .collect();
            let peak = expected.iter().map(|[re, im]| re.hypot(*im)).fold(0.0, f64::max);
            for isa in Isa::available() {
                let got = isa.dispatch(Spectrum { fft: &fft, frame: &x });
                for (k, (got, want)) in got.iter().zip(&expected).enumerate() {
                    let error = (f64::from(got[0]) - want[0]).hypot(f64::from(got[1]) - want[1]);
                    assert!(error < 1e-6 * peak, "n {n} {isa:?} bin {k}: {got:?} {want:?}");
                }
            }
        }
    }
}
