//! A clip that begins earlier or later; silence comes in at the other end.

use serde::Serialize;

use super::draw::Draws;
use super::settings::Settings;

/// The plan.
pub(super) struct Shift {
    p: f64,
    samples: f64,
}

/// The shift.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShiftDraw {
    /// Samples by which the clip is later.
    pub samples: isize,
}

impl Shift {
    pub fn new(settings: &Settings, sample_rate: u32) -> Self {
        Self { p: settings.shift_p, samples: settings.shift_s * f64::from(sample_rate) }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<ShiftDraw> {
        draws.chance(self.p).then(|| {
            let samples = draws.uniform([-self.samples, self.samples]).round() as isize;
            ShiftDraw { samples }
        })
    }
}

impl ShiftDraw {
    pub(super) fn apply(&self, clip: &mut [f32]) {
        let n = self.samples.unsigned_abs().min(clip.len());
        let kept = clip.len() - n;
        if self.samples > 0 {
            clip.copy_within(..kept, n);
            clip[..n].fill(0.0);
        } else {
            clip.copy_within(n.., 0);
            clip[kept..].fill(0.0);
        }
    }
}
