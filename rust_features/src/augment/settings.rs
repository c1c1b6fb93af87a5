//! How likely and how strong each operation is. Checked here only.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json;

/// Probability and range of every operation, in the order in which they act. A range is [least,
/// greatest]; what is drawn from it is uniform, frequencies and times on a logarithmic scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// With the epoch and the index of a clip, all that its draws depend on.
    pub seed: u64,
    /// Probability of a change of pitch and speed, by resampling.
    pub pitch_p: f64,
    /// Greatest change, up or down, in semitones.
    pub pitch_semitones: f64,
    /// Probability of a phrase: other recordings begin within the clip.
    pub phrase_p: f64,
    /// How long a note of a phrase lasts, in seconds.
    pub phrase_note_s: [f64; 2],
    /// How much louder than the first a note that follows is, in decibels.
    pub phrase_gain_db: [f64; 2],
    /// What is left of what sounds, in decibels, when the next note begins.
    pub phrase_rest_db: [f64; 2],
    /// Probability of random filters: a low shelf, a high shelf and two peaks.
    pub filter_p: f64,
    /// Greatest boost or cut of each filter in decibels.
    pub filter_db: f64,
    /// Probability of reverberation.
    pub reverb_p: f64,
    /// Time in which synthetic reverberation decays by 60 dB.
    pub reverb_rt60_s: [f64; 2],
    /// Power of the direct sound over that of synthetic reverberation.
    pub reverb_direct_db: [f64; 2],
    /// Probability that what lies outside a band is cut off.
    pub band_limit_p: f64,
    /// Lower end of the band.
    pub band_limit_low_hz: [f64; 2],
    /// Upper end of the band.
    pub band_limit_high_hz: [f64; 2],
    /// Probability of noise.
    pub noise_p: f64,
    /// Power of the clip over that of the noise.
    pub noise_snr_db: [f64; 2],
    /// Slope of synthetic noise, as the exponent of 1/f in its power: 0 white, 1 pink, 2 brown.
    pub noise_colour: [f64; 2],
    /// Probability of a gain.
    pub gain_p: f64,
    /// The gain.
    pub gain_db: [f64; 2],
    /// Probability of soft clipping.
    pub clip_p: f64,
    /// How far the clip's peak lies above the level at which clipping sets in.
    pub clip_db: [f64; 2],
    /// Probability that the sign is changed.
    pub polarity_p: f64,
    /// Probability of a shift in time; what comes in is silence.
    pub shift_p: f64,
    /// Greatest shift, earlier or later, in seconds.
    pub shift_s: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            pitch_p: 0.5,
            pitch_semitones: 3.0,
            phrase_p: 0.0,
            phrase_note_s: [0.1, 1.0],
            phrase_gain_db: [-6.0, 6.0],
            phrase_rest_db: [-60.0, 0.0],
            filter_p: 0.7,
            filter_db: 12.0,
            reverb_p: 0.5,
            reverb_rt60_s: [0.1, 1.0],
            reverb_direct_db: [-3.0, 20.0],
            band_limit_p: 0.2,
            band_limit_low_hz: [20.0, 400.0],
            band_limit_high_hz: [3000.0, 16_000.0],
            noise_p: 0.5,
            noise_snr_db: [5.0, 40.0],
            noise_colour: [0.0, 2.0],
            gain_p: 0.8,
            gain_db: [-24.0, 6.0],
            clip_p: 0.1,
            clip_db: [0.0, 12.0],
            polarity_p: 0.5,
            shift_p: 0.1,
            shift_s: 0.1,
        }
    }
}

impl Settings {
    /// Nothing happens to a clip; the window is still drawn.
    #[cfg(test)]
    pub fn off() -> Self {
        Self {
            pitch_p: 0.0,
            phrase_p: 0.0,
            filter_p: 0.0,
            reverb_p: 0.0,
            band_limit_p: 0.0,
            noise_p: 0.0,
            gain_p: 0.0,
            clip_p: 0.0,
            polarity_p: 0.0,
            shift_p: 0.0,
            ..Self::default()
        }
    }

