//! The real Fourier transform of many frames at once, one frame a lane.

use std::sync::Arc;

use rustfft::FftPlanner;
use rustfft::num_complex::Complex32;

use crate::simd::{Rows, Simd};

/// What becomes of bin k = re + i·im.
pub trait Sink<S: Simd> {
    /// Takes bin `k`; a bin may come twice, with equal value.
    fn put(&mut self, s: S, k: usize, re: S::V, im: S::V);
}

/// `out[k] = |X[k]|²`
pub struct Power<'a, V>(pub &'a mut [V]);
/// `out[k] = |X[k]|`
pub struct Magnitude<'a, V>(pub &'a mut [V]);
/// `out[2k], out[2k + 1] = X[k]`
pub struct Complex<'a, V>(pub &'a mut [V]);

impl<S: Simd> Sink<S> for Power<'_, S::V> {
    #[inline(always)]
    fn put(&mut self, s: S, k: usize, re: S::V, im: S::V) {
        self.0[k] = s.mul_add(re, re, s.mul(im, im));
    }
}

impl<S: Simd> Sink<S> for Magnitude<'_, S::V> {
    #[inline(always)]
    fn put(&mut self, s: S, k: usize, re: S::V, im: S::V) {
        self.0[k] = s.sqrt(s.mul_add(re, re, s.mul(im, im)));
    }
}

impl<S: Simd> Sink<S> for Complex<'_, S::V> {
    #[inline(always)]
    fn put(&mut self, _: S, k: usize, re: S::V, im: S::V) {
        self.0[2 * k] = re;
        self.0[2 * k + 1] = im;
    }
}

/// The windowed transform of `n` points. The window may be shorter: the rest is zeros.
pub struct Fft {
    n: usize,
    window: Vec<f32>,
    any_size: Arc<dyn rustfft::Fft<f32>>,
}

/// Buffers of one worker.
pub struct FftScratch {
    points: Vec<Complex32>,
    inner: Vec<Complex32>,
    bins: Vec<[f32; 2]>,
}

impl Fft {
    /// Plans the transform.
    pub fn new(n: usize, window: &[f64]) -> Self {
        let window = window.iter().map(|&w| w as f32).collect();
        Self { n, window, any_size: FftPlanner::new().plan_fft_forward(n) }
    }

    /// Buffers for [`Fft::run`].
    pub fn scratch(&self) -> FftScratch {
        let zero = Complex32::new(0.0, 0.0);
        FftScratch {
            points: vec![zero; self.n],
            inner: vec![zero; self.any_size.get_inplace_scratch_len()],
            bins: vec![[0.0; 2]; (self.n / 2 + 1) * crate::simd::MAX_LANES],
        }
    }

    /// Transforms one frame a lane.
    #[inline(always)]
    pub fn run<S: Simd>(
        &self,
        s: S,
        frames: &Rows,
        scratch: &mut FftScratch,
        sink: &mut impl Sink<S>,
    ) {
        let n_bins = self.n / 2 + 1;
        for lane in 0..S::LANES {
            let (head, tail) = scratch.points.split_at_mut(self.window.len());
            for ((p, x), w) in head.iter_mut().zip(frames.row(lane)).zip(&self.window) {
                *p = Complex32::new(x * w, 0.0);
            }
            tail.fill(Complex32::new(0.0, 0.0));
            self.any_size.process_with_scratch(&mut scratch.points, &mut scratch.inner);
            for (k, p) in scratch.points[..n_bins].iter().enumerate() {
                scratch.bins[k * S::LANES + lane] = [p.re, p.im];
            }
        }
        for (k, bin) in scratch.bins.chunks_exact(S::LANES).take(n_bins).enumerate() {
            let (mut re, mut im) = ([s.splat(0.0)], [s.splat(0.0)]);
            for (lane, [a, b]) in bin.iter().enumerate() {
                s.floats_mut(&mut re)[lane] = *a;
                s.floats_mut(&mut im)[lane] = *b;
            }
            sink.put(s, k, re[0], im[0]);
        }
    }
}
