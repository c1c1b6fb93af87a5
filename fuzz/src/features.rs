//! A spec and a clip drawn from bytes, for any feature on every instruction set.

use rust_features::spec::{
    Energy, FeatureSpec, Kind, Log, LogFloorRule, MelNorm, MelScale, MelShape, Normalize, Padding,
    Precision, PreemphasisOn, Window,
};
use rust_features::{Extractor, Isa, Stream};

use crate::{from_pcm, same};

/// Settings (two bytes each, zeros once they run out), then a clip of 16-bit samples: whole and
/// streamed are the same, bit for bit, and no instruction set reads or writes where it must not.
pub fn check(data: &[u8]) {
    let (settings, clip) = data.split_at(data.len().min(64));
    let mut settings = SpecBytes(settings);
    let isas = Isa::available();
    let isa = settings.one_of(&isas);
    let piece = 1 + settings.below(1000);
    let spec = settings.spec();
    let samples = from_pcm(clip);
    let Ok(extractor) = Extractor::with_isa(spec, isa) else { return };
    if extractor.check_length(samples.len()).is_err() {
        return;
    }
    let n_frames = extractor.n_frames(samples.len());
    let mut whole = vec![f32::NAN; n_frames * extractor.n_features()];
    extractor
        .extract_into(&mut extractor.scratch(), &samples, samples.len(), &mut whole)
        .expect("finite samples, enough of them");
    let (mut stream, mut streamed) = (Stream::new(&extractor), Vec::new());
    for piece in samples.chunks(piece) {
        stream.push(&extractor, piece, &mut streamed).expect("finite samples");
    }
    stream.finish(&extractor, &mut streamed).expect("enough samples");
    assert!(same(&whole, &streamed), "{:?} {isa:?} in pieces of {piece}", extractor.spec());
}

struct SpecBytes<'a>(&'a [u8]);

impl SpecBytes<'_> {
    fn below(&mut self, n: usize) -> usize {
        let (next, rest) = self.0.split_first_chunk().unwrap_or((&[0; 2], &[]));
        self.0 = rest;
        usize::from(u16::from_le_bytes(*next)) % n
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Any small spec; it need not be valid.
    fn spec(&mut self) -> FeatureSpec {
        let mut spec = FeatureSpec {
            kind: self.one_of(&[
                Kind::Mel,
                Kind::Mfcc,
                Kind::Spectrogram,
                Kind::Stft,
                Kind::Samples,
            ]),
            sample_rate: self.one_of(&[8000, 1, 22_050, u32::MAX]),
            n_fft: 2 + self.below(600),
            ..FeatureSpec::default()
        };
        if spec.kind == Kind::Samples {
            let presets = FeatureSpec::presets();
            let samples = presets.into_iter().find(|(_, spec)| spec.kind == Kind::Samples);
            return samples.map_or(spec, |(_, spec)| spec);
        }
        spec.frame_length = spec.n_fft - self.below(spec.n_fft);
        spec.hop_length = 1 + self.below(2 * spec.n_fft);
        spec.padding =
            self.one_of(&[Padding::Zero, Padding::None, Padding::Tail, Padding::Reflect]);
        spec.drop_last_frame = self.flag();
        spec.remove_dc = self.flag();
        spec.window = self.one_of(&[Window::Hann, Window::Rectangular, Window::Povey]);
        spec.window_periodic = self.flag();
        spec.precision = self.one_of(&[Precision::Single, Precision::Double]);
        if self.flag() {
            spec.preemphasis = self.one_of(&[0.97, 1.0, 1e-300]);
            spec.preemphasis_on = self.one_of(&[PreemphasisOn::Signal, PreemphasisOn::Frame]);
        }
        if spec.has_filters() {
            spec.n_mels = 1 + self.below(200);
            spec.mel_scale = self.one_of(&[MelScale::Slaney, MelScale::Htk]);
            spec.mel_norm = self.one_of(&[MelNorm::None, MelNorm::Slaney]);
            spec.mel_shape = self.one_of(&[MelShape::Hz, MelShape::Mel, MelShape::Bins]);
            spec.fmin_hz = self.one_of(&[0.0, 300.0, 1e-300]);
            spec.fmax_hz = self.one_of(&[None, Some(3800.0), Some(0.1)]);
        }
        if spec.kind == Kind::Stft {
            return spec;
        }
        spec.power = self.one_of(&[2, 1]);
        spec.scale_by_n_fft = self.flag();
        spec.log = self.one_of(&[Log::Db, Log::Natural, Log::Log10, Log::None]);
        if spec.log != Log::None {
            spec.log_floor = self.one_of(&[1e-10, 1e-38, 1e300]);
            spec.log_floor_rule = self.one_of(&[LogFloorRule::Max, LogFloorRule::ReplaceZeros]);
            spec.top_db = self.one_of(&[None, Some(0.0), Some(80.0)]);
        }
        spec.scale = self.one_of(&[1.0, -1e300, 0.0]);
        spec.offset = self.one_of(&[0.0, 1.0]);
        if spec.kind == Kind::Mfcc {
            spec.n_mfcc = 1 + self.below(spec.n_mels);
            spec.lifter = self.one_of(&[0.0, 22.0, 1e-300]);
            spec.energy = self.one_of(&[Energy::None, Energy::Raw, Energy::Spectrum]);
        }
        spec.deltas = self.below(3);
        if spec.deltas > 0 {
            spec.delta_width = 3 + 2 * self.below(50);
        }
        spec.normalize = self.one_of(&[Normalize::None, Normalize::Mean, Normalize::MeanVar]);
        spec
    }
}
