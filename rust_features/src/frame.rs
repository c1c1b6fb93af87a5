//! Cutting a signal into frames: what stands beyond its ends, how many frames there are, and
//! what is done to the samples of each frame before the window.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::simd::Simd;
use crate::spec::{Energy, FeatureSpec, Kind, Padding, PreemphasisOn};

/// A signal of which only the samples from `base` on are at hand (a stream forgets the past).
#[derive(Clone, Copy)]
pub struct Signal<'a> {
    /// Samples `base..base + samples.len()`.
    pub samples: &'a [f32],
    /// Index of the first sample at hand.
    pub base: usize,
    /// Length of the whole signal.
    pub len: usize,
}

impl<'a> Signal<'a> {
    /// A signal that is there from its start to its end.
    pub fn whole(samples: &'a [f32]) -> Self {
        Self { samples, base: 0, len: samples.len() }
    }

    fn at(&self, index: usize) -> f32 {
        self.samples[index - self.base]
    }
}

/// Where frames lie. Frame f covers `span` samples of the padded signal from `f · hop` on; sample
/// i of the signal stands at `left + i` of the padded signal.
#[derive(Clone, Debug)]
pub struct Framing {
    /// Samples a frame.
    pub span: usize,
    /// Samples of the span before the frame itself, and after it too: they meet no window.
    pub inset: usize,
    /// Samples from frame to frame.
    pub hop: usize,
    left: usize,
    padding: Padding,
    half_fft: usize,
    n_fft: usize,
    drop_last: bool,
    /// Pre-emphasis of the signal; 0: none.
    preemphasis: f64,
}

impl Framing {
    /// The framing of a spec.
    pub fn new(spec: &FeatureSpec) -> Self {
        let centred = matches!(spec.padding, Padding::Zero | Padding::Reflect);
        // A short frame lies in the middle of n_fft points. Only the phase of the complex
        // spectrum knows; for all else the zeros around it need not be transformed.
        let whole_fft = centred && spec.kind == Kind::Stft;
        let span = if whole_fft { spec.n_fft } else { spec.frame_length };
        let left = match spec.padding {
            Padding::Zero | Padding::Reflect => spec.n_fft / 2 - (spec.n_fft - span) / 2,
            Padding::Symmetric => spec.frame_length / 2 - spec.hop_length / 2,
            Padding::None | Padding::Tail => 0,
        };
        let on_signal = spec.preemphasis_on == PreemphasisOn::Signal;
        Self {
            span,
            inset: (span - spec.frame_length) / 2,
            hop: spec.hop_length,
            left,
            padding: spec.padding,
            half_fft: spec.n_fft / 2,
            n_fft: spec.n_fft,
            drop_last: spec.drop_last_frame,
            preemphasis: if on_signal { spec.preemphasis } else { 0.0 },
        }
    }

    /// Frames of a signal of `n` samples.
    pub fn n_frames(&self, n: usize) -> usize {
        let whole = |n: usize, frame: usize| {
            if n < frame { 0 } else { 1 + (n - frame) / self.hop }
        };
        let count = match self.padding {
            _ if n == 0 => 0,
            Padding::None => whole(n, self.span),
            Padding::Tail => 1 + n.saturating_sub(self.span).div_ceil(self.hop),
            Padding::Zero | Padding::Reflect => whole(n + 2 * self.half_fft, self.n_fft),
            Padding::Symmetric => (n + self.hop / 2) / self.hop,
        };
        count - usize::from(self.drop_last && count > 0)
    }

    /// Refuses lengths that the padding cannot serve.
    pub fn check(&self, n: usize) -> Result<()> {
        if n == 0 {
            return Err(Error::setting("n_samples", n, "must be >= 1"));
        }
        if self.padding == Padding::Reflect && n <= self.half_fft {
            let rule =
                format!("padding reflect mirrors n_fft / 2 samples: must be > {}", self.half_fft);
            return Err(Error::setting("n_samples", n, rule));
        }
        Ok(())
    }

