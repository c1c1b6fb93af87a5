//! A whole data set: recordings → decode → resample → clips → features → shards on disk.
//!
//! Workers take recordings in order and run all steps on one recording at a time, block by block, so
//! that a recording is never held whole. One writer puts their results on disk in the order of the
//! recordings. So the bytes of a shard depend on its recordings and settings only: not on the number
//! of threads, nor on interruptions.

mod recording;
mod reorder;
mod shard;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use half::slice::HalfFloatSliceExt;
use serde::Serialize;

use crate::cut::{Cut, Cutter, Pace, Starts};
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::extractor::Extractor;
use crate::frame::Framing;
use crate::spec::{FeatureSpec, Kind};
use reorder::ReorderBuffer;
use shard::ShardWriter;

/// The most values of one clip: 1 GiB.
const MAX_CLIP_VALUES: usize = 1 << 28;

/// How long the end of a run waits for workers that are still reading.
const PATIENCE: Duration = Duration::from_secs(3);

/// Finished rows that may wait for the writer.
const BUDGET_BYTES: usize = 64 << 20;

/// Type of the values on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 4 bytes.
    Float32,
    /// 2 bytes, rounded to nearest.
    Float16,
    /// 2 bytes, samples only: full scale is 32768, what lies beyond is clipped.
    Int16,
}

impl Dtype {
    /// The one of that name.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is none.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(Self::Float32),
            "float16" => Ok(Self::Float16),
            "int16" => Ok(Self::Int16),
            _ => Err(Error::setting("dtype", name, "must be float32, float16 or int16")),
        }
    }

    fn descr(self) -> &'static str {
        match self {
            Self::Float32 => "f4",
            Self::Float16 => "f2",
            Self::Int16 => "i2",
        }
    }

    fn values(self, values: Vec<f32>) -> Values {
        match self {
            Self::Float32 => Values::Float32(values),
            Self::Float16 => {
                let mut halves = vec![half::f16::ZERO; values.len()];
                halves.convert_from_f32_slice(&values);
                Values::Float16(halves)
            }
            Self::Int16 => {
                // The conversion saturates.
                let whole = |x: f32| (x * 32768.0).round_ties_even() as i16;
                Values::Int16(values.into_iter().map(whole).collect())
            }
        }
    }
}

/// What is made of each recording.
#[derive(Clone, Debug)]
pub struct Content {
    /// The features.
    pub spec: FeatureSpec,
    /// The clips.
    pub cut: Cut,
    /// Type of the values on disk.
    pub dtype: Dtype,
}

/// Where the samples of a recording come from.
#[derive(Clone, Debug)]
pub enum ListedSource {
    /// A file, with the size and time of change that it had when it was listed.
    File {
        /// Its path.
        path: PathBuf,
        /// Its size.
        n_bytes: u64,
        /// Its time of change, in nanoseconds since 1970.
        mtime_ns: i64,
    },
    /// Bytes that [`Fallback::bytes`] supplies.
    Bytes,
    /// Nowhere, for this reason: found when it was listed.
    Unusable(String),
}

/// A recording of the data set.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its samples.
    pub source: ListedSource,
    /// Where its clips may start.
    pub only: Starts,
}

/// A shard that is to be written.
#[derive(Clone, Debug)]
pub struct PlannedShard {
    /// It gives the name of the file.
    pub number: usize,
    /// Its recordings, as indices of all.
    pub recordings: Range<usize>,
}

/// What the caller supplies for recordings that this crate cannot reach or decode.
pub trait Fallback: Send + Sync {
    /// The bytes of recording `id`, and a name for it.
    ///
    /// # Errors
    /// Why there are none.
    fn bytes(&self, id: usize) -> std::result::Result<(Vec<u8>, String), String>;
    /// Recording `id`, which this crate could not decode, decoded by other means; None if they cannot
    /// either.
    ///
    /// # Errors
    /// Why those means had to be stopped.
    fn decode(&self, id: usize) -> std::result::Result<Option<Decoder>, String>;
}

/// What became of a recording.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    id: usize,
    status: &'static str,
    error: String,
    duration_s: Option<f64>,
    sample_rate: Option<u32>,
    channels: Option<usize>,
    n_clips: usize,
    n_silent: usize,
    /// Root mean square of the mono samples in dB, full scale 0; silence -200.
    level_db: Option<f64>,
    /// XXH3 (128 bit) of the mono samples at the recording's own rate: equal for the same audio in
    /// another lossless format, or with other tags.
    audio_hash: String,
}

/// Values as they go to disk.
enum Values {
    Float32(Vec<f32>),
    Float16(Vec<half::f16>),
    Int16(Vec<i16>),
}

