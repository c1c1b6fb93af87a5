//! The named specs. Each equals the library that owns its convention; docs/evidence/parity.md holds proof.

use crate::error::{Error, Result};
use crate::spec::{
    Energy, FeatureSpec, Kind, Log, LogFloorRule, MelNorm, MelScale, MelShape, Padding, Precision,
    PreemphasisOn, Window,
};

/// Name and spec.
type Preset = (&'static str, fn() -> FeatureSpec);

/// In the order of the documentation.
const PRESETS: &[Preset] = &[
    ("mel", || librosa_mel(44_100)),
    ("mel-16k", torchaudio_mel),
    ("mfcc", python_speech_features),
    ("mfcc-librosa", || FeatureSpec { kind: Kind::Mfcc, n_mfcc: 20, ..librosa_mel(22_050) }),
    ("fbank", || kaldi(80)),
    ("mfcc-kaldi", kaldi_mfcc),
    ("whisper", whisper),
    ("spectrogram", FeatureSpec::default),
    ("stft", || FeatureSpec { kind: Kind::Stft, ..FeatureSpec::default() }),
    ("samples", FeatureSpec::samples),
];

impl FeatureSpec {
    /// Every preset with its name, in the order of the documentation.
    pub fn presets() -> Vec<(&'static str, Self)> {
        PRESETS.iter().map(|(name, spec)| (*name, spec())).collect()
    }

    /// The waveform, in frames of one sample.
    pub(crate) fn samples() -> Self {
        Self {
            kind: Kind::Samples,
            sample_rate: 44_100,
            frame_length: 1,
            hop_length: 1,
            n_fft: 2,
            padding: Padding::None,
            window: Window::Rectangular,
            ..Self::default()
        }
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is none.
    pub fn preset(name: &str) -> Result<Self> {
        let named = PRESETS.iter().find(|preset| preset.0 == name);
        named.map(|(_, spec)| spec()).ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.0).collect();
            Error::setting("feature", name, format!("choose from {}", names.join(", ")))
        })
    }
}

/// librosa 0.11 `power_to_db(melspectrogram(y, sr=sample_rate))`.
fn librosa_mel(sample_rate: u32) -> FeatureSpec {
    FeatureSpec {
        kind: Kind::Mel,
        sample_rate,
        n_mels: 128,
        mel_norm: MelNorm::Slaney,
        log: Log::Db,
        top_db: Some(80.0),
        ..FeatureSpec::default()
    }
}

/// torchaudio `AmplitudeToDB()(MelSpectrogram(16000, n_mels=80)(y))`.
fn torchaudio_mel() -> FeatureSpec {
    FeatureSpec {
        kind: Kind::Mel,
        sample_rate: 16_000,
        frame_length: 400,
        hop_length: 200,
        n_fft: 400,
        padding: Padding::Reflect,
        n_mels: 80,
        mel_scale: MelScale::Htk,
        log: Log::Db,
        ..FeatureSpec::default()
    }
}

/// python_speech_features 0.6 `mfcc(y, 12000, winlen=0.025, winstep=0.01)`.
fn python_speech_features() -> FeatureSpec {
    FeatureSpec {
        kind: Kind::Mfcc,
        sample_rate: 12_000,
        preemphasis: 0.97,
        frame_length: 300,
        hop_length: 120,
        n_fft: 512,
        padding: Padding::Tail,
        window: Window::Rectangular,
        // Each coefficient mixes all bands, those in the gaps between tones too.
        precision: Precision::Double,
        scale_by_n_fft: true,
        n_mels: 26,
        mel_scale: MelScale::Htk,
        mel_shape: MelShape::Bins,
        log: Log::Natural,
        log_floor: f64::EPSILON,
        log_floor_rule: LogFloorRule::ReplaceZeros,
        n_mfcc: 13,
        lifter: 22.0,
        energy: Energy::Spectrum,
        ..FeatureSpec::default()
    }
}

/// kaldi-native-fbank, dither 0.
fn kaldi(n_mels: usize) -> FeatureSpec {
    FeatureSpec {
        kind: Kind::Mel,
        sample_rate: 16_000,
        preemphasis: 0.97,
        preemphasis_on: PreemphasisOn::Frame,
        frame_length: 400,
        hop_length: 160,
        n_fft: 512,
        padding: Padding::None,
        remove_dc: true,
        window: Window::Povey,
        window_periodic: false,
        n_mels,
        mel_scale: MelScale::Htk,
        mel_shape: MelShape::Mel,
        fmin_hz: 20.0,
        log: Log::Natural,
        log_floor: f32::EPSILON as f64,
        ..FeatureSpec::default()
    }
}

/// kaldi-native-fbank's MFCC, dither 0.
fn kaldi_mfcc() -> FeatureSpec {
    FeatureSpec {
        kind: Kind::Mfcc,
        n_mfcc: 13,
        lifter: 22.0,
        energy: Energy::Raw,
        // Each coefficient mixes all bands, those in the gaps between tones too.
        precision: Precision::Double,
        ..kaldi(23)
    }
}

/// transformers `WhisperFeatureExtractor`, without its padding to 30 s.
fn whisper() -> FeatureSpec {
    FeatureSpec {
        kind: Kind::Mel,
        sample_rate: 16_000,
        frame_length: 400,
        hop_length: 160,
        n_fft: 400,
        padding: Padding::Reflect,
        drop_last_frame: true,
        n_mels: 80,
        mel_norm: MelNorm::Slaney,
        log: Log::Log10,
        top_db: Some(80.0),
        scale: 0.25,
        offset: 1.0,
        ..FeatureSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid() {
        for (name, spec) in FeatureSpec::presets() {
            spec.validate().unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        assert!(FeatureSpec::preset("mell").is_err());
    }
}