    /// Samples of the signal that frame `f` reads, not counting padding.
    pub fn samples_of(&self, f: usize) -> Range<usize> {
        let start = f * self.hop;
        start.saturating_sub(self.left)..(start + self.span).saturating_sub(self.left)
    }

    /// How many of the last samples may be mirrored beyond the end.
    pub fn mirrored(&self) -> usize {
        match self.padding {
            Padding::Reflect => self.half_fft + 1,
            Padding::Symmetric => self.span,
            _ => 0,
        }
    }

    /// Copies the padded, pre-emphasised signal from position `from` on.
    pub fn copy(&self, signal: Signal, from: usize, out: &mut [f32]) {
        let c = self.preemphasis;
        let sample = |i: usize| match i {
            0 => signal.at(0),
            i if c == 0.0 => signal.at(i),
            i => emphasised(c, 0.0, signal.at(i - 1), signal.at(i)),
        };
        let beyond = |i: isize| match self.padding {
            Padding::Reflect if i < 0 => sample(i.unsigned_abs()),
            Padding::Reflect => sample(2 * (signal.len - 1) - i as usize),
            Padding::Symmetric => sample(folded(i, signal.len)),
            _ => 0.0,
        };
        // Positions of the padded signal where the signal itself begins and ends.
        let begin = self.left.clamp(from, from + out.len()) - from;
        let end = (self.left + signal.len).clamp(from, from + out.len()) - from;

        for (i, x) in out[..begin].iter_mut().enumerate() {
            *x = beyond((from + i) as isize - self.left as isize);
        }
        for (i, x) in out[end..].iter_mut().enumerate() {
            *x = beyond((from + end + i - self.left) as isize);
        }
        if begin == end {
            return;
        }
        let first = from + begin - self.left - signal.base;
        let (out, n) = (&mut out[begin..end], end - begin);
        if c == 0.0 {
            out.copy_from_slice(&signal.samples[first..first + n]);
            return;
        }
        out[0] = sample(signal.base + first);
        let x = &signal.samples[first..first + n];
        for (y, x) in out[1..].iter_mut().zip(x.windows(2)) {
            *y = emphasised(c, 0.0, x[0], x[1]);
        }
    }
}

/// Where sample i of a signal of n samples is found if it is mirrored at its edges, as often as needed.
fn folded(i: isize, n: usize) -> usize {
    let period = 2 * n as isize;
    let i = i.rem_euclid(period);
    (if i < n as isize { i } else { period - 1 - i }) as usize
}

/// `next − c · last`, both without `mean`, in float64: it is small where a signal is low and loud,
/// and rounding the product to float32 would bury its high frequencies in noise.
#[inline(always)]
fn emphasised(c: f64, mean: f32, last: f32, next: f32) -> f32 {
    let mean = f64::from(mean);
    ((f64::from(next) - mean) - c * (f64::from(last) - mean)) as f32
}

/// What is done to each frame on its own, in Kaldi's order: mean, energy, pre-emphasis.
pub struct FrameSteps {
    remove_dc: bool,
    energy: bool,
    preemphasis: f64,
}

impl FrameSteps {
    /// None if the spec asks for none of them.
    pub fn new(spec: &FeatureSpec) -> Option<Self> {
        let on_frame = spec.preemphasis_on == PreemphasisOn::Frame;
        let preemphasis = if on_frame { spec.preemphasis } else { 0.0 };
        let energy = spec.energy == Energy::Raw;
        (spec.remove_dc || energy || preemphasis != 0.0).then_some(Self {
            remove_dc: spec.remove_dc,
            energy,
            preemphasis,
        })
    }

