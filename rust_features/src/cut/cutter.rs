//! The samples of a recording, piece by piece → where its clips start, and their features.

use std::ops::Range;
use std::sync::Arc;

use super::Cut;
use super::clips::Clips;
use super::whole::Whole;
use crate::error::Result;
use crate::extractor::Extractor;

/// [`Pace::Pieces`] are of about this many bytes.
pub(super) const PIECE_BYTES: usize = 2 << 20;

pub(super) const ALL_SILENT: Reason = "all of it is quieter than --min-rms";
pub(super) const NO_LABEL: Reason = "no clip of it has a label";

/// Where clips may start, in samples: ranges in order that do not touch. None: anywhere.
pub type Starts = Option<Arc<[Range<usize>]>>;

/// When a [`Cutter`] hands on what is complete.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// In large pieces, also of a whole recording: for a writer.
    Pieces,
    /// As soon as a clip is complete, at most so many at a time; a whole recording at its end: for
    /// someone who waits.
    Soon(usize),
}

/// Clips that are complete.
pub struct Batch {
    /// Where they start, in samples. Empty: these are frames, the next of those of the one clip that
    /// is the recording.
    pub starts: Vec<usize>,
    /// Their features, `[n][frames][features]`.
    pub features: Vec<f32>,
}

/// Takes clips that are complete.
pub type Take<'t> = &'t mut dyn FnMut(Batch) -> Result<()>;
/// Is called now and then; its error stops the work.
pub type Poll<'p> = &'p mut dyn FnMut() -> Result<()>;
/// Why a recording gives no clip, with the recording as the subject: "is shorter than one frame".
pub type Reason = &'static str;

/// Cuts one recording after another, and extracts the features of its clips. It knows nothing of what
/// the clips are for: `extract`, `predict` and `stream` see the same ones.
pub struct Cutter(Box<dyn Form>);

/// What recordings are turned into.
pub(super) trait Form: Send + Sync {
    fn begin(&mut self, only: Starts);
    fn pcm(&mut self) -> &mut Vec<f32>;
    fn n_samples(&self) -> usize;
    fn n_clips(&self) -> (usize, usize);
    fn advance(&mut self, take: Take, poll: Poll) -> Result<Option<Reason>>;
    fn finish(&mut self, take: Take, poll: Poll) -> Result<Option<Reason>>;
}

impl Cutter {
    /// At the beginning of a recording. The cut must fit the extractor, as [`dataset::check`] finds.
    ///
    /// [`dataset::check`]: crate::dataset::check
    pub fn new(extractor: Arc<Extractor>, cut: &Cut, pace: Pace, threads: usize) -> Self {
        if cut.takes_whole() {
            Self(Box::new(Whole::new(extractor, cut.clone(), pace)))
        } else {
            Self(Box::new(Clips::new(extractor, cut.clone(), pace, threads)))
        }
    }

    /// Forgets the recording: the next samples are those of another one, of which `only` the clips
    /// that start there are wanted.
    pub fn begin(&mut self, only: Starts) {
        self.0.begin(only);
    }

    /// The buffer to which the next samples are appended, before [`advance`](Self::advance).
    pub fn pcm(&mut self) -> &mut Vec<f32> {
        self.0.pcm()
    }

    /// Samples of the recording so far.
    pub fn n_samples(&self) -> usize {
        self.0.n_samples()
    }

    /// Clips handed on, and clips left out as silent.
    pub fn n_clips(&self) -> (usize, usize) {
        self.0.n_clips()
    }

    /// Hands on what is complete by now. Returns why nothing can come of the recording, if so.
    ///
    /// # Errors
    /// Those of the extractor, of `take` and of `poll`. Then [`begin`](Self::begin) anew.
    pub fn advance(&mut self, take: Take, poll: Poll) -> Result<Option<Reason>> {
        self.0.advance(take, poll)
    }

    /// Ends the recording and hands on the rest; [`begin`](Self::begin) the next one. Returns why there
    /// is no clip at all, if so.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn finish(&mut self, take: Take, poll: Poll) -> Result<Option<Reason>> {
        if self.n_samples() == 0 {
            return Ok(Some("holds no samples"));
        }
        self.0.finish(take, poll)
    }
}

/// Whether a clip may start at sample `start`.
pub(super) fn wanted(only: &Starts, start: usize) -> bool {
    only.as_ref().is_none_or(|ranges| {
        let after = ranges.partition_point(|range| range.start <= start);
        after > 0 && ranges[after - 1].contains(&start)
    })
}

/// Sum of squares.
pub(super) fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|&y| f64::from(y) * f64::from(y)).sum()
}