impl Values {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Float32(values) => bytemuck::cast_slice(values),
            Self::Float16(values) => bytemuck::cast_slice(values),
            Self::Int16(values) => bytemuck::cast_slice(values),
        }
    }
}

/// Finished rows of the clips that start at `starts`.
struct Piece {
    values: Values,
    starts: Vec<usize>,
}

/// From a worker to the writer.
enum Message {
    Piece(Piece),
    /// Forget the rows of this recording; it is being decoded again by other means.
    Retract,
    End(Outcome),
}

/// What has been done so far.
#[derive(Default)]
struct Counters {
    recordings: AtomicUsize,
    failed: AtomicUsize,
    clips: AtomicUsize,
    audio_us: AtomicU64,
}

/// A moment's reading of the counters.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Recordings that are finished, the failed ones among them.
    pub recordings: usize,
    /// Recordings that failed.
    pub failed: usize,
    /// Clips extracted.
    pub clips: usize,
    /// Seconds of audio decoded.
    pub audio_s: f64,
}

/// The work to do: fixed while it runs.
struct Job {
    extractor: Arc<Extractor>,
    cut: Cut,
    dtype: Dtype,
    listed: Vec<Listed>,
    fallback: Box<dyn Fallback>,
    folder: PathBuf,
    shards: Vec<PlannedShard>,
    /// The recordings of these shards, in order.
    recordings: Vec<usize>,
    next: AtomicUsize,
    order: ReorderBuffer<Message>,
    cancelled: AtomicBool,
    counters: Counters,
}

/// A running extraction. It works on threads of its own, made for this run: a pool that is kept would
/// be dead in a forked child. Dropping it cancels it.
pub struct Extraction {
    job: Arc<Job>,
    threads: Vec<JoinHandle<()>>,
    outcome: Arc<(Mutex<Option<Result<()>>>, Condvar)>,
}

