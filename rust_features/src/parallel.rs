//! One call on many threads. The threads live as long as the call, so nothing has to survive a
//! fork, and a call that is interrupted leaves nothing behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::extractor::{Extractor, Group, Scratch};
use crate::finite;
use crate::frame::Signal;

/// How often the calling thread looks for a reason to stop.
const POLL: Duration = Duration::from_millis(50);
/// Frames of a long clip that a worker takes at a time.
const CHUNK: usize = 1024;
/// Frames of short clips that a worker takes at a time, at most.
const BATCH: usize = 512;
/// Shares of each worker, at least: one that is held up then leaves the others little to wait for.
const SHARES: usize = 4;

/// Buffers that calls leave for the next call.
pub struct ScratchPool<B = Scratch>(Mutex<Vec<B>>);

impl<B> Default for ScratchPool<B> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<B> ScratchPool<B> {
    fn take(&self, make: impl FnOnce() -> B) -> B {
        // Never waits: after a fork the lock may be held by a thread that is gone.
        let left = self.0.try_lock().ok().and_then(|mut pool| pool.pop());
        left.unwrap_or_else(make)
    }

    fn give(&self, scratch: B) {
        if let Ok(mut pool) = self.0.try_lock() {
            pool.push(scratch);
        }
    }
}

/// Like [`Extractor::extract_into`], on up to `threads` threads, equal bit for bit. `poll` is called
/// on the calling thread every 50 ms or sooner.
///
/// # Errors
/// As [`Extractor::extract_into`]; and that of `poll`, which stops the work.
pub fn extract_batch(
    extractor: &Extractor,
    pool: &ScratchPool,
    threads: usize,
    clips: &[f32],
    clip_len: usize,
    out: &mut [f32],
    poll: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    extractor.check_length(clip_len)?;
    let n_frames = extractor.n_frames(clip_len);
    let n_clips = clips.len() / clip_len;
    let clip_out = n_frames * extractor.n_features();
    if n_clips * clip_len != clips.len() || n_clips * clip_out != out.len() || out.is_empty() {
        // Nothing to share out: the checks, and their errors, are the same.
        let mut scratch = pool.take(|| extractor.scratch());
        return extractor.extract_into(&mut scratch, clips, clip_len, out);
    }
    if n_frames > CHUNK {
        for (i, out) in out.chunks_mut(clip_out).enumerate() {
            let clip = &clips[i * clip_len..][..clip_len];
            let finite = |samples: &[f32], first| {
                finite::check(samples, i * clip_len + first, clip_len, n_clips)
            };
            extract_long(extractor, pool, threads, clip, &finite, out, poll)?;
        }
        return Ok(());
    }
    let at_once = (BATCH / n_frames).clamp(1, n_clips.div_ceil(SHARES * threads));
    let items = clips.chunks(at_once * clip_len).zip(out.chunks_mut(at_once * clip_out));
    let work = |scratch: &mut Scratch, (i, (clips, out)): (usize, (&[f32], &mut [f32]))| {
        finite::check(clips, i * at_once * clip_len, clip_len, n_clips)?;
        extractor.extract_finite(scratch, clips, clip_len, out);
        Ok(())
    };
    for_each(&|| extractor.scratch(), pool, threads, items.enumerate(), &work, poll)
}

/// One clip of many frames: both passes in chunks. `finite` checks samples, given the index of the
/// first.
fn extract_long(
    extractor: &Extractor,
    pool: &ScratchPool,
    threads: usize,
    clip: &[f32],
    finite: &(impl Fn(&[f32], usize) -> Result<()> + Sync),
    out: &mut [f32],
    poll: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let n_frames = extractor.n_frames(clip.len());
    let framing = extractor.framing();
    let mut groups: Vec<Group> = Vec::new();
    groups.resize_with(n_frames.div_ceil(CHUNK), Group::default);
    let chunk_out = CHUNK * extractor.n_features();

    let items = groups.iter_mut().zip(out.chunks_mut(chunk_out)).enumerate();
    let first = |scratch: &mut Scratch, (i, (group, out)): (usize, (&mut Group, &mut [f32]))| {
        let frames = i * CHUNK..n_frames.min((i + 1) * CHUNK);
        let start = framing.samples_of(frames.start).start;
        // The last chunk also looks at samples beyond the last frame.
        let end = if frames.end == n_frames {
            clip.len()
        } else {
            framing.samples_of(frames.end).start.min(clip.len())
        };
        finite(&clip[start.min(end)..end], start)?;
        let signal = |_| Signal::whole(clip);
        extractor.first_pass(scratch, signal, n_frames, frames, group, out);
        Ok(())
    };
    for_each(&|| extractor.scratch(), pool, threads, items, &first, poll)?;

    let max = groups.iter().filter_map(Group::max).reduce(f32::max);
    let items = groups.iter_mut().zip(out.chunks_mut(chunk_out));
    let second = |_: &mut Scratch, (group, out): (&mut Group, &mut [f32])| {
        group.finish(extractor, max, out);
        Ok(())
    };
    for_each(&|| extractor.scratch(), pool, threads, items, &second, poll)?;
    extractor.finish_clip(out);
    Ok(())
}

/// Does the work for every item, each thread taking the next one when it is free.
pub(crate) fn for_each<B: Send, T: Send>(
    make: &(impl Fn() -> B + Sync),
    pool: &ScratchPool<B>,
    threads: usize,
    items: impl ExactSizeIterator<Item = T> + Send,
    work: &(impl Fn(&mut B, T) -> Result<()> + Sync),
    poll: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let threads = threads.min(items.len());
    let items = Mutex::new(items);
    let stop = AtomicBool::new(false);
    // Takes items until there are no more; `between` runs after each.
    let run = |between: &mut dyn FnMut() -> Result<()>| {
        let mut scratch = pool.take(make);
        let mut result = Ok(());
        while result.is_ok() && !stop.load(Ordering::Relaxed) {
            let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = next else { break };
            result = work(&mut scratch, item).and_then(|()| between());
        }
        pool.give(scratch);
        if result.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        result
    };
    let (done, results) = channel();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let (done, run) = (done.clone(), &run);
            // The receiver is gone only if the calling thread has stopped waiting.
            scope.spawn(move || done.send(run(&mut || Ok(()))));
        }
        drop(done);
        // The calling thread works as well: it is awake already, and for a small batch that counts.
        let mut polled = Instant::now();
        run(&mut || {
            if polled.elapsed() < POLL {
                return Ok(());
            }
            polled = Instant::now();
            poll()
        })?;
        loop {
            let result = match results.recv_timeout(POLL) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => poll(),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
                return result;
            }
        }
    })
}