    /// Reads JSON; fields that it leaves out have their default. Checked as by [`validate`].
    ///
    /// [`validate`]: Settings::validate
    pub fn from_json(text: &str) -> Result<Self> {
        let settings: Self = json::parse("settings", text)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Checks every field; the error names field, value and rule.
    pub fn validate(&self) -> Result<()> {
        for (name, p) in [
            ("pitch_p", self.pitch_p),
            ("phrase_p", self.phrase_p),
            ("filter_p", self.filter_p),
            ("reverb_p", self.reverb_p),
            ("band_limit_p", self.band_limit_p),
            ("noise_p", self.noise_p),
            ("gain_p", self.gain_p),
            ("clip_p", self.clip_p),
            ("polarity_p", self.polarity_p),
            ("shift_p", self.shift_p),
        ] {
            within(name, p, [0.0, 1.0])?;
        }
        within("pitch_semitones", self.pitch_semitones, [0.0, 12.0])?;
        within("filter_db", self.filter_db, [0.0, 60.0])?;
        within("shift_s", self.shift_s, [0.0, 60.0])?;
        for (name, range, bounds) in [
            ("phrase_note_s", self.phrase_note_s, [0.01, 60.0]),
            ("phrase_gain_db", self.phrase_gain_db, [-60.0, 60.0]),
            ("phrase_rest_db", self.phrase_rest_db, [-120.0, 0.0]),
            ("reverb_rt60_s", self.reverb_rt60_s, [0.01, 60.0]),
            ("reverb_direct_db", self.reverb_direct_db, [-60.0, 120.0]),
            ("band_limit_low_hz", self.band_limit_low_hz, [1.0, 1e6]),
            ("band_limit_high_hz", self.band_limit_high_hz, [1.0, 1e6]),
            ("noise_snr_db", self.noise_snr_db, [-120.0, 200.0]),
            ("noise_colour", self.noise_colour, [0.0, 2.0]),
            ("gain_db", self.gain_db, [-120.0, 120.0]),
            ("clip_db", self.clip_db, [-60.0, 60.0]),
        ] {
            let [low, high] = range;
            within(name, low, bounds)?;
            within(name, high, bounds)?;
            if low > high {
                let rule = format!("must be [least, greatest], and {low} is above {high}");
                return Err(Error::setting(name, &*format!("[{low}, {high}]"), rule));
            }
        }
        let (low, high) = (self.band_limit_low_hz[1], self.band_limit_high_hz[0]);
        if low >= high {
            let rule = format!("must end below {high} Hz, where band_limit_high_hz begins");
            return Err(Error::setting("band_limit_low_hz", low, rule));
        }
        Ok(())
    }
}

fn within(name: &str, value: f64, [low, high]: [f64; 2]) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::setting(name, value, format!("must be between {low} and {high}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_field_value_and_rule() {
        let error = |json: &str| Settings::from_json(json).unwrap_err().to_string();
        assert_eq!(error(r#"{"noise_p": 1.5}"#), "noise_p 1.5 is invalid: must be between 0 and 1");
        assert_eq!(
            error(r#"{"noise_snr_db": [40, 5]}"#),
            "noise_snr_db [40, 5] is invalid: must be [least, greatest], and 40 is above 5"
        );
        assert!(error(r#"{"gain_db": 3}"#).starts_with("gain_db 3 is invalid"));
        assert!(error(r#"{"band_limit_low_hz": [20, 5000]}"#).starts_with("band_limit_low_hz"));
        assert!(error(r#"{"pitch": 3}"#).starts_with("pitch 3 is invalid: must be one of "));
        assert!(Settings { clip_db: [f64::NAN, 1.0], ..Settings::off() }.validate().is_err());
    }

    #[test]
    fn json_round_trip() {
        let json = serde_json::to_string(&Settings::default()).unwrap();
        assert_eq!(Settings::from_json(&json).unwrap(), Settings::default());
        assert!(Settings::off().validate().is_ok());
    }
}
