//! The samples of one recording, block by block → clips → rows of features.

use super::{Rows, Settings, Short};
use crate::Result;
use crate::extractor::{Extractor, Scratch};
use crate::stream::Stream;

/// Rows are sent on in pieces of about this many bytes.
const PIECE_BYTES: usize = 2 << 20;

/// Samples that wait to be cut, at most, unless one clip is longer.
const PENDING_LEN: usize = 2 << 20;

/// Takes finished rows.
pub(super) type Send<'s> = &'s mut dyn FnMut(Rows) -> Result<()>;

/// What a recording is turned into.
pub(super) trait Segmenter {
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
}

impl Buffers {
    pub fn new(extractor: &Extractor) -> Self {
        Self { scratch: extractor.scratch(), pcm: Vec::new(), batch: Vec::new() }
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
    /// Clips extracted at once: many, so that the lanes of a vector are full.
    batch_clips: usize,
    /// Samples worth cutting.
    pending_len: usize,
    n_clips: usize,
    n_silent: usize,
}

impl<'a> Clips<'a> {
    pub fn new(extractor: &'a Extractor, settings: &'a Settings, buffers: &'a mut Buffers) -> Self {
        buffers.pcm.clear();
        let (clip_len, hop) = settings.clip_and_hop(extractor.spec());
        let clip_bytes = 4 * extractor.n_frames(clip_len) * extractor.n_features();
        let batch_clips = (PIECE_BYTES / clip_bytes.max(1)).clamp(1, 256);
        Self {
            extractor,
            settings,
            clip_len,
            hop,
            buffers,
            pcm_start: 0,
            next: 0,
            batch_clips,
            pending_len: batch_clips.saturating_mul(clip_len).min(PENDING_LEN),
            n_clips: 0,
            n_silent: 0,
        }
    }

    /// Extracts all windows that are complete.
    fn cut(&mut self, send: Send) -> Result<()> {
        let end = self.pcm_start + self.buffers.pcm.len();
        // Clips that follow one another lie in `pcm` already as a batch must.
        let in_place = self.hop == self.clip_len && self.settings.min_rms == 0.0;
        while self.next + self.clip_len <= end {
            let ready = (end - self.clip_len - self.next) / self.hop + 1;
            let n = ready.min(self.batch_clips);
            let Buffers { scratch, pcm, batch } = &mut *self.buffers;
            let pcm = &pcm[self.next - self.pcm_start..];
            let mut starts = Vec::with_capacity(n);
            let clips = if in_place {
                starts.extend((0..n).map(|i| self.next + i * self.hop));
                &pcm[..n * self.clip_len]
            } else {
                batch.clear();
                for i in 0..n {
                    let samples = &pcm[i * self.hop..][..self.clip_len];
                    if self.settings.is_silent(|| power(samples), samples.len()) {
                        self.n_silent += 1;
                    } else {
                        batch.extend_from_slice(samples);
                        starts.push(self.next + i * self.hop);
                    }
                }
                &batch[..]
            };
            self.n_clips += starts.len();
            extract(self.extractor, self.settings, scratch, clips, starts, send)?;
            self.next += n * self.hop;
        }
        // As long as `next` is 0, the recording may turn out to be a short one, and is kept.
        let used = (self.next - self.pcm_start).min(self.buffers.pcm.len());
        self.buffers.pcm.drain(..used);
        self.pcm_start += used;
        Ok(())
    }
}

impl Segmenter for Clips<'_> {
    fn pcm(&mut self) -> &mut Vec<f32> {
        &mut self.buffers.pcm
    }

    fn advance(&mut self, send: Send) -> Result<()> {
        if self.buffers.pcm.len() < self.pending_len { Ok(()) } else { self.cut(send) }
    }

    fn finish(&mut self, send: Send) -> Result<Option<&'static str>> {
        self.cut(send)?;
        let Buffers { scratch, pcm, .. } = &mut *self.buffers;
        if self.next == 0 {
            // Only what was recorded counts: what fills the clip up would dilute it.
            if self.settings.short == Short::Drop {
                return Ok(Some("is shorter than one clip (--short drop)"));
            } else if self.settings.is_silent(|| power(pcm), pcm.len()) {
                self.n_silent = 1;
            } else {
                while self.settings.short == Short::Repeat && pcm.len() < self.clip_len {
                    pcm.extend_from_within(..pcm.len().min(self.clip_len - pcm.len()));
                }
                pcm.resize(self.clip_len, 0.0);
                self.n_clips = 1;
                extract(self.extractor, self.settings, scratch, pcm, vec![0], send)?;
            }
        }
        Ok((self.n_clips == 0).then_some("all of it is quieter than --min-rms"))
    }

    fn n_clips(&self) -> (usize, usize) {
        (self.n_clips, self.n_silent)
    }
}

/// Extracts the features of clips that start at `starts`, and sends them.
fn extract(
    extractor: &Extractor,
    settings: &Settings,
    scratch: &mut Scratch,
    clips: &[f32],
    starts: Vec<usize>,
    send: Send,
) -> Result<()> {
    if starts.is_empty() {
        return Ok(());
    }
    let clip_len = clips.len() / starts.len();
    // Made anew, as it goes to the writer.
    let n_values = starts.len() * extractor.n_frames(clip_len) * extractor.n_features();
    let mut features = vec![0.0; n_values];
    extractor.extract_into(scratch, clips, clip_len, &mut features)?;
    send(Rows { values: settings.dtype.values(features), starts })
}

/// Turns one recording into one clip of its own length, frame by frame.
///
/// A spec that needs the whole clip (top_db, deltas, normalisation) holds the recording's features
/// until its end; any other holds a few frames only.
pub(super) struct WholeRecording<'a> {
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

impl<'a> WholeRecording<'a> {
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
        let values = self.settings.dtype.values(std::mem::take(&mut self.rows));
        send(Rows { values, starts: Vec::new() })
    }
}

impl Segmenter for WholeRecording<'_> {
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
        if self.settings.is_silent(|| self.power, self.n_samples) {
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
