//! The samples of one recording, block by block → clips → rows of features.

use super::{Rows, Settings, Short};
use crate::Result;
use crate::extractor::{Extractor, Scratch};
use crate::stream::Stream;

/// Rows are sent on in pieces of about this many bytes.
const PIECE_BYTES: usize = 2 << 20;

/// Takes finished rows.
pub(super) type Send<'s> = &'s mut dyn FnMut(Rows) -> Result<()>;

/// What a recording is turned into.
pub(super) trait Cut {
    /// The buffer to which the next samples are appended, before [`advance`](Self::advance).
    fn pcm(&mut self) -> &mut Vec<f32>;
    /// Sends what is complete by now.
    fn advance(&mut self, send: Send) -> Result<()>;
    /// Ends the recording and sends the rest. Returns why there is no clip at all, if so.
    fn finish(&mut self, send: Send) -> Result<Option<&'static str>>;
    /// Clips sent on, and clips left out as silent.
    fn n_clips(&self) -> (usize, usize);
}

/// What a worker needs for one recording after another.
pub(super) struct Buffers {
    scratch: Scratch,
    pcm: Vec<f32>,
    batch: Vec<f32>,
    features: Vec<f32>,
}

impl Buffers {
    pub fn new(extractor: &Extractor) -> Self {
        Self {
            scratch: extractor.scratch(),
            pcm: Vec::new(),
            batch: Vec::new(),
            features: Vec::new(),
        }
    }
}

/// Cuts one recording into clips of one length and extracts their features.
///
/// Clips start every `hop` samples, all of the same length. A last window that is not full is left
/// out, so that no clip of a long recording is partly made up; a recording shorter than one clip is
/// treated as [`Short`] says.
pub(super) struct Clips<'a> {
    extractor: &'a Extractor,
    settings: &'a Settings,
    clip_len: usize,
    hop: usize,
    /// `pcm` holds the samples that a window may still need; the first of them is `pcm_start`.
    buffers: &'a mut Buffers,
    pcm_start: usize,
    /// Where the next window starts.
    next: usize,
    starts: Vec<usize>,
    batch_clips: usize,
    n_clips: usize,
    n_silent: usize,
}

impl<'a> Clips<'a> {
    pub fn new(extractor: &'a Extractor, settings: &'a Settings, buffers: &'a mut Buffers) -> Self {
        buffers.pcm.clear();
        buffers.batch.clear();
        let (clip_len, hop) = settings.clip_and_hop(extractor.spec());
        let clip_bytes = 4 * extractor.n_frames(clip_len) * extractor.n_features();
        Self {
            extractor,
            settings,
            clip_len,
            hop,
            buffers,
            pcm_start: 0,
            next: 0,
            starts: Vec::new(),
            batch_clips: (PIECE_BYTES / clip_bytes.max(1)).clamp(1, 256),
            n_clips: 0,
            n_silent: 0,
        }
    }

    fn push_clip(&mut self, samples: std::ops::Range<usize>, send: Send) -> Result<()> {
        let Buffers { pcm, batch, .. } = &mut *self.buffers;
        let samples = &pcm[samples];
        // Of a short recording only what was recorded counts: padding would dilute it.
        if self.settings.min_rms > 0.0
            && is_silent(power(samples), samples.len(), self.settings.min_rms)
        {
            self.n_silent += 1;
            return Ok(());
        }
        let end = batch.len() + self.clip_len;
        batch.extend_from_slice(samples);
        if self.settings.short == Short::Repeat {
            while batch.len() < end {
                let missing = end - batch.len();
                batch.extend_from_slice(&samples[..missing.min(samples.len())]);
            }
        }
        batch.resize(end, 0.0);
        self.starts.push(self.next);
        if self.starts.len() == self.batch_clips { self.flush(send) } else { Ok(()) }
    }

    fn flush(&mut self, send: Send) -> Result<()> {
        if self.starts.is_empty() {
            return Ok(());
        }
        let Buffers { scratch, batch, features, .. } = &mut *self.buffers;
        let n_frames = self.extractor.n_frames(self.clip_len);
        features.resize(self.starts.len() * n_frames * self.extractor.n_features(), 0.0);
        self.extractor.extract_into(scratch, batch, self.clip_len, features)?;
        batch.clear();
        self.n_clips += self.starts.len();
        let starts = std::mem::take(&mut self.starts);
        send(Rows { bytes: self.settings.dtype.bytes(features), starts })
    }
}

