//! The sign of all samples, which cables and microphones turn around.

use super::draw::Draws;
use super::settings::Settings;

/// The plan.
pub(super) struct Polarity {
    p: f64,
}

impl Polarity {
    pub fn new(settings: &Settings) -> Self {
        Self { p: settings.polarity_p }
    }

    /// Whether it is turned around.
    pub fn draw(&self, mut draws: Draws) -> bool {
        draws.chance(self.p)
    }

    pub fn apply(clip: &mut [f32]) {
        super::level::scale(clip, -1.0);
    }
}
