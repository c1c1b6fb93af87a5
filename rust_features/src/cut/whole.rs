//! Recordings as one clip each, of their own length.

use std::sync::Arc;

use super::Cut;
use super::cutter::{
    ALL_SILENT, Batch, Form, NO_LABEL, PIECE_BYTES, Pace, Poll, Reason, Starts, Take, power, wanted,
};
use crate::error::Result;
use crate::extractor::Extractor;
use crate::stream::Stream;

/// With [`Pace::Soon`] a whole recording is held until its end; so is what a network makes of it, many
/// times larger.
const LONGEST_S: usize = 600;
const TOO_LONG: Reason = "is longer than 600 s; a model of whole recordings takes no more";

/// Turns one recording into one clip of its own length, frame by frame.
///
/// A spec that needs the whole clip (top_db, deltas, normalisation) holds the recording's features
/// until its end; any other holds a few frames only.
pub(super) struct Whole {
    cut: Cut,
    only: Starts,
    pace: Pace,
    extractor: Arc<Extractor>,
    stream: Stream,
    pcm: Vec<f32>,
    rows: Vec<f32>,
    n_sent: usize,
    power: f64,
    n_samples: usize,
    n_clips: usize,
    n_silent: usize,
}

impl Whole {
    pub fn new(extractor: Arc<Extractor>, cut: Cut, pace: Pace) -> Self {
        Self {
            cut,
            only: None,
            pace,
            stream: Stream::new(&extractor),
            extractor,
            pcm: Vec::new(),
            rows: Vec::new(),
            n_sent: 0,
            power: 0.0,
            n_samples: 0,
            n_clips: 0,
            n_silent: 0,
        }
    }

    /// Takes the samples in `pcm`. Returns why nothing can come of the recording, if so.
    fn push(&mut self) -> Result<Option<Reason>> {
        self.n_samples += self.pcm.len();
        let longest = LONGEST_S * self.extractor.spec().sample_rate as usize;
        if matches!(self.pace, Pace::Soon(_)) && self.n_samples > longest {
            return Ok(Some(TOO_LONG));
        }
        if self.cut.min_rms > 0.0 {
            self.power += power(&self.pcm);
        }
        self.stream.push(&self.extractor, &self.pcm, &mut self.rows)?;
        self.pcm.clear();
        Ok(None)
    }

    fn flush(&mut self, take: Take) -> Result<()> {
        self.n_sent += self.rows.len();
        take(Batch { starts: Vec::new(), features: std::mem::take(&mut self.rows) })
    }
}

impl Form for Whole {
    fn begin(&mut self, only: Starts) {
        *self = Self::new(self.extractor.clone(), self.cut.clone(), self.pace);
        self.only = only;
    }

    fn pcm(&mut self) -> &mut Vec<f32> {
        &mut self.pcm
    }

    fn n_samples(&self) -> usize {
        self.n_samples + self.pcm.len()
    }

    fn n_clips(&self) -> (usize, usize) {
        (self.n_clips, self.n_silent)
    }

    fn advance(&mut self, take: Take, poll: Poll) -> Result<Option<Reason>> {
        if let Some(reason) = self.push()? {
            return Ok(Some(reason));
        }
        poll()?;
        if matches!(self.pace, Pace::Pieces) && 4 * self.rows.len() >= PIECE_BYTES {
            self.flush(take)?;
        }
        Ok(None)
    }

    fn finish(&mut self, take: Take, _: Poll) -> Result<Option<Reason>> {
        if let Some(reason) = self.push()? {
            return Ok(Some(reason));
        }
        self.stream.finish(&self.extractor, &mut self.rows)?;
        if !wanted(&self.only, 0) {
            return Ok(Some(NO_LABEL));
        }
        if self.cut.is_silent(|| self.power, self.n_samples) {
            self.n_silent = 1;
            return Ok(Some(ALL_SILENT));
        }
        if self.n_sent + self.rows.len() == 0 {
            return Ok(Some("is shorter than one frame"));
        }
        self.flush(take)?;
        self.n_clips = 1;
        Ok(None)
    }
}
