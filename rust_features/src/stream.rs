//! Features of a signal that arrives in pieces, bit for bit equal to those of the whole.

use crate::error::Result;
use crate::extractor::{Extractor, Group, Scratch};
use crate::finite;
use crate::frame::Signal;

/// A signal in the making. Specs that need the whole clip (`top_db`, deltas, normalisation)
/// deliver everything at [`Stream::finish`]; all others deliver frames as they complete.
pub struct Stream {
    scratch: Scratch,
    /// The samples that later frames can still need.
    samples: Vec<f32>,
    /// Index of the first of them in the signal.
    base: usize,
    next_frame: usize,
    group: Group,
    /// Frames kept for the second pass, if the spec needs the whole clip.
    kept: Group,
}

impl Stream {
    /// A stream at its beginning, for this extractor only.
    pub fn new(extractor: &Extractor) -> Self {
        Self {
            scratch: extractor.scratch(),
            samples: Vec::new(),
            base: 0,
            next_frame: 0,
            group: Group::default(),
            kept: Group::default(),
        }
    }

    /// Appends the frames that these samples complete to `out`, `[frames][n_features]`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::error::Error::Setting) for a sample that is not finite: nothing of the chunk is
    /// taken.
    pub fn push(&mut self, extractor: &Extractor, chunk: &[f32], out: &mut Vec<f32>) -> Result<()> {
        finite::check(chunk, self.len(), usize::MAX, 1)?;
        self.samples.extend_from_slice(chunk);
        let framing = extractor.framing();
        let n = self.len();
        if framing.check(n).is_err() {
            return Ok(());
        }
        // A frame is complete when it reaches no further than the samples that are there.
        let mut end = self.next_frame;
        let total = framing.n_frames(n);
        while end < total && framing.samples_of(end).end <= n {
            end += 1;
        }
        self.advance(extractor, end, out);

        let needed = framing.samples_of(self.next_frame).start;
        // One more, which pre-emphasis subtracts.
        let keep_from = needed.min(n.saturating_sub(framing.mirrored())).saturating_sub(1);
        if keep_from > self.base + self.samples.len() / 2 {
            self.samples.drain(..(keep_from - self.base).min(self.samples.len()));
            self.base = keep_from.min(n);
        }
        Ok(())
    }

    /// Appends the remaining frames; the stream is then at the beginning of another signal.
    ///
    /// # Errors
    /// As [`Extractor::check_length`], for the whole signal.
    pub fn finish(&mut self, extractor: &Extractor, out: &mut Vec<f32>) -> Result<()> {
        let n = self.len();
        let checked = extractor.check_length(n);
        if checked.is_ok() {
            let total = extractor.n_frames(n);
            self.advance(extractor, total, out);
            if extractor.spec().needs_whole_clip() && total > 0 {
                let start = out.len();
                out.resize(start + total * extractor.n_features(), 0.0);
                let clip = &mut out[start..];
                let max = self.kept.max();
                self.kept.finish(extractor, max, clip);
                extractor.finish_clip(clip);
            }
        }
        self.samples.clear();
        self.kept = Group::default();
        (self.base, self.next_frame) = (0, 0);
        checked
    }

    /// Samples that have come.
    fn len(&self) -> usize {
        self.base + self.samples.len()
    }

    /// Computes the frames up to `end`.
    fn advance(&mut self, extractor: &Extractor, end: usize, out: &mut Vec<f32>) {
        let count = end - self.next_frame;
        if count == 0 {
            return;
        }
        let signal = Signal { samples: &self.samples, base: self.base, len: self.len() };
        let frames = self.next_frame..end;
        let start = out.len();
        out.resize(start + count * extractor.n_features(), 0.0);
        let rows = &mut out[start..];
        let group = &mut self.group;
        extractor.first_pass(&mut self.scratch, |_| signal, usize::MAX, frames, group, rows);
        if extractor.spec().needs_whole_clip() {
            self.kept.extend(group, rows);
            out.truncate(start);
        } else {
            group.finish(extractor, None, rows);
        }
        self.next_frame = end;
    }
}
