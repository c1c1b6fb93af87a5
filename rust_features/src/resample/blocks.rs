//! Resampling by FFT, for rates with a small ratio from : to.
//!
//! Overlap-save: a block of `from · k` samples is transformed, multiplied by the filter's (real)
//! spectrum, cut or extended to the spectrum of `to · k` samples, and transformed back. Of the result
//! only what the block's edges cannot reach is kept, and the blocks overlap by the rest. Cutting the
//! spectrum is exact to the filter's stop band, for above it nothing is left. Two successive blocks go
//! through each complex transform, one as its real and one as its imaginary part.

use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftPlanner};

use super::sinc::Sinc;

pub(super) struct BlockPlan {
    from: usize,
    to: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// The filter at the frequencies 0, 1, 2 …, with the scale of both transforms.
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
    /// For rates in the ratio `from : to`, which have no common divisor. The output holds the
    /// frequencies up to those of a rate that is `band` times the input's.
    pub fn new(from: usize, to: usize, band: f64) -> Self {
        let kernel = Sinc::low_pass(band);
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

        // Centred at 0: circular, real and symmetric, hence a real spectrum.
        let mut taps = vec![Complex64::default(); n_in];
        for t in 0..=reach {
            taps[t].re = kernel.at(t as f64);
            taps[(n_in - t) % n_in] = taps[t];
        }
        FftPlanner::new().plan_fft_forward(n_in).process(&mut taps);
        let scale = 1.0 / n_in as f64;
        // The highest bin, where the shorter spectrum folds, lies in the stop band: left out.
        let kept = n_in.min(n_out) / 2;
        let response = taps[..kept].iter().map(|bin| (bin.re * scale) as f32).collect();

        let mut planner = FftPlanner::new();
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

pub(super) struct BlockStage {
    plan: Arc<BlockPlan>,
    /// Input from the beginning of the next block on.
    pending: Vec<f32>,
    /// Samples taken and given since the recording began.
    n_in: u64,
    n_out: u64,
    pair: Vec<Complex32>,
    result: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl BlockStage {
    pub fn new(plan: Arc<BlockPlan>) -> Self {
        let (forward, inverse) = (&plan.forward, &plan.inverse);
        let scratch = forward.get_inplace_scratch_len().max(inverse.get_inplace_scratch_len());
        Self {
            pending: vec![0.0; plan.lead_in],
            n_in: 0,
            n_out: 0,
            pair: vec![Complex32::default(); forward.len()],
            result: vec![Complex32::default(); inverse.len()],
            scratch: vec![Complex32::default(); scratch],
            plan,
        }
    }

    pub fn process(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        self.n_in += samples.len() as u64;
        let len = self.pair_len();
        while self.pending.len() + samples.len() >= len {
            let (now, later) = samples.split_at(len.saturating_sub(self.pending.len()));
            self.pending.extend_from_slice(now);
            samples = later;
            self.next_pair(out);
        }
        self.pending.extend_from_slice(samples);
    }

    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let total = (u128::from(self.n_in) * self.plan.to as u128).div_ceil(self.plan.from as u128);
        while u128::from(self.n_out) < total {
            self.pending.resize(self.pair_len().max(self.pending.len()), 0.0);
            self.next_pair(out);
        }
        let excess = (u128::from(self.n_out) - total) as usize;
        out.truncate(out.len() - excess);
        self.pending.clear();
        self.pending.resize(self.plan.lead_in, 0.0);
        (self.n_in, self.n_out) = (0, 0);
    }

    /// Input samples that two successive blocks span.
    fn pair_len(&self) -> usize {
        self.pair.len() + self.plan.hop_in
    }

    /// Turns the first two blocks of `pending` into twice `hop_out` samples.
    fn next_pair(&mut self, out: &mut Vec<f32>) {
        let plan = &*self.plan;
        let blocks = self.pending.iter().zip(&self.pending[plan.hop_in..]);
        for (both, (&re, &im)) in self.pair.iter_mut().zip(blocks) {
            *both = Complex32 { re, im };
        }
        self.pending.drain(..2 * plan.hop_in);
        plan.forward.process_with_scratch(&mut self.pair, &mut self.scratch);
        // The filter is symmetric: frequencies from below, and the negative ones from above.
        let (n_in, n_out, kept) = (self.pair.len(), self.result.len(), plan.response.len());
        for ((to, from), gain) in self.result.iter_mut().zip(&self.pair).zip(&plan.response) {
            *to = from * gain;
        }
        self.result[kept..=n_out - kept].fill(Complex32::default());
        let negative =
            self.result[n_out - kept + 1..].iter_mut().zip(&self.pair[n_in - kept + 1..]);
        for ((to, from), gain) in negative.zip(plan.response[1..].iter().rev()) {
            *to = from * gain;
        }
        plan.inverse.process_with_scratch(&mut self.result, &mut self.scratch);
        let result = &self.result[plan.lead_out..plan.lead_out + plan.hop_out];
        out.extend(result.iter().map(|both| both.re));
        out.extend(result.iter().map(|both| both.im));
        self.n_out += 2 * plan.hop_out as u64;
    }
}
