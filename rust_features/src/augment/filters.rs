//! Microphones and loudspeakers: a low shelf, a high shelf and two peaks, each with a drawn frequency
//! and boost or cut.

use serde::Serialize;

use super::biquad::Biquad;
use super::draw::Draws;
use super::settings::Settings;

/// Where the low shelf ends, in Hz.
const LOW_SHELF_HZ: [f64; 2] = [60.0, 600.0];
/// Where the high shelf begins.
const HIGH_SHELF_HZ: [f64; 2] = [1500.0, 12_000.0];
/// Centres of the peaks.
const PEAK_HZ: [f64; 2] = [150.0, 10_000.0];
/// Their Q: two octaves to half of one.
const PEAK_Q: [f64; 2] = [0.7, 3.0];
const N_PEAKS: usize = 2;
/// The highest frequency of a filter, in parts of the sample rate.
pub(super) const HIGHEST: f64 = 0.45;

/// The plan.
pub(super) struct Filters {
    p: f64,
    db: f64,
    sample_rate: f64,
}

/// The sections, in the order in which they act.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilterDraw {
    /// Low shelf, high shelf, peaks.
    pub sections: Vec<Biquad>,
}

impl Filters {
    pub fn new(settings: &Settings, sample_rate: u32) -> Self {
        Self { p: settings.filter_p, db: settings.filter_db, sample_rate: sample_rate.into() }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<FilterDraw> {
        if !draws.chance(self.p) {
            return None;
        }
        let frequency =
            |draws: &mut Draws, hz| (draws.log_uniform(hz) / self.sample_rate).min(HIGHEST);
        let db = [-self.db, self.db];
        let mut sections = Vec::with_capacity(2 + N_PEAKS);
        sections.push(Biquad::low_shelf(frequency(&mut draws, LOW_SHELF_HZ), draws.uniform(db)));
        sections.push(Biquad::high_shelf(frequency(&mut draws, HIGH_SHELF_HZ), draws.uniform(db)));
        for _ in 0..N_PEAKS {
            let (frequency, q) = (frequency(&mut draws, PEAK_HZ), draws.log_uniform(PEAK_Q));
            sections.push(Biquad::peak(frequency, q, draws.uniform(db)));
        }
        Some(FilterDraw { sections })
    }
}
