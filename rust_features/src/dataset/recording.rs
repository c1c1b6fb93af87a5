//! One recording: open, decode, resample, cut, extract; and what can go wrong on the way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use xxhash_rust::xxh3::Xxh3;

use super::{Job, ListedSource, Message, Outcome, Piece};
use crate::cut::{Batch, Cutter};
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::load::Samples;

/// Why a recording stops.
enum Stop {
    /// The recording cannot be used: this is its reason.
    Failed(String),
    /// Our decoder cannot; another may.
    Undecodable(String),
    /// The whole run stops.
    Interrupted,
}

type Attempt<T> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Interrupted => Self::Interrupted,
            // The path is reported beside the reason.
            Error::Decode { reason, .. } => Self::Undecodable(reason),
            Error::Unusable { reason, .. } => Self::Failed(reason),
            Error::Io { source, .. } => Self::Failed(source.to_string()),
            error @ Error::Setting { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl Job {
    /// Extracts recording `id`; its rows go to `send`. Fails only when the run is to stop.
    pub(super) fn extract(
        &self,
        id: usize,
        cutter: &mut Cutter,
        send: &dyn Fn(Message) -> Result<()>,
    ) -> Result<Outcome> {
        let mut outcome = Outcome {
            id,
            status: "ok",
            error: String::new(),
            duration_s: None,
            sample_rate: None,
            channels: None,
            n_clips: 0,
            n_silent: 0,
            level_db: None,
            audio_hash: String::new(),
        };
        // A defect in a decoder must cost one recording, not the run. What the closure shares with
        // the outside is plain data that is overwritten below, or a cutter that is made anew.
        let tried = catch_unwind(AssertUnwindSafe(|| {
            match self.extract_native(id, cutter, send, &mut outcome) {
                Err(Stop::Undecodable(reason)) => {
                    let also = |why| Stop::Failed(format!("{reason}; {why}"));
                    let Some(decoder) = self.fallback.decode(id).map_err(also)? else {
                        return Err(Stop::Failed(reason));
                    };
                    send(Message::Retract)?;
                    self.extract_decoded(decoder, cutter, send, &mut outcome)
                }
                other => other,
            }
        }));
        let failure = match tried {
            Ok(Ok(())) => return Ok(outcome),
            Ok(Err(Stop::Interrupted)) => return Err(Error::Interrupted),
            Ok(Err(Stop::Failed(reason) | Stop::Undecodable(reason))) => reason,
            Err(panic) => {
                *cutter = self.cutter();
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                format!("internal error: {}", text.unwrap_or_default())
            }
        };
        outcome.status = "failed";
        outcome.error = failure;
        // What was found before it failed is not the whole truth about it.
        outcome.duration_s = None;
        outcome.n_clips = 0;
        outcome.n_silent = 0;
        Ok(outcome)
    }

    fn extract_native(
        &self,
        id: usize,
        cutter: &mut Cutter,
        send: &dyn Fn(Message) -> Result<()>,
        outcome: &mut Outcome,
    ) -> Attempt<()> {
        match &self.listed[id].source {
            ListedSource::Unusable(reason) => Err(Stop::Failed(reason.clone())),
            ListedSource::Bytes => {
                let (bytes, name) = self.fallback.bytes(id).map_err(Stop::Failed)?;
                self.extract_decoded(Decoder::from_bytes(bytes, name)?, cutter, send, outcome)
            }
            ListedSource::File { path, n_bytes, mtime_ns } => {
                // Before, so that the reason is the true one; and after, as it may happen meanwhile.
                unchanged(path, *n_bytes, *mtime_ns)?;
                self.extract_decoded(Decoder::open(path)?, cutter, send, outcome)?;
                unchanged(path, *n_bytes, *mtime_ns)
            }
        }
    }

    fn extract_decoded(
        &self,
        decoder: Decoder,
        cutter: &mut Cutter,
        send: &dyn Fn(Message) -> Result<()>,
        outcome: &mut Outcome,
    ) -> Attempt<()> {
        outcome.sample_rate = Some(decoder.sample_rate());
        outcome.channels = Some(decoder.channels());
        let mut samples = Samples::from_decoder(decoder, self.extractor.spec().sample_rate)?;
        let rate = f64::from(samples.own_rate());
        let mut take = |Batch { starts, features }| {
            self.counters.clips.fetch_add(starts.len(), Relaxed);
            send(Message::Piece(Piece { values: self.dtype.values(features), starts }))
        };
        let mut poll =
            || if self.cancelled.load(Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
        cutter.begin(self.listed[outcome.id].only.clone());
        let mut hash = Xxh3::new();
        let mut n_samples = 0u64;
        let mut squares = 0.0;
        let mut note = |block: &[f32]| {
            hash.update(bytemuck::cast_slice(block));
            n_samples += block.len() as u64;
            squares += sum_of_squares(block);
            outcome.duration_s = Some(n_samples as f64 / rate);
            let audio_us = (block.len() as f64 * 1e6 / rate) as u64;
            self.counters.audio_us.fetch_add(audio_us, Relaxed);
        };
        let mut reason = None;
        while reason.is_none() && samples.read(cutter.pcm(), &mut note)? {
            reason = cutter.advance(&mut take, &mut poll)?;
            poll()?;
        }
        if reason.is_none() {
            reason = cutter.finish(&mut take, &mut poll)?;
        }
        if let Some(reason) = reason {
            outcome.status = "skipped";
            outcome.error = reason.into();
        }
        (outcome.n_clips, outcome.n_silent) = cutter.n_clips();
        outcome.level_db = Some(decibel(squares / n_samples.max(1) as f64));
        outcome.audio_hash = format!("{:032x}", hash.digest128());
        Ok(())
    }
}

/// Of samples at full scale 1. Short sums are of float32, in an order that vectors can keep, so that
/// the result is the same on any processor.
fn sum_of_squares(samples: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut total = 0.0;
    for piece in samples.chunks(1024) {
        let mut sums = [0.0f32; LANES];
        let lanes = piece.chunks_exact(LANES);
        let rest: f32 = lanes.remainder().iter().map(|y| y * y).sum();
        for lane in lanes {
            for (sum, y) in sums.iter_mut().zip(lane) {
                *sum += y * y;
            }
        }
        total += f64::from(sums.iter().sum::<f32>() + rest);
    }
    total
}

/// A mean square in dB, to hundredths; at least -200.
fn decibel(mean_square: f64) -> f64 {
    (1000.0 * mean_square.max(1e-20).log10()).round() / 100.0
}

/// Fails if the file is no longer the one that was listed.
fn unchanged(path: &Path, n_bytes: u64, mtime_ns: i64) -> Attempt<()> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        Stop::Failed(if error.kind() == std::io::ErrorKind::NotFound {
            "vanished after it was listed".into()
        } else {
            error.to_string()
        })
    })?;
    let now_ns = metadata.modified().map_or(mtime_ns, |time| {
        let ns = |duration: std::time::Duration| duration.as_nanos() as i64;
        time.duration_since(UNIX_EPOCH).map_or_else(|error| -ns(error.duration()), ns)
    });
    if !metadata.is_file() || metadata.len() != n_bytes || now_ns != mtime_ns {
        return Err(Stop::Failed("changed after it was listed".into()));
    }
    Ok(())
}
