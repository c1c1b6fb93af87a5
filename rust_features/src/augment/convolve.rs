//! Convolution with long impulse responses by the engine's own Fourier transform, one block a lane.
//!
//! Uniformly partitioned overlap-save (Stockham 1966; Wefers 2015, "Partitioned convolution algorithms
//! for real-time auralization", ch. 5): blocks of 2 · hop samples that overlap by half are transformed,
//! all at once; those of successive blocks are multiplied by those of successive parts of the response
//! and added up; of the transform back the second half is kept.
//!
//! The engine transforms real numbers forwards only. The way back is the same transform of
//! h\[k\] = Re X\[k\] − Im X\[k\], k = 0..N (a discrete Hartley transform, Bracewell 1983): with F its
//! result, N · x\[n\] = Re F\[n\] − Im F\[n\] and N · x\[N − n\] = Re F\[n\] + Im F\[n\].

// Index loops: see simd/mod.rs.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use realfft::RealFftPlanner;

use crate::fft::{Fft, FftScratch, Output};
use crate::simd::{Block, Isa, Kernel, MAX_LANES, Rows, RowsMut, Simd};
use crate::spec::Precision;

/// Sizes of the transform, all of which have a plan on lanes.
const SIZES: [usize; 7] = [512, 640, 768, 1024, 1280, 1536, 2048];

/// Convolves clips of one length with responses of up to one length.
pub(super) struct Convolver {
    isa: Isa,
    fft: Fft,
    spectrum_len: usize,
    positions: Vec<usize>,
    hop: usize,
    n_blocks: usize,
    clip_len: usize,
}

/// The spectra of the parts of an impulse response: [part][re, im][bin].
pub(super) struct Response {
    bins: Vec<f32>,
    n_parts: usize,
}

/// Buffers of one worker.
pub(super) struct ConvolveScratch {
    fft: FftScratch,
    spectrum: Vec<Block>,
    /// The clip, with a block of silence before it and what fills the lanes behind it.
    input: Vec<f32>,
    /// The spectra of all blocks: [block][re, im][bin].
    blocks: Vec<f32>,
    /// h of LANES blocks: [lane][2 · hop], with room for a vector behind each.
    back: Vec<f32>,
    out: Vec<f32>,
}

impl Convolver {
    pub fn new(isa: Isa, clip_len: usize, response_len: usize) -> Self {
        let lanes = isa.lanes();
        let cost = |n: &usize| {
            let hop = n / 2;
            let (blocks, parts) = (clip_len.div_ceil(hop), response_len.div_ceil(hop));
            let transforms = blocks.next_multiple_of(lanes) * n * n.ilog2() as usize;
            2 * transforms + blocks * parts * hop
        };
        let n = SIZES.into_iter().min_by_key(cost).expect("some sizes");
        let fft = Fft::new(n, &vec![1.0; n], Precision::Single);
        let (rows, columns) = fft.shape();
        Self {
            isa,
            spectrum_len: rows * columns,
            positions: (0..=n / 2).map(|k| fft.position(k)).collect(),
            fft,
            hop: n / 2,
            n_blocks: clip_len.div_ceil(n / 2),
            clip_len,
        }
    }

    /// Transforms an impulse response; what lies behind the end of a clip is left out.
    pub fn response(&self, impulse: &[f64]) -> Response {
        let n = 2 * self.hop;
        let impulse = &impulse[..impulse.len().min(self.clip_len)];
        let n_parts = impulse.len().div_ceil(self.hop).max(1);
        let plan = RealFftPlanner::new().plan_fft_forward(n);
        let (mut points, mut spectrum) = (plan.make_input_vec(), plan.make_output_vec());
        let width = self.width();
        let mut bins = vec![0.0; 2 * width * n_parts];
        for (part, impulse) in impulse.chunks(self.hop).enumerate() {
            points.fill(0.0);
            for (to, from) in points.iter_mut().zip(impulse) {
                *to = from / n as f64;
            }
            plan.process(&mut points, &mut spectrum).expect("buffers of the plan's own sizes");
            let (re, im) = bins[2 * width * part..][..2 * width].split_at_mut(width);
            for (k, bin) in spectrum.iter().enumerate() {
                (re[k], im[k]) = (bin.re as f32, bin.im as f32);
            }
        }
        Response { bins, n_parts }
    }

    /// Floats of a row of bins: whole vectors; an odd number of cache lines, so that the same bin of
    /// several rows lies in different cache sets.
    fn width(&self) -> usize {
        self.hop + MAX_LANES
    }

    pub fn scratch(&self) -> ConvolveScratch {
        let (n, blocks) = (2 * self.hop, self.n_blocks.next_multiple_of(self.isa.lanes()));
        ConvolveScratch {
            fft: self.fft.scratch(),
            spectrum: Block::zeros(2 * self.spectrum_len, MAX_LANES),
            input: vec![0.0; (blocks + 1) * self.hop],
            blocks: vec![0.0; 2 * self.width() * blocks],
            back: vec![0.0; MAX_LANES * (n + MAX_LANES)],
            out: vec![0.0; blocks * self.hop],
        }
    }

    /// The first `clip_len` samples of `clip` ∗ `response`.
    pub fn run<'s>(
        &self,
        clip: &[f32],
        response: &Response,
        scratch: &'s mut ConvolveScratch,
    ) -> &'s [f32] {
        scratch.input[self.hop..][..self.clip_len].copy_from_slice(clip);
        self.isa.dispatch(Convolve { plan: self, response, scratch });
        &scratch.out[..self.clip_len]
    }
}

struct Convolve<'a> {
    plan: &'a Convolver,
    response: &'a Response,
    scratch: &'a mut ConvolveScratch,
}