impl Cut for Clips<'_> {
    fn pcm(&mut self) -> &mut Vec<f32> {
        &mut self.buffers.pcm
    }

    fn advance(&mut self, send: Send) -> Result<()> {
        let end = self.pcm_start + self.buffers.pcm.len();
        while self.next + self.clip_len <= end {
            let at = self.next - self.pcm_start;
            self.push_clip(at..at + self.clip_len, send)?;
            self.next += self.hop;
        }
        // As long as `next` is 0, the recording may turn out to be a short one, and is kept.
        let used = (self.next - self.pcm_start).min(self.buffers.pcm.len());
        self.buffers.pcm.drain(..used);
        self.pcm_start += used;
        Ok(())
    }

    fn finish(&mut self, send: Send) -> Result<Option<&'static str>> {
        self.advance(send)?;
        if self.next == 0 {
            match self.settings.short {
                Short::Drop => return Ok(Some("is shorter than one clip (--short drop)")),
                Short::Pad | Short::Repeat => self.push_clip(0..self.buffers.pcm.len(), send)?,
            }
        }
        self.flush(send)?;
        Ok((self.n_clips == 0).then_some("all of it is quieter than --min-rms"))
    }

    fn n_clips(&self) -> (usize, usize) {
        (self.n_clips, self.n_silent)
    }
}

/// Turns one recording into one clip of its own length, frame by frame.
///
/// A spec that needs the whole clip (top_db, deltas, normalisation) holds the recording's features
/// until its end; any other holds a few frames only.
pub(super) struct Whole<'a> {
    extractor: &'a Extractor,
    settings: &'a Settings,
    stream: Stream,
    pcm: Vec<f32>,
    rows: Vec<f32>,
    n_sent: usize,
    power: f64,
    n_samples: usize,
    n_clips: usize,
    n_silent: usize,
}

impl<'a> Whole<'a> {
    pub fn new(extractor: &'a Extractor, settings: &'a Settings) -> Self {
        Self {
            extractor,
            settings,
            stream: Stream::new(extractor),
            pcm: Vec::new(),
            rows: Vec::new(),
            n_sent: 0,
            power: 0.0,
            n_samples: 0,
            n_clips: 0,
            n_silent: 0,
        }
    }

    fn push(&mut self) -> Result<()> {
        if self.settings.min_rms > 0.0 {
            self.power += power(&self.pcm);
        }
        self.n_samples += self.pcm.len();
        self.stream.push(self.extractor, &self.pcm, &mut self.rows)?;
        self.pcm.clear();
        Ok(())
    }

    fn flush(&mut self, send: Send) -> Result<()> {
        self.n_sent += self.rows.len();
        let bytes = self.settings.dtype.bytes(&self.rows);
        self.rows.clear();
        send(Rows { bytes, starts: Vec::new() })
    }
}

impl Cut for Whole<'_> {
    fn pcm(&mut self) -> &mut Vec<f32> {
        &mut self.pcm
    }

    fn advance(&mut self, send: Send) -> Result<()> {
        self.push()?;
        if 4 * self.rows.len() >= PIECE_BYTES { self.flush(send) } else { Ok(()) }
    }

    fn finish(&mut self, send: Send) -> Result<Option<&'static str>> {
        self.push()?;
        self.stream.finish(self.extractor, &mut self.rows)?;
        if self.settings.min_rms > 0.0
            && is_silent(self.power, self.n_samples, self.settings.min_rms)
        {
            self.n_silent = 1;
            return Ok(Some("all of it is quieter than --min-rms"));
        }
        self.flush(send)?;
        if self.n_sent == 0 {
            return Ok(Some("is shorter than one frame"));
        }
        self.n_clips = 1;
        Ok(None)
    }

    fn n_clips(&self) -> (usize, usize) {
        (self.n_clips, self.n_silent)
    }
}

/// Sum of squares.
fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|&y| f64::from(y) * f64::from(y)).sum()
}

/// Whether the root mean square is below `min_rms`.
fn is_silent(power: f64, n_samples: usize, min_rms: f32) -> bool {
    (power / n_samples as f64).sqrt() < f64::from(min_rms)
}
