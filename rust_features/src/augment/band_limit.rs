//! Telephones and low bit rates: what lies outside a band is cut off, by Butterworth filters of order 4
//! below and 8 above.

use serde::Serialize;

use super::biquad::Biquad;
use super::draw::Draws;
use super::filters::HIGHEST;
use super::settings::Settings;

/// The plan.
pub(super) struct BandLimit {
    p: f64,
    low_hz: [f64; 2],
    high_hz: [f64; 2],
    sample_rate: f64,
}

/// The band.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BandLimitDraw {
    /// Its lower end in Hz.
    pub low_hz: f64,
    /// Its upper end; nothing is cut off there if it is above 0.45 of the sample rate.
    pub high_hz: f64,
}

impl BandLimit {
    pub fn new(settings: &Settings, sample_rate: u32) -> Self {
        Self {
            p: settings.band_limit_p,
            low_hz: settings.band_limit_low_hz,
            high_hz: settings.band_limit_high_hz,
            sample_rate: sample_rate.into(),
        }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<BandLimitDraw> {
        draws.chance(self.p).then(|| BandLimitDraw {
            low_hz: draws.log_uniform(self.low_hz),
            high_hz: draws.log_uniform(self.high_hz),
        })
    }

    pub fn sections(&self, draw: &BandLimitDraw) -> Vec<Biquad> {
        let (low, high) = (draw.low_hz / self.sample_rate, draw.high_hz / self.sample_rate);
        let mut sections = Vec::with_capacity(6);
        sections.extend(Biquad::butterworth(2, |q| Biquad::high_pass(low.min(HIGHEST), q)));
        if high < HIGHEST {
            sections.extend(Biquad::butterworth(4, |q| Biquad::low_pass(high, q)));
        }
        sections
    }
}
