//! Resampling for any ratio of rates, in two steps.
//!
//! Blocks bring the recording, filtered for the new rate already, to a rate of 2 to 4 times what it now
//! needs, by a power of two. Between such samples a filter of 16 taps suffices; it comes from one table
//! for all ratios, a row for each of 1,024 fractions of a sample, and is interpolated linearly between
//! two rows. The highest frequency is a quarter of the rate, for which that is exact to
//! (π/2 / 1024)² / 8, or 130 dB.

use std::sync::{Arc, LazyLock};

use super::blocks::{BlockPlan, Blocks};
use super::gcd;
use super::kernel::Kernel;

const ROWS: usize = 1024;

/// Taps of a filter. The first stands 7 samples before the whole part of the output's place.
const TAPS: usize = 16;

/// Silence before the recording, in samples between the two steps: the first output's taps reach there,
/// and the filter of the blocks rings there.
const LEAD: usize = TAPS / 2;

/// A row of [`TAPS`] for each fraction of a sample, 0 and 1 included.
static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let kernel = Kernel::between(0.25, 0.75);
    let tap = |row: usize, i: usize| {
        kernel.at(i as f64 + 1.0 - LEAD as f64 - row as f64 / ROWS as f64) as f32
    };
    (0..=ROWS)
        .flat_map(|row| (0..TAPS).map(move |i| (row, i)))
        .map(|(row, i)| tap(row, i))
        .collect()
});

pub(super) struct TablePlan {
    from: u64,
    to: u64,
    blocks: Arc<BlockPlan>,
    /// The rate between the steps is the input's, doubled or divided by this.
    divisor: Option<usize>,
    /// From one output to the next, in samples between the steps: whole ones, and parts of `parts`.
    step: usize,
    step_rest: u64,
    parts: u64,
}

impl TablePlan {
    /// `from` and `to` have no common divisor.
    pub fn new(from: u32, to: u32) -> Self {
        let band = (f64::from(to) / f64::from(from)).min(1.0);
        // The highest power of two that leaves a rate of twice the band.
        let divisor = (0.5 / band).log2().floor();
        let divisor = (divisor >= 0.0).then(|| 1usize << divisor as u32);
        let (block_from, block_to) = divisor.map_or((1, 2), |divisor| (divisor, 1));
        let (between, parts) =
            (u64::from(from) * block_to as u64, u64::from(to) * block_from as u64);
        let shared = gcd(between, parts);
        let (between, parts) = (between / shared, parts / shared);
        Self {
            from: from.into(),
            to: to.into(),
            blocks: Arc::new(BlockPlan::new(block_from, block_to, band)),
            divisor,
            step: (between / parts) as usize,
            step_rest: between % parts,
            parts,
        }
    }

    /// Input samples that make `n` (even) samples between the steps.
    fn inputs(&self, n: usize) -> usize {
        self.divisor.map_or(n / 2, |divisor| n * divisor)
    }
}

pub(super) struct Table {
    plan: Arc<TablePlan>,
    blocks: Blocks,
    /// Samples between the steps, from the first tap of the next output on.
    pending: Vec<f32>,
    /// So many of them are still to come.
    skip: usize,
    /// The next output's place after a whole sample, in parts of the plan.
    rest: u64,
    n_in: u64,
    n_out: u64,
}

impl Table {
    pub fn new(plan: Arc<TablePlan>) -> Self {
        let blocks = Blocks::new(plan.blocks.clone());
        let mut table =
            Self { plan, blocks, pending: Vec::new(), skip: 0, rest: 0, n_in: 0, n_out: 0 };
        table.begin();
        table
    }

    pub fn process(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.n_in += samples.len() as u64;
        self.blocks.process(samples, &mut self.pending);
        self.interpolate(u64::MAX, out);
    }

    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let total = u128::from(self.n_in) * u128::from(self.plan.to);
        let total = total.div_ceil(u128::from(self.plan.from)) as u64;
        // The last output's taps reach behind the recording as the first one's before it.
        let silence = vec![0.0; self.plan.inputs(2 * LEAD)];
        self.blocks.process(&silence, &mut self.pending);
        self.blocks.finish(&mut self.pending);
        self.interpolate(total, out);
        debug_assert_eq!(self.n_out, total);
        self.begin();
    }

    fn begin(&mut self) {
        self.pending.clear();
        let silence = vec![0.0; self.plan.inputs(LEAD)];
        self.blocks.process(&silence, &mut self.pending);
        (self.skip, self.rest, self.n_in, self.n_out) = (1, 0, 0, 0);
    }

    /// Appends every output up to number `limit` whose taps are all there.
    fn interpolate(&mut self, limit: u64, out: &mut Vec<f32>) {
        let (plan, table) = (&*self.plan, &**TABLE);
        // Not the constant: a loop of known length is unrolled into scalar code, 3 times slower.
        let n_taps = table.len() / (ROWS + 1);
        let rows_per_part = ROWS as f64 / plan.parts as f64;
        let mut at = self.skip;
        while self.n_out < limit
            && let Some(samples) = self.pending.get(at..at + n_taps)
        {
            let place = self.rest as f64 * rows_per_part;
            let row = (place as usize).min(ROWS - 1);
            let weight = (place - row as f64) as f32;
            let (a, b) = table[row * n_taps..][..2 * n_taps].split_at(n_taps);
            out.push(weighted_sum(samples, a, b, weight));
            self.n_out += 1;
            self.rest += plan.step_rest;
            let carry = self.rest >= plan.parts;
            self.rest -= if carry { plan.parts } else { 0 };
            at += plan.step + usize::from(carry);
        }
        self.skip = at.saturating_sub(self.pending.len());
        self.pending.drain(..at.min(self.pending.len()));
    }
}

/// Σ x·(a + w·(b − a)), where a and b are two adjacent rows of the table.
fn weighted_sum(samples: &[f32], a: &[f32], b: &[f32], weight: f32) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a, b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    for ((x, a), b) in samples.as_chunks::<8>().0.iter().zip(a).zip(b) {
        for lane in 0..8 {
            sums[lane] += x[lane] * (a[lane] + weight * (b[lane] - a[lane]));
        }
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
}
