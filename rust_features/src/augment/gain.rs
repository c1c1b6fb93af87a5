//! How loud a recording is.

use serde::Serialize;

use super::draw::Draws;
use super::settings::Settings;

/// The plan.
pub(super) struct Gain {
    p: f64,
    db: [f64; 2],
}

/// The gain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GainDraw {
    /// In decibels.
    pub db: f64,
}

impl Gain {
    pub fn new(settings: &Settings) -> Self {
        Self { p: settings.gain_p, db: settings.gain_db }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<GainDraw> {
        draws.chance(self.p).then(|| GainDraw { db: draws.uniform(self.db) })
    }
}

impl GainDraw {
    pub(super) fn apply(&self, clip: &mut [f32]) {
        super::level::scale(clip, 10f64.powf(self.db / 20.0) as f32);
    }
}
