//! Resampling by a table of filters, for any ratio of rates.
//!
//! A row of the table holds the filter at one fraction of an input sample. Between two rows the filter is
//! interpolated linearly; at 1,024 rows a period of the pass band that is 118 dB exact
//! ((π/1024)²/8), and the table has the same size for every ratio.

use std::sync::Arc;

use super::kernel::Kernel;

/// Rows for each sample of the lower rate.
const ROWS: f64 = 1024.0;

/// Partial sums of a dot product: as many as the widest registers hold.
const LANES: usize = 16;

pub(super) struct TablePlan {
    /// The step of an output sample in input samples: whole ones, and the rest in parts of `to`.
    step: u64,
    step_rest: u64,
    from: u64,
    to: u64,
    /// Taps of a filter, a multiple of [`LANES`]; half of them before the output's place.
    n_taps: usize,
    n_rows: usize,
    /// `[n_rows + 1, n_taps]`.
    rows: Vec<f32>,
}

impl TablePlan {
    /// `from` and `to` have no common divisor.
    pub fn new(from: u32, to: u32) -> Self {
        let ratio = f64::from(to) / f64::from(from);
        let kernel = Kernel::new(ratio);
        let half = (kernel.half_width.ceil() as usize).next_multiple_of(LANES / 2);
        let n_rows = (ROWS * ratio.min(1.0)).ceil() as usize;
        let mut rows = Vec::with_capacity((n_rows + 1) * 2 * half);
        for row in 0..=n_rows {
            // Tap i weighs the input sample i + 1 - half after the whole part of the output's place.
            let fraction = row as f64 / n_rows as f64;
            rows.extend(
                (0..2 * half).map(|i| kernel.at(i as f64 + 1.0 - half as f64 - fraction) as f32),
            );
        }
        Self {
            step: u64::from(from / to),
            step_rest: u64::from(from % to),
            from: from.into(),
            to: to.into(),
            n_taps: 2 * half,
            n_rows,
            rows,
        }
    }
}

pub(super) struct Table {
    plan: Arc<TablePlan>,
    /// Input from the first tap of the next output on; so many samples of it are still to come.
    pending: Vec<f32>,
    skip: usize,
    /// The next output's place after a whole input sample, in parts of `to`.
    rest: u64,
    n_in: u64,
    n_out: u64,
}

impl Table {
    pub fn new(plan: Arc<TablePlan>) -> Self {
        Self { pending: vec![0.0; plan.n_taps / 2 - 1], skip: 0, rest: 0, n_in: 0, n_out: 0, plan }
    }

    pub fn process(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.n_in += samples.len() as u64;
        self.push(samples, u64::MAX, out);
    }

    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let total = u128::from(self.n_in) * u128::from(self.plan.to);
        let total = total.div_ceil(u128::from(self.plan.from)) as u64;
        let silence = vec![0.0; self.plan.n_taps];
        while self.n_out < total {
            self.push(&silence, total, out);
        }
        self.pending.clear();
        self.pending.resize(self.plan.n_taps / 2 - 1, 0.0);
        (self.skip, self.rest, self.n_in, self.n_out) = (0, 0, 0, 0);
    }

    /// Appends every output up to number `limit` whose taps are all there.
    fn push(&mut self, samples: &[f32], limit: u64, out: &mut Vec<f32>) {
        let skipped = self.skip.min(samples.len());
        self.skip -= skipped;
        self.pending.extend_from_slice(&samples[skipped..]);
        let plan = &*self.plan;
        let mut at = 0;
        while self.n_out < limit && at + plan.n_taps <= self.pending.len() {
            let place = self.rest as f64 * plan.n_rows as f64 / plan.to as f64;
            let row = place as usize;
            let rows = &plan.rows[row * plan.n_taps..][..2 * plan.n_taps];
            let taps = &self.pending[at..at + plan.n_taps];
            out.push(weighted_sum(taps, rows, (place - row as f64) as f32));
            self.n_out += 1;
            self.rest += plan.step_rest;
            at += plan.step as usize + usize::from(self.rest >= plan.to);
            self.rest %= plan.to;
        }
        self.skip += at.saturating_sub(self.pending.len());
        self.pending.drain(..at.min(self.pending.len()));
    }
}

/// Σ x·(a + w·(b − a)), where a and b are two adjacent rows of the table.
fn weighted_sum(samples: &[f32], rows: &[f32], weight: f32) -> f32 {
    let (first, second) = rows.split_at(samples.len());
    let (samples, _) = samples.as_chunks::<LANES>();
    let (first, _) = first.as_chunks::<LANES>();
    let (second, _) = second.as_chunks::<LANES>();
    let (mut near, mut far) = ([0.0f32; LANES], [0.0f32; LANES]);
    for ((x, a), b) in samples.iter().zip(first).zip(second) {
        for lane in 0..LANES {
            near[lane] += x[lane] * a[lane];
            far[lane] += x[lane] * b[lane];
        }
    }
    let (near, far) = (near.iter().sum::<f32>(), far.iter().sum::<f32>());
    near + weight * (far - near)
}