    /// Writes the treated frame to `out` and returns its energy, Σ x² (0 if nobody asks for it).
    /// `scratch` and `out` have as many samples as `frame`.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, s: S, frame: &[f32], centred: &mut [f32], out: &mut [f32]) -> f32 {
        let mean = if self.remove_dc { sum(s, frame, |x| x) / frame.len() as f32 } else { 0.0 };
        let mut energy = 0.0;
        if self.energy {
            for (y, x) in centred.iter_mut().zip(frame) {
                *y = x - mean;
            }
            energy = sum(s, centred, |x| s.mul(x, x));
        }
        self.emphasise(s, mean, frame, out);
        energy
    }

    /// Pre-emphasis of the frame without its mean. Kaldi: the first sample precedes itself.
    #[inline(always)]
    fn emphasise<S: Simd>(&self, s: S, mean: f32, frame: &[f32], out: &mut [f32]) {
        let (c, n) = (self.preemphasis, frame.len());
        out[0] = emphasised(c, mean, frame[0], frame[0]);
        if !S::FUSED || n <= S::LANES {
            for (y, x) in out[1..].iter_mut().zip(frame.windows(2)) {
                *y = emphasised(c, mean, x[0], x[1]);
            }
            return;
        }
        // c in two parts: with fused arithmetic no rounding is larger than that of the result.
        let high = c as f32;
        let (high, low) = (s.splat(high), s.splat((c - f64::from(high)) as f32));
        let offset = s.splat((f64::from(mean) * (1.0 - c)) as f32);
        let mut at = 1;
        while at < n {
            // The last vector overlaps the one before it.
            let i = at.min(n - S::LANES);
            let last = s.load(&frame[i - 1..]);
            let difference = s.neg_mul_add(high, last, s.load(&frame[i..]));
            let difference = s.neg_mul_add(low, last, difference);
            s.store(&mut out[i..], s.sub(difference, offset));
            at += S::LANES;
        }
    }
}

/// Σ f(x), as 4 · LANES sums side by side: each stays small, and none waits for another.
#[inline(always)]
pub fn sum<S: Simd>(s: S, x: &[f32], f: impl Fn(S::V) -> S::V) -> f32 {
    let mut sums = [s.splat(0.0); 4];
    let mut quads = x.chunks_exact(4 * S::LANES);
    for quad in &mut quads {
        for (sum, chunk) in sums.iter_mut().zip(quad.chunks_exact(S::LANES)) {
            *sum = s.add(*sum, f(s.load(chunk)));
        }
    }
    let mut chunks = quads.remainder().chunks_exact(S::LANES);
    for (sum, chunk) in sums.iter_mut().zip(&mut chunks) {
        *sum = s.add(*sum, f(s.load(chunk)));
    }
    let rest = chunks.remainder();
    let mut last = [s.splat(0.0)];
    s.floats_mut(&mut last)[..rest.len()].copy_from_slice(rest);
    sums[3] = s.add(sums[3], f(last[0]));
    let total = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
    s.floats(&[total]).iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_counts_of_the_study() {
        for (name, n, frames) in [
            ("mel", 22_050, 44),
            ("mel-16k", 8_000, 41),
            ("mfcc", 6_000, 49),
            ("mfcc-librosa", 11_025, 22),
            ("fbank", 8_000, 48),
            ("mfcc-kaldi", 8_000, 48),
            ("whisper", 8_000, 50),
        ] {
            let framing = Framing::new(&FeatureSpec::preset(name).unwrap());
            assert_eq!(framing.n_frames(n), frames, "{name}");
        }
    }

    #[test]
    fn reflection_does_not_repeat_the_edge() {
        let spec = FeatureSpec {
            padding: Padding::Reflect,
            frame_length: 6,
            n_fft: 6,
            hop_length: 1,
            ..FeatureSpec::default()
        };
        let x: Vec<f32> = (0..5).map(|i| i as f32).collect();
        let mut padded = [0.0; 11];
        Framing::new(&spec).copy(Signal::whole(&x), 0, &mut padded);
        assert_eq!(padded, [3.0, 2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0]);
    }
}
