//! Features against their definition, for every preset and for drawn settings; and the same features
//! from one clip, from many, from a stream and from many threads, bit for bit.

mod oracle;

use oracle::features;
use rust_features::spec::{
    Energy, FeatureSpec, Kind, Log, LogFloorRule, MelNorm, MelScale, MelShape, Normalize, Padding,
    Precision, PreemphasisOn, Window,
};
use rust_features::{Extractor, Isa, Result, ScratchPool, Stream, extract_batch};

/// SplitMix64 (Steele, Lea and Flood 2014): the same draws on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Noise under a tone, so that no bin is empty and none is like its neighbour.
    fn clip(&mut self, n: usize) -> Vec<f32> {
        let pitch = 0.02 + self.below(100) as f32 / 200.0;
        let noise = |draw: &mut Self| draw.below(1 << 20) as f32 / (1 << 20) as f32 - 0.5;
        (0..n).map(|i| 0.4 * (pitch * i as f32).sin() + 0.4 * noise(self)).collect()
    }

    /// Any setting of any step that is on.
    fn spec(&mut self) -> FeatureSpec {
        let n_fft = self.one_of(&[64, 128, 200, 240, 256, 400, 512, 90, 63]);
        let kind = self.one_of(&[Kind::Stft, Kind::Spectrogram, Kind::Mel, Kind::Mfcc, Kind::Mfcc]);
        let mut spec = FeatureSpec {
            kind,
            sample_rate: self.one_of(&[8000, 22_050]),
            n_fft,
            frame_length: n_fft - self.below(n_fft / 2),
            hop_length: 1 + self.below(n_fft),
            padding: self.one_of(&[Padding::None, Padding::Tail, Padding::Zero, Padding::Reflect]),
            drop_last_frame: self.one_of(&[false, true]),
            remove_dc: self.one_of(&[false, true]),
            window: self.one_of(&[
                Window::Hann,
                Window::Hamming,
                Window::Blackman,
                Window::BlackmanHarris,
                Window::Bartlett,
                Window::Povey,
                Window::Rectangular,
            ]),
            window_periodic: self.one_of(&[false, true]),
            precision: self.one_of(&[Precision::Single, Precision::Double]),
            ..FeatureSpec::default()
        };
        if self.below(2) == 1 {
            spec.preemphasis = 0.97;
            spec.preemphasis_on = self.one_of(&[PreemphasisOn::Signal, PreemphasisOn::Frame]);
        }
        if spec.has_filters() {
            spec.n_mels = 1 + self.below(40);
            spec.mel_scale = self.one_of(&[MelScale::Slaney, MelScale::Htk]);
            spec.mel_norm = self.one_of(&[MelNorm::None, MelNorm::Slaney]);
            spec.mel_shape = self.one_of(&[MelShape::Hz, MelShape::Mel, MelShape::Bins]);
            spec.fmin_hz = self.one_of(&[0.0, 300.0]);
            spec.fmax_hz = self.one_of(&[None, Some(3800.0)]);
        }
        if kind == Kind::Stft {
            return spec;
        }
        spec.power = self.one_of(&[1, 2]);
        spec.scale_by_n_fft = self.one_of(&[false, true]);
        let logs = [Log::Db, Log::Natural, Log::Log10, Log::None];
        spec.log = self.one_of(&logs[..if kind == Kind::Mfcc { 3 } else { 4 }]);
        if spec.log != Log::None {
            // Without its mean, nothing but rounding is left of a frame's lowest bins.
            if spec.remove_dc {
                spec.log_floor = 1e-3;
            } else {
                spec.log_floor = self.one_of(&[1e-10, 1e-3]);
                spec.log_floor_rule = self.one_of(&[LogFloorRule::Max, LogFloorRule::ReplaceZeros]);
            }
            spec.top_db = self.one_of(&[None, Some(30.0)]);
        }
        spec.scale = self.one_of(&[1.0, 0.25]);
        // A spectrum beside which 1 is large would be lost in its rounding.
        spec.offset = self.one_of(if spec.log == Log::None { &[0.0] } else { &[0.0, 1.0] });
        if kind == Kind::Mfcc {
            spec.n_mfcc = 1 + self.below(spec.n_mels);
            spec.lifter = self.one_of(&[0.0, 22.0]);
            let all = [Energy::None, Energy::Raw, Energy::Spectrum];
            spec.energy = self.one_of(&all[..if spec.power == 2 { 3 } else { 2 }]);
        }
        spec.deltas = self.below(3);
        if spec.deltas > 0 {
            spec.delta_width = self.one_of(&[3, 9]);
        }
        spec.normalize = self.one_of(&[Normalize::None, Normalize::Mean, Normalize::MeanVar]);
        spec
    }
}

/// Every preset, then drawn specs, each with what to draw its clips from.
fn specs(n_drawn: u64) -> impl Iterator<Item = (String, FeatureSpec, Draw)> {
    let presets = FeatureSpec::presets().into_iter();
    presets.map(|(name, spec)| (name.to_owned(), spec, Draw(0))).chain((0..n_drawn).map(|seed| {
        let mut draw = Draw(seed);
        let spec = draw.spec();
        (format!("seed {seed}"), spec, draw)
    }))
}

