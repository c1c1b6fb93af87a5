//! Resampling by FFT, for rates with a small ratio from : to.
//!
//! Overlap-save: a block of `from · k` samples is transformed, multiplied by the filter's (real)
//! spectrum, cut or extended to the spectrum of `to · k` samples, and transformed back. Of the result
//! only what the block's edges cannot reach is kept, and the blocks overlap by the rest. Cutting the
//! spectrum is exact to the filter's stop band, for above it nothing is left.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::kernel::Kernel;

pub(super) struct BlockPlan {
    from: usize,
    to: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// The filter's spectrum, with the scale of both transforms.
    response: Vec<f32>,
    /// Input samples before the first one kept; a multiple of `from`.
    lead_in: usize,
    /// Output samples before the first one kept: the same time.
    lead_out: usize,
    /// Input samples from one block to the next; a multiple of `from`.
    hop_in: usize,
    /// Output samples kept of each block: the same time.
    hop_out: usize,
}

impl BlockPlan {
    /// `from` and `to` have no common divisor.
    pub fn new(from: usize, to: usize) -> Self {
        let kernel = Kernel::new(to as f64 / from as f64);
        let reach = kernel.half_width.ceil() as usize;
        let lead_in = reach.next_multiple_of(from);
        let hop_of = |n_in: usize| n_in.saturating_sub(lead_in + reach) / from * from;
        // The work of both transforms for each sample kept. Blocks longer than 16 filters gain nothing
        // and waste more on short recordings.
        let work = |n: usize| n as f64 * (n as f64).log2();
        let cost = |k: &usize| (work(from * k) + work(to * k)) / hop_of(from * k) as f64;
        let longest = (16 * reach).max(4 * lead_in);
        let factor = smooth_even_numbers(longest / from)
            .filter(|k| hop_of(from * k) > 0)
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .expect("a block of four leads keeps at least one lead");
        let (n_in, n_out) = (from * factor, to * factor);

        let mut planner = RealFftPlanner::<f64>::new();
        let transform = planner.plan_fft_forward(n_in);
        // Centred at 0: circular, real and symmetric, hence a real spectrum.
        let mut taps = vec![0.0; n_in];
        for t in 0..=reach {
            taps[t] = kernel.at(t as f64);
            taps[(n_in - t) % n_in] = taps[t];
        }
        let mut spectrum = transform.make_output_vec();
        transform.process(&mut taps, &mut spectrum).expect("lengths are the plan's own");
        let scale = 1.0 / n_in as f64;
        // The highest bin, where the shorter spectrum folds, lies in the stop band: left out.
        let kept = n_in.min(n_out) / 2;
        let response = spectrum[..kept].iter().map(|bin| (bin.re * scale) as f32).collect();

        let mut planner = RealFftPlanner::<f32>::new();
        let hop_in = hop_of(n_in);
        Self {
            from,
            to,
            forward: planner.plan_fft_forward(n_in),
            inverse: planner.plan_fft_inverse(n_out),
            response,
            lead_in,
            lead_out: lead_in / from * to,
            hop_in,
            hop_out: hop_in / from * to,
        }
    }
}

/// Even numbers up to `limit` (at least 4) without prime factors above 5: lengths that transform fast.
fn smooth_even_numbers(limit: usize) -> impl Iterator<Item = usize> {
    (1..=limit.max(4) / 2).map(|half| 2 * half).filter(|&n| {
        let mut rest = n;
        for prime in [2, 3, 5] {
            while rest.is_multiple_of(prime) {
                rest /= prime;
            }
        }
        rest == 1
    })
}

pub(super) struct Blocks {
    plan: Arc<BlockPlan>,
    /// Input from the beginning of the next block on.
    pending: Vec<f32>,
    /// Samples taken and given since the recording began.
    n_in: u64,
    n_out: u64,
    block: Vec<f32>,
    spectrum: Vec<Complex32>,
    shorter: Vec<Complex32>,
    result: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl Blocks {
    pub fn new(plan: Arc<BlockPlan>) -> Self {
        let scratch = plan.forward.get_scratch_len().max(plan.inverse.get_scratch_len());
        Self {
            pending: vec![0.0; plan.lead_in],
            n_in: 0,
            n_out: 0,
            block: plan.forward.make_input_vec(),
            spectrum: plan.forward.make_output_vec(),
            shorter: plan.inverse.make_input_vec(),
            result: plan.inverse.make_output_vec(),
            scratch: vec![Complex32::default(); scratch],
            plan,
        }
    }

    pub fn process(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        self.n_in += samples.len() as u64;
        let len = self.block.len();
        while self.pending.len() + samples.len() >= len {
            let (now, later) = samples.split_at(len.saturating_sub(self.pending.len()));
            self.pending.extend_from_slice(now);
            samples = later;
            self.next_block(out);
        }
        self.pending.extend_from_slice(samples);
    }

    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let total = (u128::from(self.n_in) * self.plan.to as u128).div_ceil(self.plan.from as u128);
        while u128::from(self.n_out) < total {
            let len = self.block.len();
            self.pending.resize(len.max(self.pending.len()), 0.0);
            self.next_block(out);
        }
        let excess = (u128::from(self.n_out) - total) as usize;
        out.truncate(out.len() - excess);
        self.pending.clear();
        self.pending.resize(self.plan.lead_in, 0.0);
        (self.n_in, self.n_out) = (0, 0);
    }

    /// Turns the first block of `pending` into `hop_out` samples.
    fn next_block(&mut self, out: &mut Vec<f32>) {
        let plan = &*self.plan;
        let len = self.block.len();
        self.block.copy_from_slice(&self.pending[..len]);
        self.pending.drain(..plan.hop_in);
        plan.forward
            .process_with_scratch(&mut self.block, &mut self.spectrum, &mut self.scratch)
            .expect("lengths are the plan's own");
        let kept = plan.response.len();
        for ((to, from), gain) in self.shorter.iter_mut().zip(&self.spectrum).zip(&plan.response) {
            *to = from * gain;
        }
        self.shorter[kept..].fill(Complex32::default());
        // The sum of a real signal's first bin has no imaginary part but for rounding.
        self.shorter[0].im = 0.0;
        plan.inverse
            .process_with_scratch(&mut self.shorter, &mut self.result, &mut self.scratch)
            .expect("lengths are the plan's own, and the outer bins are real");
        out.extend_from_slice(&self.result[plan.lead_out..plan.lead_out + plan.hop_out]);
        self.n_out += plan.hop_out as u64;
    }
}
