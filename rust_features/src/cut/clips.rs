//! Recordings as clips of one length.

use std::sync::Arc;

use super::cutter::{
    ALL_SILENT, Batch, Form, NO_LABEL, PIECE_BYTES, Pace, Poll, Reason, Starts, Take, power, wanted,
};
use super::{Cut, Short};
use crate::error::Result;
use crate::extractor::{Extractor, Scratch};
use crate::parallel::{ScratchPool, extract_batch};

/// Samples that wait to be cut with [`Pace::Pieces`], at most, unless one clip is longer.
const PENDING_LEN: usize = 2 << 20;

/// Cuts one recording into clips that start every `hop_len` samples.
pub(super) struct Clips {
    cut: Cut,
    only: Starts,
    clip_len: usize,
    hop_len: usize,
    features: Features,
    /// The samples that a window may still need; the first of them is `pcm_start`.
    pcm: Vec<f32>,
    pcm_start: usize,
    /// Where the next window starts.
    next: usize,
    batch: Vec<f32>,
    /// Clips extracted at once: many, so that the lanes of a vector are full.
    batch_clips: usize,
    /// Samples worth cutting.
    pending_len: usize,
    n_clips: usize,
    n_silent: usize,
}

/// Extracts clips on one or many threads.
struct Features {
    extractor: Arc<Extractor>,
    threads: usize,
    scratch: Scratch,
    pool: ScratchPool,
}

impl Clips {
    pub fn new(extractor: Arc<Extractor>, cut: Cut, pace: Pace, threads: usize) -> Self {
        let rate = extractor.spec().sample_rate;
        let (clip_len, hop_len) = (cut.clip_len(rate), cut.hop_len(rate));
        let clip_bytes = 4 * extractor.n_frames(clip_len) * extractor.n_features();
        let (batch_clips, pending_len) = match pace {
            Pace::Pieces => {
                let n = (PIECE_BYTES / clip_bytes.max(1)).clamp(1, 256);
                (n, n.saturating_mul(clip_len).min(PENDING_LEN))
            }
            Pace::Soon(n) => (n.max(1), 0),
        };
        let (scratch, pool) = (extractor.scratch(), ScratchPool::default());
        Self {
            cut,
            only: None,
            clip_len,
            hop_len,
            features: Features { extractor, threads, scratch, pool },
            pcm: Vec::new(),
            pcm_start: 0,
            next: 0,
            batch: Vec::new(),
            batch_clips,
            pending_len,
            n_clips: 0,
            n_silent: 0,
        }
    }

    /// Extracts all windows that are complete.
    fn cut(&mut self, take: Take, poll: Poll) -> Result<()> {
        let (clip_len, hop_len) = (self.clip_len, self.hop_len);
        let end = self.pcm_start + self.pcm.len();
        // Clips that follow one another lie in `pcm` already as a batch must.
        let in_place = hop_len == clip_len && self.cut.min_rms == 0.0 && self.only.is_none();
        while self.next + clip_len <= end {
            let ready = (end - clip_len - self.next) / hop_len + 1;
            let n = ready.min(self.batch_clips);
            let pcm = &self.pcm[self.next - self.pcm_start..];
            let mut starts = Vec::with_capacity(n);
            let clips = if in_place {
                starts.extend((0..n).map(|i| self.next + i * hop_len));
                &pcm[..n * clip_len]
            } else {
                self.batch.clear();
                for i in 0..n {
                    if !wanted(&self.only, self.next + i * hop_len) {
                        continue;
                    }
                    let samples = &pcm[i * hop_len..][..clip_len];
                    if self.cut.is_silent(|| power(samples), samples.len()) {
                        self.n_silent += 1;
                    } else {
                        self.batch.extend_from_slice(samples);
                        starts.push(self.next + i * hop_len);
                    }
                }
                &self.batch[..]
            };
            self.n_clips += starts.len();
            self.features.extract(clips, starts, take, poll)?;
            self.next += n * hop_len;
        }
        // As long as `next` is 0, the recording may turn out to be a short one, and is kept.
        let used = (self.next - self.pcm_start).min(self.pcm.len());
        self.pcm.drain(..used);
        self.pcm_start += used;
        Ok(())
    }
}

impl Form for Clips {
    fn begin(&mut self, only: Starts) {
        self.only = only;
        self.pcm.clear();
        (self.pcm_start, self.next) = (0, 0);
        (self.n_clips, self.n_silent) = (0, 0);
    }

    fn pcm(&mut self) -> &mut Vec<f32> {
        &mut self.pcm
    }

    fn n_samples(&self) -> usize {
        self.pcm_start + self.pcm.len()
    }

    fn n_clips(&self) -> (usize, usize) {
        (self.n_clips, self.n_silent)
    }

    fn advance(&mut self, take: Take, poll: Poll) -> Result<Option<Reason>> {
        if self.pcm.len() >= self.pending_len {
            self.cut(take, poll)?;
        }
        Ok(None)
    }

    fn finish(&mut self, take: Take, poll: Poll) -> Result<Option<Reason>> {
        self.cut(take, poll)?;
        let Self { cut, only, clip_len, pcm, .. } = self;
        if self.next == 0 {
            // Only what was recorded counts: what fills the clip up would dilute it.
            if cut.short == Short::Drop {
                return Ok(Some("is shorter than one clip (--short drop)"));
            } else if !wanted(only, 0) {
                return Ok(Some(NO_LABEL));
            } else if cut.is_silent(|| power(pcm), pcm.len()) {
                self.n_silent = 1;
            } else {
                let recorded = pcm.len();
                while cut.short.repeats(pcm.len(), *clip_len) {
                    pcm.extend_from_within(..pcm.len().min(*clip_len - pcm.len()));
                }
                pcm.resize(*clip_len, 0.0);
                self.n_clips = 1;
                self.features.extract(pcm, vec![0], take, poll)?;
                pcm.truncate(recorded); // what filled the clip up is no part of the recording
            }
        }
        let why = if self.n_silent == 0 { NO_LABEL } else { ALL_SILENT };
        Ok((self.n_clips == 0).then_some(why))
    }
}

impl Features {
    /// Extracts the features of clips that start at `starts`, and hands them on.
    fn extract(&mut self, clips: &[f32], starts: Vec<usize>, take: Take, poll: Poll) -> Result<()> {
        if starts.is_empty() {
            return Ok(());
        }
        let Self { extractor, threads, scratch, pool } = self;
        let clip_len = clips.len() / starts.len();
        // Made anew, as it goes to the one who takes it.
        let n_values = starts.len() * extractor.n_frames(clip_len) * extractor.n_features();
        let mut features = vec![0.0; n_values];
        if *threads == 1 {
            extractor.extract_into(scratch, clips, clip_len, &mut features)?;
            poll()?;
        } else {
            extract_batch(extractor, pool, *threads, clips, clip_len, &mut features, poll)?;
        }
        take(Batch { starts, features })
    }
}