impl Extraction {
    /// Starts to write `shards` of the `listed` recordings into `folder` with
    /// `n_threads` workers.
    ///
    /// # Errors
    /// [`Error::Setting`] for an impossible spec or setting; [`Error::Io`] if a thread cannot start.
    pub fn start(
        content: Content,
        listed: Vec<Listed>,
        fallback: Box<dyn Fallback>,
        folder: &Path,
        shards: Vec<PlannedShard>,
        n_threads: usize,
    ) -> Result<Self> {
        let extractor = Arc::new(check(&content)?);
        if n_threads == 0 {
            return Err(Error::setting("threads", n_threads, "must be >= 1"));
        }
        let recordings: Vec<usize> =
            shards.iter().flat_map(|shard| shard.recordings.clone()).collect();
        assert!(recordings.iter().all(|&id| id < listed.len()), "shards name known recordings");
        let job = Arc::new(Job {
            extractor,
            cut: content.cut,
            dtype: content.dtype,
            listed,
            fallback,
            folder: folder.to_owned(),
            shards,
            recordings,
            next: AtomicUsize::new(0),
            order: ReorderBuffer::new(BUDGET_BYTES),
            cancelled: AtomicBool::new(false),
            counters: Counters::default(),
        });
        let mut extraction = Self { job, threads: Vec::new(), outcome: Arc::default() };
        extraction.spawn("audiocls-writer", {
            let (job, outcome) = (extraction.job.clone(), extraction.outcome.clone());
            move || {
                let result = job.write();
                // Workers must not go on for a writer that has stopped.
                job.cancel();
                *outcome.0.lock().expect("no panic under the lock") = Some(result);
                outcome.1.notify_all();
            }
        })?;
        for _ in 0..n_threads {
            let job = extraction.job.clone();
            extraction.spawn("audiocls-worker", move || job.work())?;
        }
        Ok(extraction)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work);
        self.threads
            .push(thread.map_err(|source| Error::Io { path: self.job.folder.clone(), source })?);
        Ok(())
    }

    /// Waits until the work has ended, at most for `timeout`; whether it has.
    pub fn wait(&self, timeout: Duration) -> bool {
        let outcome = self.outcome.0.lock().expect("no panic under the lock");
        let (outcome, _) = self
            .outcome
            .1
            .wait_timeout_while(outcome, timeout, |outcome| outcome.is_none())
            .expect("no panic under the lock");
        outcome.is_some()
    }

    /// What has been done so far.
    pub fn progress(&self) -> Progress {
        let counters = &self.job.counters;
        Progress {
            recordings: counters.recordings.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            clips: counters.clips.load(Relaxed),
            audio_s: counters.audio_us.load(Relaxed) as f64 / 1e6,
        }
    }

    /// Asks all threads to stop. Finished shards stay.
    pub fn cancel(&self) {
        self.job.cancel();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`Error::Io`] if a shard could not be written; [`Error::Interrupted`] if it was cancelled.
    pub fn join(&mut self) -> Result<()> {
        self.end_threads();
        let mut outcome = self.outcome.0.lock().expect("no panic under the lock");
        outcome.take().unwrap_or(Err(Error::Interrupted))
    }

    /// Waits for the writer, so that nothing is written any more, and a while for the workers: one
    /// that is in a read which never returns (a dead network share) is left behind.
    fn end_threads(&mut self) {
        let mut threads = self.threads.drain(..);
        if let Some(writer) = threads.next() {
            let _ = writer.join(); // Its panic, a defect of ours, leaves no outcome.
        }
        self.job.cancel();
        let deadline = Instant::now() + PATIENCE;
        for worker in threads {
            while !worker.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Extraction {
    fn drop(&mut self) {
        self.cancel();
        self.end_threads();
    }
}

/// The plan for the features, once all of `content` is found possible.
///
/// # Errors
/// [`Error::Setting`] naming the field.
pub fn check(content: &Content) -> Result<Extractor> {
    let Content { spec, cut, dtype } = content;
    cut.validate_at(spec.sample_rate)?;
    let samples = spec.kind == Kind::Samples;
    match dtype {
        Dtype::Int16 if !samples => {
            return Err(Error::setting("dtype", "int16", "features are float32 or float16"));
        }
        Dtype::Float16 if samples => {
            return Err(Error::setting("dtype", "float16", "samples are int16 or float32"));
        }
        _ => {}
    }
    spec.validate()?;
    let clip_len = cut.clip_len(spec.sample_rate);
    // Before anything is planned: a plan of the largest sizes takes a second.
    let n_frames = if cut.takes_whole() { 1 } else { Framing::new(spec).n_frames(clip_len) };
    if n_frames == 0 {
        let rule = format!("a clip of {clip_len} samples gives no frame: must be longer");
        return Err(Error::setting("clip_s", cut.clip_s, rule));
    }
    let extractor = Extractor::new(spec.clone())?;
    if n_frames.saturating_mul(extractor.n_features()) > MAX_CLIP_VALUES {
        let rule = format!("a clip of {n_frames} frames is too large: at most 2^28 values");
        return Err(Error::setting("clip_s", cut.clip_s, rule));
    }
    Ok(extractor)
}

/// Shape of one clip, [frames, features]; of one frame for clips of variable length.
pub fn row_shape(extractor: &Extractor, cut: &Cut) -> Vec<usize> {
    let clip_len = cut.clip_len(extractor.spec().sample_rate);
    if cut.takes_whole() {
        vec![extractor.n_features()]
    } else {
        vec![extractor.n_frames(clip_len), extractor.n_features()]
    }
}

impl Job {
    fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        self.order.close();
    }

    fn cutter(&self) -> Cutter {
        Cutter::new(self.extractor.clone(), &self.cut, Pace::Pieces, 1)
    }

    /// A worker: recording after recording, until none is left.
    fn work(&self) {
        let mut cutter = self.cutter();
        loop {
            let position = self.next.fetch_add(1, Relaxed);
            let Some(&id) = self.recordings.get(position) else { return };
            let send = |message: Message| {
                // The fixed part stands for the bookkeeping, so that failures are bounded as well.
                let rows_len = if let Message::Piece(piece) = &message {
                    piece.values.bytes().len()
                } else {
                    0
                };
                let cost = 256 + rows_len;
                if self.order.send(position, message, cost) {
                    Ok(())
                } else {
                    Err(Error::Interrupted)
                }
            };
            let Ok(outcome) = self.extract(id, &mut cutter, &send) else { return };
            self.counters.recordings.fetch_add(1, Relaxed);
            self.counters.failed.fetch_add(usize::from(outcome.status == "failed"), Relaxed);
            if send(Message::End(outcome)).is_err() {
                return;
            }
        }
    }

    /// The writer: shard after shard.
    fn write(&self) -> Result<()> {
        let row_shape = row_shape(&self.extractor, &self.cut);
        let variable = self.cut.takes_whole();
        let mut position = 0;
        for PlannedShard { number, recordings } in &self.shards {
            let mut shard =
                ShardWriter::create(&self.folder, *number, self.dtype, &row_shape, variable)?;
            for id in recordings.clone() {
                loop {
                    match self.order.receive(position).ok_or(Error::Interrupted)? {
                        Message::Piece(piece) => shard.append(id, &piece)?,
                        Message::Retract => shard.retract()?,
                        Message::End(outcome) => {
                            if outcome.n_clips == 0 {
                                shard.retract()?; // It may have failed half-way.
                            }
                            shard.end_recording(&outcome);
                            break;
                        }
                    }
                }
                position += 1;
            }
            shard.commit()?;
        }
        Ok(())
    }
}
