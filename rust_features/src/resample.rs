//! One sample rate → another, to the quality of soxr HQ (librosa's default).
//!
//! The filter is a Kaiser-windowed sinc: flat to 0.913 of the lower of the two Nyquist frequencies,
//! more than 100 dB down from there on to its end at 1.0. It is symmetric and centred: linear phase, no
//! delay. Output sample j stands at input time j · from / to; before and after the recording there is
//! silence; n samples become ceil(n · to / from).
//!
//! Rates with a small ratio (44100 : 16000 = 441 : 160) are filtered in the frequency domain, block by
//! block ([`blocks`]); for any other ratio that leads to a rate nearby, and a short interpolated filter
//! from there ([`table`]). Blocks lie on a grid that the first sample fixes, so that the result does not
//! depend on how a recording is cut into chunks, bit for bit.

mod blocks;
pub(crate) mod sinc;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::error::{Error, Result};
use blocks::{BlockPlan, BlockStage};
use table::{Table, TablePlan};

/// Rates further apart than this are refused: the filter would grow without bound.
const MAX_RATIO: u32 = 256;

/// Terms of the reduced ratio up to this go through blocks, which must be multiples of both.
const MAX_BLOCK_TERM: u32 = 2048;

/// Plans kept; data sets with more pairs of rates than this rebuild some.
const MAX_CACHED: usize = 64;

/// By reduced pair of rates.
type Plans = HashMap<(u32, u32), Arc<Plan>>;

/// What a pair of rates needs, shared by all recordings and threads.
enum Plan {
    Same,
    Blocks(Arc<BlockPlan>),
    Table(Arc<TablePlan>),
}

/// Converts one recording after another from one rate to another.
pub struct Resampler {
    stage: Stage,
}

enum Stage {
    Same,
    Blocks(BlockStage),
    Table(Table),
}

impl Resampler {
    /// A resampler from `from_hz` to `to_hz`; the filter is made once per pair of rates and process.
    ///
    /// # Errors
    /// [`Error::Setting`] if a rate is 0 or the rates are further apart than a factor of 256.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self> {
        for rate in [from_hz, to_hz] {
            if rate == 0 {
                return Err(Error::setting("sample_rate", rate, "must be >= 1 Hz"));
            }
        }
        if from_hz.max(to_hz).div_ceil(MAX_RATIO) > from_hz.min(to_hz) {
            let rule =
                format!("must be within a factor of {MAX_RATIO} of {to_hz} Hz to convert to it");
            return Err(Error::setting("sample_rate", from_hz, rule));
        }
        let stage = match &*plan(from_hz, to_hz) {
            Plan::Same => Stage::Same,
            Plan::Blocks(plan) => Stage::Blocks(BlockStage::new(plan.clone())),
            Plan::Table(plan) => Stage::Table(Table::new(plan.clone())),
        };
        Ok(Self { stage })
    }

    /// Takes the next samples of the recording and appends what is complete to `out`.
    pub fn process(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        match &mut self.stage {
            Stage::Same => out.extend_from_slice(samples),
            Stage::Blocks(stage) => stage.process(samples, out),
            Stage::Table(stage) => stage.process(samples, out),
        }
    }

    /// Ends the recording: appends the rest to `out`. The next samples begin another one.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        match &mut self.stage {
            Stage::Same => {}
            Stage::Blocks(stage) => stage.finish(out),
            Stage::Table(stage) => stage.finish(out),
        }
    }
}

/// A whole recording at once: ceil(n · `to_hz` / `from_hz`) samples.
///
/// # Errors
/// As [`Resampler::new`].
pub fn resample(samples: &[f32], from_hz: u32, to_hz: u32) -> Result<Vec<f32>> {
    let mut resampler = Resampler::new(from_hz, to_hz)?;
    let (n, from, to) = (samples.len() as u128, u128::from(from_hz), u128::from(to_hz));
    let mut out = Vec::with_capacity((n * to).div_ceil(from) as usize);
    resampler.process(samples, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

fn plan(from_hz: u32, to_hz: u32) -> Arc<Plan> {
    static PLANS: LazyLock<Mutex<Plans>> = LazyLock::new(Mutex::default);
    let shared = gcd(from_hz.into(), to_hz.into()) as u32;
    let (from, to) = (from_hz / shared, to_hz / shared);
    // Held while a plan is made, so that the workers of a pool do not all make the same one.
    let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    if plans.len() >= MAX_CACHED && !plans.contains_key(&(from, to)) {
        plans.clear();
    }
    let make = || {
        Arc::new(if from == to {
            Plan::Same
        } else if from.max(to) <= MAX_BLOCK_TERM {
            Plan::Blocks(Arc::new(BlockPlan::new(
                from as usize,
                to as usize,
                f64::from(to) / f64::from(from),
            )))
        } else {
            Plan::Table(Arc::new(TablePlan::new(from, to)))
        })
    };
    plans.entry((from, to)).or_insert_with(make).clone()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
