//! How a recording becomes clips: the only place that rounds seconds to samples.

mod clips;
mod cutter;
mod whole;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json;

pub use cutter::{Batch, Cutter, Pace, Poll, Reason, Starts, Take};

/// Longer than a day is a slip of the keyboard; the bound also keeps products in range.
const LONGEST_S: f64 = 86_400.0;

/// How recordings become clips.
///
/// Clips start every `hop_s` seconds, all of the same length. A last window that is not full is left
/// out, so that no clip of a long recording is partly made up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cut {
    /// Length of a clip; 0: each recording is one clip of its own length.
    pub clip_s: f64,
    /// From the start of one clip to the start of the next.
    pub hop_s: f64,
    /// Treatment of recordings shorter than one clip.
    pub short: Short,
    /// Clips whose root mean square is below this are left out; full scale is 1, 0 keeps all. It is
    /// compared as float32.
    pub min_rms: f64,
}

/// What to do with a recording shorter than one clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Short {
    /// Zeros after its end.
    Pad,
    /// Repeated until the clip is full.
    Repeat,
    /// Left out.
    Drop,
}

impl Short {
    /// The one of that name.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is none.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "pad" => Ok(Self::Pad),
            "repeat" => Ok(Self::Repeat),
            "drop" => Ok(Self::Drop),
            _ => Err(Error::setting("short", name, "must be pad, repeat or drop")),
        }
    }

    /// Whether a recording of `n_samples`, of which `wanted` are needed, is read over and over.
    pub fn repeats(self, n_samples: usize, wanted: usize) -> bool {
        self == Self::Repeat && n_samples < wanted
    }
}

impl Default for Cut {
    fn default() -> Self {
        Self { clip_s: 0.5, hop_s: 0.5, short: Short::Pad, min_rms: 0.0 }
    }
}

impl Cut {
    /// Reads JSON; fields that it leaves out have their default.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown field or a value of another type; else as [`validate`].
    ///
    /// [`validate`]: Cut::validate
    pub fn from_json(text: &str) -> Result<Self> {
        let cut: Self = json::parse("cut", text)?;
        cut.validate()?;
        Ok(cut)
    }

    /// The cut as JSON, one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a plain struct always serialises")
    }

    /// Samples of a clip; 0: each recording is one clip of its own length.
    pub fn clip_len(&self, sample_rate: u32) -> usize {
        samples(self.clip_s, sample_rate)
    }

    /// Samples from the start of one clip to the start of the next.
    pub fn hop_len(&self, sample_rate: u32) -> usize {
        samples(self.hop_s, sample_rate)
    }

    /// Whether each recording is one clip of its own length.
    pub fn takes_whole(&self) -> bool {
        self.clip_s == 0.0
    }

    /// Where the clips of a recording of `n_samples` start, in samples. Silence is not looked for.
    pub fn starts(&self, n_samples: usize, sample_rate: u32) -> impl Iterator<Item = usize> {
        let (clip_len, hop_len) = (self.clip_len(sample_rate), self.hop_len(sample_rate));
        let n = if n_samples == 0 {
            0
        } else if self.takes_whole() {
            1
        } else if n_samples < clip_len {
            usize::from(self.short != Short::Drop)
        } else {
            (n_samples - clip_len) / hop_len + 1
        };
        (0..n).map(move |i| i * hop_len)
    }

    /// Checks every field, for whatever sample rate.
    ///
    /// # Errors
    /// [`Error::Setting`] naming field, value and rule.
    pub fn validate(&self) -> Result<()> {
        self.check_seconds("", |seconds| seconds > 0.0)?;
        if !(0.0..1.0).contains(&self.min_rms) {
            return Err(Error::setting("min_rms", self.min_rms, "must be in [0, 1)"));
        }
        Ok(())
    }

    /// Checks every field, also that clip and hop have a sample.
    ///
    /// # Errors
    /// As [`validate`](Cut::validate).
    pub fn validate_at(&self, sample_rate: u32) -> Result<()> {
        self.validate()?;
        let one = format!(" (1/{sample_rate} s)");
        self.check_seconds(&one, |seconds| samples(seconds, sample_rate) >= 1)
    }

    /// `one` is the length of a sample, if it is known.
    fn check_seconds(&self, one: &str, holds_one: impl Fn(f64) -> bool) -> Result<()> {
        let check = |name, seconds: f64, or_zero| {
            let fine = (0.0..=LONGEST_S).contains(&seconds);
            if fine && (holds_one(seconds) || or_zero && seconds == 0.0) {
                return Ok(());
            }
            let zero = if or_zero { ", or 0 for whole recordings" } else { "" };
            let rule = format!("must be from one sample{one} to {LONGEST_S}{zero}");
            Err(Error::setting(name, seconds, rule))
        };
        check("clip_s", self.clip_s, true)?;
        check("hop_s", self.hop_s, false)
    }

    /// Whether so many samples are to be left out; `power` is the sum of their squares.
    fn is_silent(&self, power: impl FnOnce() -> f64, n_samples: usize) -> bool {
        let least = self.min_rms as f32;
        least > 0.0 && (power() / n_samples as f64).sqrt() < f64::from(least)
    }
}