impl Kernel for Convolve<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, response, scratch } = self;
        let firsts = (0..plan.n_blocks).step_by(S::LANES);
        for first in firsts.clone() {
            plan.forwards(s, first, scratch);
        }
        for first in firsts {
            let lanes = S::LANES.min(plan.n_blocks - first);
            for at in (0..plan.width()).step_by(S::LANES) {
                plan.multiply(s, response, first..first + lanes, at, scratch);
            }
            plan.backwards(s, first, scratch);
        }
    }
}

impl Convolver {
    /// Transforms LANES blocks from `first` on.
    #[inline(always)]
    fn forwards<S: Simd>(&self, s: S, first: usize, scratch: &mut ConvolveScratch) {
        let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| (first + lane) * self.hop);
        let rows = Rows::new(&scratch.input, &starts[..S::LANES], 2 * self.hop);
        self.fft.run(s, &rows, &mut scratch.fft, Output::Complex, &mut scratch.spectrum);
        let (cells, width) = (s.cast(&scratch.spectrum).as_chunks::<2>().0, self.width());
        let rows = &mut scratch.blocks[2 * width * first..][..2 * width * S::LANES];
        let rows = &mut RowsMut::new(rows, 2 * width);
        for k in (0..self.hop).step_by(4) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| cells[self.positions[k + i]]);
            s.store4(rows, k, [a[0], b[0], c[0], d[0]]);
            s.store4(rows, width + k, [a[1], b[1], c[1], d[1]]);
        }
        // The highest bin is real.
        let highest = [cells[self.positions[self.hop]][0]];
        for (lane, &value) in s.floats(&highest).iter().enumerate() {
            rows.row(lane)[self.hop] = value;
        }
    }

    /// Bins `at`.. of some blocks times those of the response, the product of a block and a part going
    /// to the block that is so many parts later; as h.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        s: S,
        response: &Response,
        blocks: Range<usize>,
        at: usize,
        scratch: &mut ConvolveScratch,
    ) {
        let (width, n) = (self.width(), 2 * self.hop);
        for (lane, block) in blocks.enumerate() {
            let (mut re, mut im) = (s.splat(0.0), s.splat(0.0));
            let parts = response.bins.chunks_exact(2 * width).take(response.n_parts);
            let past = scratch.blocks[..2 * width * (block + 1)].chunks_exact(2 * width).rev();
            for (h, x) in parts.zip(past) {
                let (h_re, h_im) = (s.load(&h[at..]), s.load(&h[width + at..]));
                let (x_re, x_im) = (s.load(&x[at..]), s.load(&x[width + at..]));
                re = s.neg_mul_add(x_im, h_im, s.mul_add(x_re, h_re, re));
                im = s.mul_add(x_im, h_re, s.mul_add(x_re, h_im, im));
            }
            let back = &mut scratch.back[lane * (n + MAX_LANES)..][..n + MAX_LANES];
            if at == self.hop {
                back[at] = s.floats(&[re])[0];
            } else if at < self.hop {
                s.store(&mut back[at..], s.sub(re, im));
                let (mirrored, mut reversed) = ([s.add(re, im)], [0.0; MAX_LANES]);
                for (i, &value) in s.floats(&mirrored).iter().enumerate() {
                    reversed[S::LANES - 1 - i] = value;
                }
                // Bin 0 has no mirror image: what stands for it falls behind the row.
                let end = n - at + 1;
                back[end - S::LANES..end].copy_from_slice(&reversed[..S::LANES]);
            }
        }
    }

    /// Transforms LANES blocks back.
    #[inline(always)]
    fn backwards<S: Simd>(&self, s: S, first: usize, scratch: &mut ConvolveScratch) {
        let n = 2 * self.hop;
        let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| lane * (n + MAX_LANES));
        let rows = Rows::new(&scratch.back, &starts[..S::LANES], n);
        self.fft.run(s, &rows, &mut scratch.fft, Output::Complex, &mut scratch.spectrum);
        let cells = s.cast(&scratch.spectrum).as_chunks::<2>().0;
        let out = &mut scratch.out[first * self.hop..][..S::LANES * self.hop];
        let out = &mut RowsMut::new(out, self.hop);
        for i in (0..self.hop).step_by(4) {
            let mut samples = [s.splat(0.0); 4];
            for j in 0..4 {
                let [re, im] = cells[self.positions[self.hop - i - j]];
                samples[j] = s.add(re, im);
            }
            s.store4(out, i, samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition() {
        let noise = |n: usize, a: usize| -> Vec<f64> {
            (0..n).map(|i| ((i * i * a + i * 13) % 1009) as f64 / 504.5 - 1.0).collect()
        };
        for (clip_len, response_len) in [(1, 1), (7, 100), (300, 300), (5000, 1300), (22050, 9000)]
        {
            let x: Vec<f32> = noise(clip_len, 7).iter().map(|&x| x as f32).collect();
            let mut h = noise(response_len, 11);
            h.iter_mut().enumerate().for_each(|(i, h)| *h *= (-4e-3 * i as f64).exp() / 10.0);
            let want: Vec<f64> = (0..clip_len)
                .map(|n| (0..=n.min(response_len - 1)).map(|i| h[i] * f64::from(x[n - i])).sum())
                .collect();
            for isa in Isa::available() {
                let plan = Convolver::new(isa, clip_len, response_len);
                let mut scratch = plan.scratch();
                // Twice: nothing of a clip may stay behind.
                plan.run(&vec![1.0; clip_len], &plan.response(&h), &mut scratch);
                let got = plan.run(&x, &plan.response(&h), &mut scratch);
                for (got, want) in got.iter().zip(&want) {
                    assert!(
                        (f64::from(*got) - want).abs() < 3e-6,
                        "{clip_len} {isa:?}: {got} {want}"
                    );
                }
            }
        }
    }
}