#[test]
fn features_equal_their_definition() {
    for (name, spec, mut draw) in specs(400) {
        let n = 3 * spec.n_fft + draw.below(spec.n_fft);
        let clip = draw.clip(n);
        let want = features(&spec, &clip);
        let peak = want.iter().flatten().fold(0.0_f64, |peak, x| peak.max(x.abs()));
        // Of the peak, or in the unit of the logarithm.
        let bound = if spec.log == Log::None { 1e-5 * peak } else { 2e-4 };
        for isa in Isa::available() {
            let extractor = Extractor::with_isa(spec.clone(), isa).expect("a valid spec");
            let got = whole(&extractor, &clip, n);
            let got: Vec<&[f32]> = got.chunks(extractor.n_features()).collect();
            assert_eq!(got.len(), want.len(), "{name}: frames of {spec:?}");
            for (frame, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_eq!(got.len(), want.len(), "{name}: features of {spec:?}");
                for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
                    let error = (f64::from(got) - want).abs();
                    let place = || format!("{name} {isa:?} frame {frame} feature {i}");
                    assert!(error <= bound, "{}: {got}, not {want}: {spec:?}", place());
                }
            }
        }
    }
}

#[test]
fn one_by_one_streamed_or_on_threads_is_all_the_same() {
    const CLIPS: usize = 7;
    for (name, spec, mut draw) in specs(100) {
        let extractor = Extractor::new(spec.clone()).expect("a valid spec");
        let clip_len = 3 * spec.n_fft + draw.below(spec.n_fft);
        let clips = draw.clip(CLIPS * clip_len);
        let together = whole(&extractor, &clips, clip_len);
        let clips_of = || clips.chunks(clip_len);
        let alone: Vec<f32> =
            clips_of().flat_map(|clip| whole(&extractor, clip, clip_len)).collect();
        assert_same(&together, &alone, &format!("{name}: one by one, {spec:?}"));
        let streamed = streamed(&extractor, clips_of(), &mut draw);
        assert_same(&together, &streamed, &format!("{name}: streamed, {spec:?}"));
        for threads in [1, 2, 5] {
            let shared = on_threads(&extractor, threads, &clips, clip_len).expect("clips");
            assert_same(&together, &shared, &format!("{name}: {threads} threads, {spec:?}"));
        }
    }
}

#[test]
fn long_clips_are_shared_out_by_frames() {
    for (name, spec, mut draw) in specs(30) {
        let extractor = Extractor::new(spec.clone()).expect("a valid spec");
        // Frames for more than two threads, and some.
        let clip_len = 2100 * spec.hop_length + spec.n_fft;
        let clips = draw.clip(2 * clip_len);
        let together = whole(&extractor, &clips, clip_len);
        let shared = on_threads(&extractor, 3, &clips, clip_len).expect("clips");
        assert_same(&together, &shared, &format!("{name}: threads, {spec:?}"));
        let streamed = streamed(&extractor, clips.chunks(clip_len), &mut draw);
        assert_same(&together, &streamed, &format!("{name}: streamed, {spec:?}"));
    }
}

#[test]
fn a_sample_that_is_not_finite_is_named() {
    let extractor =
        Extractor::new(FeatureSpec::preset("mel-16k").expect("a preset")).expect("valid");
    // Short clips are shared out whole, long ones by frames.
    for clip_len in [1000, 1500 * 200] {
        let mut clips = Draw(0).clip(5 * clip_len);
        clips[3 * clip_len + 777] = f32::NAN;
        let want = "sample 777 of clip 3 NaN is invalid: must be finite";
        let mut out = vec![0.0; 5 * extractor.n_frames(clip_len) * extractor.n_features()];
        let mut scratch = extractor.scratch();
        let error = extractor.extract_into(&mut scratch, &clips, clip_len, &mut out).unwrap_err();
        assert_eq!(error.to_string(), want);
        let error = on_threads(&extractor, 3, &clips, clip_len).unwrap_err();
        assert_eq!(error.to_string(), want);
        let mut stream = Stream::new(&extractor);
        let bad = &clips[3 * clip_len..];
        stream.push(&extractor, &bad[..700], &mut Vec::new()).expect("finite samples");
        let error = stream.push(&extractor, &bad[700..], &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "sample 777 NaN is invalid: must be finite");
    }
}

fn whole(extractor: &Extractor, clips: &[f32], clip_len: usize) -> Vec<f32> {
    let n_frames = clips.len() / clip_len * extractor.n_frames(clip_len);
    let mut out = vec![f32::NAN; n_frames * extractor.n_features()];
    extractor.extract_into(&mut extractor.scratch(), clips, clip_len, &mut out).expect("clips");
    out
}

fn on_threads(
    extractor: &Extractor,
    threads: usize,
    clips: &[f32],
    clip_len: usize,
) -> Result<Vec<f32>> {
    let n_frames = clips.len() / clip_len * extractor.n_frames(clip_len);
    let mut out = vec![f32::NAN; n_frames * extractor.n_features()];
    let pool = ScratchPool::default();
    extract_batch(extractor, &pool, threads, clips, clip_len, &mut out, &mut || Ok(()))?;
    Ok(out)
}

/// One signal after another through one stream, cut where it falls.
fn streamed<'a>(
    extractor: &Extractor,
    signals: impl Iterator<Item = &'a [f32]>,
    draw: &mut Draw,
) -> Vec<f32> {
    let mut stream = Stream::new(extractor);
    let mut out = Vec::new();
    for mut rest in signals {
        let longest = 1 + draw.below(rest.len());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(draw.below(longest.min(rest.len()) + 1));
            stream.push(extractor, piece, &mut out).expect("finite samples");
            rest = later;
        }
        stream.finish(extractor, &mut out).expect("a long enough signal");
    }
    out
}

fn assert_same(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let other = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(other, None, "{what}");
}
