//! A phrase: within the clip other recordings begin, as notes follow each other in music and calls in a
//! chorus. Whose they are, decides the one who knows the labels.
//!
//! At a change what sounds falls to a drawn level within [`FADE_S`] and goes on below what follows, as
//! a string or a room does. What follows is played from its beginning and at the pitch of the clip, as
//! loud as the clip's own recording, each by the mean square of its first second, but for a drawn gain;
//! by [`MOST_GAIN`] at most.

use serde::Serialize;

use super::draw::Draws;
use super::level;
use super::settings::Settings;
use super::window::Pcm;
use crate::simd::Isa;

/// Most notes that follow in a clip.
pub const MOST_FOLLOWING: usize = 3;
/// Time in which what sounded falls.
const FADE_S: f64 = 0.02;
/// What tells how loud a recording is.
const LOUDNESS_S: f64 = 1.0;
/// A recording that begins with little but noise is not raised without end.
pub(super) const MOST_GAIN: f64 = 100.0;

/// The plan.
pub(super) struct Phrase {
    p: f64,
    note_s: [f64; 2],
    gain_db: [f64; 2],
    rest_db: [f64; 2],
    sample_rate: f64,
}

/// The notes that follow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhraseDraw {
    /// In the order in which they begin.
    pub notes: Vec<NoteDraw>,
}

/// A note that follows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoteDraw {
    /// Sample of the clip at which it begins.
    pub at: usize,
    /// How much louder than the clip's own recording it is, in decibels.
    pub gain_db: f64,
    /// What is left of what sounded before, in decibels.
    pub rest_db: f64,
}

impl Phrase {
    pub fn new(settings: &Settings, sample_rate: u32) -> Self {
        Self {
            p: settings.phrase_p,
            note_s: settings.phrase_note_s,
            gain_db: settings.phrase_gain_db,
            rest_db: settings.phrase_rest_db,
            sample_rate: sample_rate.into(),
        }
    }

    /// The clip begins within a note; those after it last as long as is drawn for each. None
    /// where that one lasts beyond the clip.
    pub fn draw(&self, mut draws: Draws, clip_len: usize) -> Option<PhraseDraw> {
        if !draws.chance(self.p) {
            return None;
        }
        let mut notes = Vec::with_capacity(MOST_FOLLOWING);
        let mut at_s = draws.log_uniform(self.note_s) * draws.unit();
        while notes.len() < MOST_FOLLOWING {
            let at = (at_s * self.sample_rate) as usize;
            if at >= clip_len {
                break;
            }
            let (gain_db, rest_db) = (draws.uniform(self.gain_db), draws.uniform(self.rest_db));
            notes.push(NoteDraw { at, gain_db, rest_db });
            at_s += draws.log_uniform(self.note_s);
        }
        (!notes.is_empty()).then_some(PhraseDraw { notes })
    }

    /// Mean square of a recording's first second. `buffer` is overwritten.
    pub fn loudness(&self, isa: Isa, recording: Pcm, buffer: &mut Vec<f32>) -> f64 {
        let n = recording.len().min((LOUDNESS_S * self.sample_rate) as usize);
        buffer.resize(n, 0.0);
        recording.read(isa, 0, false, buffer);
        level::power(isa, buffer)
    }

    /// Lets `sounding`, the clip from the change on, fall, and adds `note` times `gain`.
    pub fn join(&self, isa: Isa, draw: &NoteDraw, sounding: &mut [f32], note: &[f32], gain: f64) {
        let rest = 10f64.powf(draw.rest_db / 20.0);
        let n_fade = (FADE_S * self.sample_rate) as usize;
        let (fading, after) = sounding.split_at_mut(n_fade.min(sounding.len()));
        for (i, x) in fading.iter_mut().enumerate() {
            *x *= (1.0 - (1.0 - rest) * (i + 1) as f64 / n_fade as f64) as f32;
        }
        let (first, later) = note.split_at(fading.len());
        level::blend(isa, fading, 1.0, first, gain as f32);
        level::blend(isa, after, rest as f32, later, gain as f32);
    }
}
