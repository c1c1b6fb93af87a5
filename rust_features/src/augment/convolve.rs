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

use realfft::RealFftPlanner;

use crate::fft::{Fft, FftScratch, Output};
use crate::simd::{Block, Isa, Kernel, MAX_LANES, Rows, RowsMut, Simd};
use crate::spec::Precision;

/// Sizes of the transform, all of which have a plan on lanes.
const SIZES: [usize; 4] = [512, 1024, 2048, 4096];

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

/// The spectra of the parts of an impulse response: [bin][part], real and imaginary part.
pub(super) struct Response {
    bins: Vec<[f32; 2]>,
    n_parts: usize,
}

/// Buffers of one worker.
pub(super) struct ConvolveScratch {
    fft: FftScratch,
    spectrum: Vec<Block>,
    /// The clip, with a block of silence before and after it.
    input: Vec<f32>,
    /// The spectra of all blocks, after those of the silence before them: [bin][re, im][block].
    blocks: Vec<f32>,
    /// [lane][2 · hop], with room for four floats behind.
    back: Vec<f32>,
    out: Vec<f32>,
}

impl Convolver {
    pub fn new(isa: Isa, clip_len: usize, response_len: usize) -> Self {
        let lanes = isa.lanes();
        let cost = |n: &usize| {
            let hop = n / 2;
            let blocks = clip_len.div_ceil(hop).next_multiple_of(lanes) as f64;
            let parts = response_len.div_ceil(hop) as f64;
            blocks * (5.0 * *n as f64 * (*n as f64).log2() + 8.0 * hop as f64 * parts)
        };
        let n = SIZES.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("four sizes");
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
        let mut bins = vec![[0.0; 2]; self.positions.len() * n_parts];
        for (part, impulse) in impulse.chunks(self.hop).enumerate() {
            points.fill(0.0);
            for (to, from) in points.iter_mut().zip(impulse) {
                *to = from / n as f64;
            }
            plan.process(&mut points, &mut spectrum).expect("buffers of the plan's own sizes");
            for (k, bin) in spectrum.iter().enumerate() {
                bins[k * n_parts + part] = [bin.re as f32, bin.im as f32];
            }
        }
        Response { bins, n_parts }
    }

    pub fn scratch(&self) -> ConvolveScratch {
        let (n, blocks) = (2 * self.hop, self.n_blocks.next_multiple_of(self.isa.lanes()));
        ConvolveScratch {
            fft: self.fft.scratch(),
            spectrum: Block::zeros(2 * self.spectrum_len, MAX_LANES),
            input: vec![0.0; (blocks + 1) * self.hop],
            blocks: vec![0.0; self.positions.len() * 2 * (self.n_blocks + blocks)],
            back: vec![0.0; MAX_LANES * (n + 4)],
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
        let n_blocks = plan.n_blocks.next_multiple_of(S::LANES);
        let parts = response.n_parts;
        // The silence before the clip, as blocks of zeros; never overwritten.
        let past = plan.n_blocks;
        let stride = past + n_blocks;
        for first in (0..n_blocks).step_by(S::LANES) {
            plan.forwards(s, first, past + first, stride, scratch);
        }
        let n = 2 * plan.hop;
        for first in (0..n_blocks).step_by(S::LANES) {
            let back = &mut RowsMut::new(&mut scratch.back[..S::LANES * (n + 4)], n + 4);
            for k in (0..plan.hop).step_by(4) {
                let mut sums = [[s.splat(0.0); 4]; 2];
                for i in 0..4 {
                    let bins = &response.bins[(k + i) * parts..][..parts];
                    let x = &scratch.blocks[2 * (k + i) * stride..][..2 * stride];
                    let [re, im] = multiply(s, x, past + first, bins);
                    sums[0][i] = s.sub(re, im);
                    sums[1][3 - i] = s.add(re, im);
                }
                s.store4(back, k, sums[0]);
                // For k = 0 the last of them falls into the room behind the row.
                s.store4(back, n - k - 3, sums[1]);
            }
            let bins = &response.bins[plan.hop * parts..][..parts];
            let x = &scratch.blocks[2 * plan.hop * stride..][..2 * stride];
            let highest = [multiply(s, x, past + first, bins)[0]];
            for (lane, &value) in s.floats(&highest).iter().enumerate() {
                back.row(lane)[plan.hop] = value;
            }
            plan.backwards(s, first, scratch);
        }
    }
}

/// One bin of LANES blocks from `at` on: the sum over the parts of the response of its bin times that of
/// as many blocks before.
#[inline(always)]
fn multiply<S: Simd>(s: S, x: &[f32], at: usize, bins: &[[f32; 2]]) -> [S::V; 2] {
    let (x_re, x_im) = x.split_at(x.len() / 2);
    let (mut re, mut im) = (s.splat(0.0), s.splat(0.0));
    for (part, &[h_re, h_im]) in bins.iter().enumerate() {
        let (x_re, x_im) = (s.load(&x_re[at - part..]), s.load(&x_im[at - part..]));
        let (h_re, h_im) = (s.splat(h_re), s.splat(h_im));
        re = s.neg_mul_add(x_im, h_im, s.mul_add(x_re, h_re, re));
        im = s.mul_add(x_im, h_re, s.mul_add(x_re, h_im, im));
    }
    [re, im]
}

impl Convolver {
    /// Transforms LANES blocks from `first` on; their bins go to column `at` of the matrix of blocks.
    #[inline(always)]
    fn forwards<S: Simd>(
        &self,
        s: S,
        first: usize,
        at: usize,
        stride: usize,
        scratch: &mut ConvolveScratch,
    ) {
        let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| (first + lane) * self.hop);
        let rows = Rows::new(&scratch.input, &starts[..S::LANES], 2 * self.hop);
        self.fft.run(s, &rows, &mut scratch.fft, Output::Complex, &mut scratch.spectrum);
        let cells = s.cast(&scratch.spectrum).as_chunks::<2>().0;
        for (k, &position) in self.positions.iter().enumerate() {
            let [re, im] = cells[position];
            s.store(&mut scratch.blocks[2 * k * stride + at..], re);
            s.store(&mut scratch.blocks[(2 * k + 1) * stride + at..], im);
        }
    }

    /// Transforms LANES blocks back.
    #[inline(always)]
    fn backwards<S: Simd>(&self, s: S, first: usize, scratch: &mut ConvolveScratch) {
        let n = 2 * self.hop;
        let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| lane * (n + 4));
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