/// The nearest whole number of samples; of two the larger.
fn samples(seconds: f64, sample_rate: u32) -> usize {
    (seconds * f64::from(sample_rate)).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(cut: &Cut, n_samples: usize, sample_rate: u32) -> Vec<usize> {
        cut.starts(n_samples, sample_rate).collect()
    }

    #[test]
    fn half_a_sample_is_rounded_up() {
        let cut = Cut { clip_s: 0.25, hop_s: 0.25, ..Cut::default() };
        assert_eq!((cut.clip_len(22_050), cut.hop_len(22_050)), (5513, 5513));
        let found = starts(&cut, 8 * 22_050, 22_050);
        assert_eq!((found.len(), &found[..3]), (31, &[0, 5513, 11_026][..]));
    }

    #[test]
    fn what_is_shorter_than_a_clip_is_one_clip_or_none() {
        let cut = |short, clip_s| Cut { clip_s, hop_s: 0.3, short, ..Cut::default() };
        assert_eq!(starts(&cut(Short::Pad, 0.5), 4, 10), [0]);
        assert!(starts(&cut(Short::Drop, 0.5), 4, 10).is_empty());
        assert_eq!(starts(&cut(Short::Drop, 0.5), 10, 10), [0, 3]);
        assert_eq!(starts(&cut(Short::Drop, 0.0), 4, 10), [0]);
        assert!(starts(&cut(Short::Pad, 0.5), 0, 10).is_empty());
    }

    #[test]
    fn errors_name_field_value_and_rule() {
        let error = |json: &str| Cut::from_json(json).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"clip_s": -1}"#),
            "clip_s -1 is invalid: must be from one sample to 86400, or 0 for whole recordings"
        );
        assert_eq!(
            error(r#"{"hop_s": 0}"#),
            "hop_s 0 is invalid: must be from one sample to 86400"
        );
        assert_eq!(error(r#"{"min_rms": 1}"#), "min_rms 1 is invalid: must be in [0, 1)");
        assert_eq!(error(r#"{"hop_s": "a"}"#), "hop_s a is invalid: must be a number");
        assert!(error(r#"{"short": "a"}"#).starts_with("short a is invalid: must be one of pad"));
        assert!(error(r#"{"clip": 1}"#).starts_with("clip 1 is invalid: must be one of clip_s"));
        let cut = Cut { clip_s: 1e-5, ..Cut::default() };
        assert!(cut.validate().is_ok());
        assert_eq!(
            cut.validate_at(16_000).unwrap_err().to_string(),
            "clip_s 0.00001 is invalid: must be from one sample (1/16000 s) to 86400, or 0 for \
             whole recordings"
        );
        for value in [f64::NAN, f64::INFINITY, 86_401.0] {
            assert!(Cut { hop_s: value, ..Cut::default() }.validate().is_err());
            assert!(Cut { min_rms: value, ..Cut::default() }.validate().is_err());
        }
    }
}
