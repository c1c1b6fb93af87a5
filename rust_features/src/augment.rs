//! Recordings as other microphones, rooms and players would have made them: a window of a recording →
//! an augmented clip → its features, in one go, while the clip is in the cache.
//!
//! One operation a file, in the order of a recording's life: [`pitch`], [`phrase`], [`filters`],
//! [`reverb`], [`band_limit`], [`noise`], [`gain`], [`clipping`], [`polarity`], [`shift`]; then [`mix`].
//! Each is an immutable plan made from [`Settings`], and draws of its own from (seed, epoch, index) and
//! nothing else: a clip is the same on any thread and machine, in whatever batch it stands.

mod band_limit;
mod biquad;
mod clipping;
mod convolve;
mod draw;
mod filters;
mod gain;
mod level;
mod mix;
mod noise;
mod phrase;
mod pitch;
mod polarity;
mod reverb;
mod settings;
mod shift;
#[cfg(test)]
mod tests;
mod window;

use serde::Serialize;

pub use band_limit::BandLimitDraw;
pub use clipping::ClippingDraw;
pub use filters::FilterDraw;
pub use gain::GainDraw;
pub use noise::NoiseDraw;
#[cfg(feature = "python")]
pub use phrase::MOST_FOLLOWING;
pub use phrase::PhraseDraw;
pub use pitch::PitchDraw;
pub use reverb::ReverbDraw;
pub use settings::Settings;
pub use shift::ShiftDraw;
pub use window::Pcm;

use crate::cut::Short;
use crate::error::{Error, Result};
use crate::extractor::{Extractor, Scratch};
use crate::finite;
use crate::parallel::{ScratchPool, for_each};
use crate::simd::Isa;
use crate::spec::FeatureSpec;

use draw::{Draws, Purpose};
use pitch::Pitch;

/// Clips that a worker takes at a time: with their features they fit the second-level cache.
const AT_ONCE: usize = 4;

/// Augments clips of one length, and extracts their features. Immutable: share it between threads.
pub struct Augmenter {
    extractor: Extractor,
    seed: u64,
    clip_len: usize,
    short: Short,
    pitch: Pitch,
    phrase: phrase::Phrase,
    filters: filters::Filters,
    reverb: reverb::Reverb,
    band_limit: band_limit::BandLimit,
    noise: noise::Noise,
    gain: gain::Gain,
    clipping: clipping::Clipping,
    polarity: polarity::Polarity,
    shift: shift::Shift,
    pool: ScratchPool<Buffers>,
}

/// Buffers of one worker.
struct Buffers {
    extractor: Scratch,
    convolver: Option<convolve::ConvolveScratch>,
    /// The window before its pitch is changed; afterwards whatever an operation needs.
    window: Vec<f32>,
    clips: Vec<f32>,
    other: Vec<f32>,
    /// What follows in a phrase.
    note: Vec<f32>,
}

/// All that is drawn for a clip. What does not happen to it is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drawn {
    /// First sample of the window in its recording.
    pub start: usize,
    /// Change of pitch and speed.
    pub pitch: Option<PitchDraw>,
    /// Recordings that begin within the clip, where the item has such.
    pub phrase: Option<PhraseDraw>,
    /// Shelves and peaks.
    pub filters: Option<FilterDraw>,
    /// Room.
    pub reverb: Option<ReverbDraw>,
    /// Band.
    pub band_limit: Option<BandLimitDraw>,
    /// Noise.
    pub noise: Option<NoiseDraw>,
    /// Loudness.
    pub gain: Option<GainDraw>,
    /// Overdrive.
    pub clipping: Option<ClippingDraw>,
    /// Whether the sign is changed.
    pub polarity: bool,
    /// Shift in time.
    pub shift: Option<ShiftDraw>,
}

/// A clip to make: of which recording, and what number stands for it in the draws.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    /// The whole recording, at the sample rate of the features.
    pub recording: Pcm<'a>,
    /// What may follow it within the clip: a draw takes as many as it needs, the first ones.
    pub following: &'a [Pcm<'a>],
    /// Its number among the clips of an epoch. Equal numbers draw equal numbers.
    pub index: u64,
}

/// What becomes of the windows.
#[derive(Clone, Copy)]
pub enum Treatment<'a> {
    /// They are drawn and augmented.
    Augment {
        /// With the seed and each index, all that the draws depend on.
        epoch: u64,
        /// For each clip another one that is mixed in, and the weight of the first, in 0..=1.
        mix: Option<(&'a [Item<'a>], &'a [f32])>,
    },
    /// They start at these samples, and stay what they are.
    Plain(&'a [usize]),
}

