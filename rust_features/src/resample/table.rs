//! Resampling for any ratio of rates, in two steps.
//!
//! Blocks bring the recording, filtered for the new rate already, to a rate of 2 to 4 times what it now
//! needs, by a power of two. Between such samples a filter of 16 taps suffices; it comes from one table
//! for all ratios, a row for each of 1,024 fractions of a sample, and is interpolated linearly between
//! two rows. The highest frequency is a quarter of the rate, for which that is exact to
//! (π/2 / 1024)² / 8, or 130 dB.

use std::sync::{Arc, LazyLock};

use super::blocks::{BlockPlan, BlockStage};
use super::gcd;
use super::sinc::Sinc;
use crate::simd::{self, Isa, MAX_LANES, Rows, Simd};

const ROWS: usize = 1024;

/// Taps of a filter. The first stands 7 samples before the whole part of the output's place.
const TAPS: usize = 16;

/// Samples that take both steps at a time.
const PIECE_LEN: usize = 4096;

/// Silence before the recording, in samples between the two steps: the first output's taps reach there,
/// and the filter of the blocks rings there.
const LEAD: usize = TAPS / 2;

/// The taps for one fraction of a sample, and what is to be added to each on the way to the next row.
struct Row {
    taps: [f32; TAPS],
    slopes: [f32; TAPS],
}

/// A row for each fraction of a sample, from 0 to below 1.
static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let kernel = Sinc::between(0.25, 0.75);
    let taps = |row: usize| -> [f32; TAPS] {
        let first = 1.0 - LEAD as f64 - row as f64 / ROWS as f64;
        std::array::from_fn(|i| kernel.at(first + i as f64) as f32)
    };
    let row = |row| {
        let (taps, next) = (taps(row), taps(row + 1));
        Row { taps, slopes: std::array::from_fn(|i| next[i] - taps[i]) }
    };
    (0..ROWS).map(row).collect()
});

pub(super) struct TablePlan {
    isa: Isa,
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
            isa: Isa::best(),
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
    blocks: BlockStage,
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
        let blocks = BlockStage::new(plan.blocks.clone());
        let mut table =
            Self { plan, blocks, pending: Vec::new(), skip: 0, rest: 0, n_in: 0, n_out: 0 };
        table.begin();
        table
    }

    pub fn process(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.n_in += samples.len() as u64;
        // In pieces, so that what lies between the steps stays in the cache.
        for piece in samples.chunks(PIECE_LEN) {
            self.blocks.process(piece, &mut self.pending);
            self.interpolate(u64::MAX, out);
        }
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
        self.plan.isa.dispatch(Interpolate { table: self, limit, out });
    }
}

/// [`Table::interpolate`] for an instruction set, as many outputs at once as it has lanes.
struct Interpolate<'a> {
    table: &'a mut Table,
    limit: u64,
    out: &'a mut Vec<f32>,
}

impl simd::Kernel for Interpolate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { table, limit, out } = self;
        let plan = &*table.plan;
        let rows: &[Row] = &TABLE;
        let rows_per_part = ROWS as f64 / plan.parts as f64;
        // Of each output the samples times their taps, yet to be added up.
        let mut products = [0.0f32; MAX_LANES * TAPS];
        let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| lane * TAPS);
        let mut at = table.skip;
        let mut n = S::LANES;
        while n == S::LANES {
            n = 0;
            while n < S::LANES
                && table.n_out < limit
                && let Some(samples) = table.pending.get(at..at + TAPS)
            {
                let place = table.rest as f64 * rows_per_part;
                let row = (place as usize).min(ROWS - 1);
                let (weight, row) = (s.splat((place - row as f64) as f32), &rows[row]);
                for i in (0..TAPS).step_by(S::LANES) {
                    let tap = s.mul_add(weight, s.load(&row.slopes[i..]), s.load(&row.taps[i..]));
                    s.store(&mut products[n * TAPS + i..], s.mul(s.load(&samples[i..]), tap));
                }
                n += 1;
                table.n_out += 1;
                table.rest += plan.step_rest;
                let carry = table.rest >= plan.parts;
                table.rest -= if carry { plan.parts } else { 0 };
                at += plan.step + usize::from(carry);
            }
            let columns = Rows::new(&products, &starts[..S::LANES], TAPS);
            let mut sum = s.splat(0.0);
            for i in (0..TAPS).step_by(4) {
                let [a, b, c, d] = s.load4(&columns, i);
                sum = s.add(sum, s.add(s.add(a, b), s.add(c, d)));
            }
            out.extend_from_slice(&s.floats(&[sum])[..n]);
        }
        table.skip = at.saturating_sub(table.pending.len());
        table.pending.drain(..at.min(table.pending.len()));
    }
}