/// Where clips go.
pub enum Destination<'a> {
    /// `[n][frames][features]`.
    Features(&'a mut [f32]),
    /// `[n][clip_len]`.
    Waveforms(&'a mut [f32]),
}

impl Augmenter {
    /// Plans all operations for clips of `clip_len` samples. `impulses` are the user's impulse
    /// responses, `noises` the user's background recordings, both at the spec's sample rate; without
    /// them synthetic ones are made.
    ///
    /// # Errors
    /// [`Error::Setting`] for an impossible spec, setting or clip length, and for an empty or broken
    /// impulse response or noise.
    pub fn new(
        spec: FeatureSpec,
        settings: &Settings,
        clip_len: usize,
        short: Short,
        impulses: &[Vec<f32>],
        noises: Vec<Vec<f32>>,
    ) -> Result<Self> {
        settings.validate()?;
        let extractor = Extractor::new(spec)?;
        extractor.check_length(clip_len)?;
        for (name, recordings) in [("impulses", impulses), ("noises", &noises[..])] {
            for (i, recording) in recordings.iter().enumerate() {
                let broken = recording.iter().find(|x| !x.is_finite()).copied();
                let silent = recording.iter().all(|&x| x == 0.0).then_some(0.0);
                if let Some(value) = broken.or(silent) {
                    let rule = "must hold finite samples that are not all 0";
                    return Err(Error::setting(&format!("{name}[{i}]"), value, rule));
                }
            }
        }
        let (isa, rate) = (extractor.isa(), extractor.spec().sample_rate);
        Ok(Self {
            seed: settings.seed,
            clip_len,
            short,
            pitch: Pitch::new(settings),
            phrase: phrase::Phrase::new(settings, rate),
            filters: filters::Filters::new(settings, rate),
            reverb: reverb::Reverb::new(settings, isa, rate, clip_len, impulses),
            band_limit: band_limit::BandLimit::new(settings, rate),
            noise: noise::Noise::new(settings, rate, noises),
            gain: gain::Gain::new(settings),
            clipping: clipping::Clipping::new(settings),
            polarity: polarity::Polarity::new(settings),
            shift: shift::Shift::new(settings, rate),
            pool: ScratchPool::default(),
            extractor,
        })
    }

    /// The features that it extracts.
    pub fn extractor(&self) -> &Extractor {
        &self.extractor
    }

    /// Samples of a clip.
    pub fn clip_len(&self) -> usize {
        self.clip_len
    }

    /// What is drawn for clip `index` of an epoch, from a recording of `n_samples`.
    pub fn draw(&self, epoch: u64, index: u64, n_samples: usize) -> Drawn {
        let draws = |stream| Draws::new(self.seed, epoch, index, stream);
        let pitch = self.pitch.draw(draws(Purpose::Pitch));
        let used = pitch.map_or(self.clip_len, |draw| draw.n_used(self.clip_len));
        Drawn {
            start: draws(Purpose::Window).below((n_samples + 1).saturating_sub(used).max(1)),
            pitch,
            phrase: self.phrase.draw(draws(Purpose::Phrase), self.clip_len),
            filters: self.filters.draw(draws(Purpose::Filter)),
            reverb: self.reverb.draw(draws(Purpose::Reverb)),
            band_limit: self.band_limit.draw(draws(Purpose::BandLimit)),
            noise: self.noise.draw(draws(Purpose::Noise)),
            gain: self.gain.draw(draws(Purpose::Gain)),
            clipping: self.clipping.draw(draws(Purpose::Clip)),
            polarity: self.polarity.draw(draws(Purpose::Polarity)),
            shift: self.shift.draw(draws(Purpose::Shift)),
        }
    }

    /// Makes the clips of `items` on up to `threads` threads; equal bit for bit whatever their number.
    /// `poll` is called on the calling thread every 50 ms or sooner; its error stops the work and is
    /// returned.
    ///
    /// # Errors
    /// [`Error::Setting`] if lengths do not fit together, or a sample is not finite.
    pub fn batch(
        &self,
        threads: usize,
        items: &[Item],
        treatment: Treatment,
        out: Destination,
        poll: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let others = match treatment {
            Treatment::Augment { mix: Some((items, weights)), .. } => {
                items.len().min(weights.len())
            }
            Treatment::Plain(starts) => starts.len(),
            Treatment::Augment { mix: None, .. } => items.len(),
        };
        if others != items.len() {
            let rule = format!("must be as many as the clips, {}", items.len());
            return Err(Error::setting("starts or partners", others, rule));
        }
        let n_frames = self.extractor.n_frames(self.clip_len);
        let (out, width, waveforms) = match out {
            Destination::Features(out) => (out, n_frames * self.extractor.n_features(), false),
            Destination::Waveforms(out) => (out, self.clip_len, true),
        };
        if out.len() != items.len() * width {
            let rule = format!("{} clips need {}", items.len(), items.len() * width);
            return Err(Error::setting("out.len()", out.len(), rule));
        }
        if out.is_empty() {
            return Ok(());
        }
        let shares = items.len().div_ceil(AT_ONCE);
        let work = |buffers: &mut Buffers, (share, out): (usize, &mut [f32])| {
            let first = share * AT_ONCE;
            let n = out.len() / width;
            if waveforms {
                for (i, clip) in out.chunks_mut(width).enumerate() {
                    self.make(items, first + i, treatment, buffers, clip);
                }
                return Ok(());
            }
            let mut clips = std::mem::take(&mut buffers.clips);
            for (i, clip) in clips.chunks_mut(self.clip_len).take(n).enumerate() {
                self.make(items, first + i, treatment, buffers, clip);
            }
            let samples = &clips[..n * self.clip_len];
            let result = finite::check(samples, first * self.clip_len, self.clip_len, items.len());
            if result.is_ok() {
                let scratch = &mut buffers.extractor;
                self.extractor.extract_finite(scratch, samples, self.clip_len, out);
            }
            buffers.clips = clips;
            result
        };
        let out = (0..shares).zip(out.chunks_mut(AT_ONCE * width));
        for_each(&|| self.buffers(), &self.pool, threads, out, &work, poll)
    }

    fn buffers(&self) -> Buffers {
        Buffers {
            extractor: self.extractor.scratch(),
            convolver: self.reverb.scratch(),
            window: Vec::new(),
            clips: vec![0.0; AT_ONCE * self.clip_len],
            other: Vec::new(),
            note: Vec::new(),
        }
    }

    /// Clip number `i` of a batch.
    fn make(
        &self,
        items: &[Item],
        i: usize,
        treatment: Treatment,
        buffers: &mut Buffers,
        clip: &mut [f32],
    ) {
        let Item { recording, index, .. } = items[i];
        match treatment {
            Treatment::Plain(starts) => {
                let repeats = self.short.repeats(recording.len(), self.clip_len);
                recording.read(self.isa(), starts[i] as isize, repeats, clip);
            }
            Treatment::Augment { epoch, mix } => {
                let drawn = self.draw(epoch, index, recording.len());
                self.augment(&items[i], &drawn, buffers, clip);
                if let Some((items, weights)) = mix {
                    let Item { recording, index, .. } = items[i];
                    let drawn = self.draw(epoch, index, recording.len());
                    let mut other = std::mem::take(&mut buffers.other);
                    other.resize(self.clip_len, 0.0);
                    self.augment(&items[i], &drawn, buffers, &mut other);
                    mix::mix(self.isa(), clip, &other, weights[i]);
                    buffers.other = other;
                }
            }
        }
    }

    fn augment(&self, item: &Item, drawn: &Drawn, buffers: &mut Buffers, clip: &mut [f32]) {
        let isa = self.isa();
        self.play(item.recording, drawn.start, drawn.pitch, &mut buffers.window, clip);
        if let Some(draw) = &drawn.phrase {
            self.follow(item, draw, drawn.pitch, buffers, clip);
        }
        let window = &mut buffers.window;
        if let Some(draw) = &drawn.filters {
            biquad::filter(isa, &draw.sections, clip, window);
        }
        if let (Some(draw), Some(scratch)) = (&drawn.reverb, &mut buffers.convolver) {
            self.reverb.apply(isa, draw, clip, scratch);
        }
        if let Some(draw) = &drawn.band_limit {
            biquad::filter(isa, &self.band_limit.sections(draw), clip, window);
        }
        if let Some(draw) = &drawn.noise {
            self.noise.apply(isa, draw, clip, window);
        }
        if let Some(draw) = &drawn.gain {
            draw.apply(clip);
        }
        if let Some(draw) = &drawn.clipping {
            draw.apply(isa, clip);
        }
        if drawn.polarity {
            polarity::Polarity::apply(clip);
        }
        if let Some(draw) = &drawn.shift {
            draw.apply(clip);
        }
    }

    /// A recording from sample `start` on, at another pitch. `window` is overwritten.
    fn play(
        &self,
        recording: Pcm,
        start: usize,
        pitch: Option<PitchDraw>,
        window: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (isa, start) = (self.isa(), start as isize);
        if let Some(draw) = pitch {
            let repeats = self.short.repeats(recording.len(), draw.n_used(out.len()));
            window.resize(Pitch::n_inputs(draw, out.len()), 0.0);
            recording.read(isa, start - pitch::LEAD as isize, repeats, window);
            self.pitch.apply(isa, draw, window, out);
        } else {
            let repeats = self.short.repeats(recording.len(), out.len());
            recording.read(isa, start, repeats, out);
        }
    }

    /// The notes of a phrase after the first. None follows silence, nor is silence raised.
    fn follow(
        &self,
        item: &Item,
        draw: &PhraseDraw,
        pitch: Option<PitchDraw>,
        buffers: &mut Buffers,
        clip: &mut [f32],
    ) {
        let Buffers { window, note, .. } = buffers;
        let own = self.phrase.loudness(self.isa(), item.recording, window);
        for (draw, &recording) in draw.notes.iter().zip(item.following) {
            let loudness = self.phrase.loudness(self.isa(), recording, window);
            let gain = (own / loudness * 10f64.powf(draw.gain_db / 10.0)).sqrt();
            if !gain.is_normal() {
                continue;
            }
            let gain = gain.min(phrase::MOST_GAIN);
            let sounding = &mut clip[draw.at..];
            note.resize(sounding.len(), 0.0);
            self.play(recording, 0, pitch, window, note);
            self.phrase.join(self.isa(), draw, sounding, note, gain);
        }
    }

    fn isa(&self) -> Isa {
        self.extractor.isa()
    }
}
