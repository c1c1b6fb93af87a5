//! What to compute: a [`FeatureSpec`] describes one feature completely, and is checked here only.
//!
//! The settings are orthogonal. A preset ([`FeatureSpec::preset`]) is nothing but a named spec.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json;

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
    };
}

choices! {
    /// The last step computed.
    Kind {
        /// The waveform as it is: a frame is a sample.
        Samples,
        /// Complex spectrum, `n_fft / 2 + 1` bins.
        Stft,
        /// Magnitude or power spectrum, `n_fft / 2 + 1` bins.
        Spectrogram,
        /// Spectrum summed by mel filters.
        Mel,
        /// Cepstral coefficients: DCT of the log mel spectrum.
        Mfcc,
    }
}
choices! {
    /// What pre-emphasis filters.
    PreemphasisOn {
        /// The signal; its first sample is kept (python_speech_features).
        Signal,
        /// Every frame on its own; its first sample precedes itself (Kaldi).
        Frame,
    }
}
choices! {
    /// What stands before the first and after the last sample, and so how many frames there are.
    Padding {
        /// Nothing: only whole frames (Kaldi's snip_edges).
        None,
        /// Zeros after the end until the last frame is whole (python_speech_features).
        Tail,
        /// `n_fft / 2` zeros on both sides: frame t is centred on sample t · hop (librosa).
        Zero,
        /// `n_fft / 2` mirrored samples on both sides (torchaudio, Whisper).
        Reflect,
        /// Mirrored samples, the edge itself too; frame t is centred on sample (t + ½) · hop
        /// (Kaldi without snip_edges).
        Symmetric,
    }
}
choices! {
    /// The window each frame is multiplied with.
    Window {
        /// 0.5 − 0.5 cos.
        Hann,
        /// 0.54 − 0.46 cos.
        Hamming,
        /// 0.42 − 0.5 cos + 0.08 cos 2.
        Blackman,
        /// Four-term Blackman–Harris, side lobes below −92 dB.
        BlackmanHarris,
        /// Triangle with zero ends.
        Bartlett,
        /// Hann to the power 0.85 (Kaldi).
        Povey,
        /// All ones.
        Rectangular,
    }
}
choices! {
    /// Arithmetic of window, Fourier transform and power.
    Precision {
        /// float32: several times faster. What lies 80 dB below a pure note is some thousandths of a
        /// decibel off.
        Single,
        /// float64: right to the last digit of the float32 result, whatever the signal.
        Double,
    }
}
choices! {
    /// The mel scale.
    MelScale {
        /// Linear below 1 kHz, logarithmic above (Slaney's Auditory Toolbox, librosa).
        Slaney,
        /// 2595 · log10(1 + f / 700) (HTK, Kaldi, torchaudio).
        Htk,
    }
}
choices! {
    /// The height of the filters.
    MelNorm {
        /// Peak 1.
        None,
        /// Area 1: 2 / (width in Hz) (Slaney).
        Slaney,
    }
}
choices! {
    /// Over which axis a filter is a triangle.
    MelShape {
        /// Hz (librosa, torchaudio).
        Hz,
        /// Mel; the bin at half the sample rate takes no part (Kaldi).
        Mel,
        /// FFT bins, corners rounded down to whole bins (python_speech_features).
        Bins,
    }
}
choices! {
    /// The logarithm.
    Log {
        /// None.
        None,
        /// Decibels: 10 · log10 of power, 20 · log10 of magnitude.
        Db,
        /// Base e.
        Natural,
        /// Base 10.
        Log10,
    }
}
choices! {
    /// What `log_floor` does with a value below it.
    LogFloorRule {
        /// Raises it to the floor.
        Max,
        /// Only exact zeros are replaced by the floor (python_speech_features).
        ReplaceZeros,
    }
}
choices! {
    /// What replaces the first cepstral coefficient.
    Energy {
        /// Nothing.
        None,
        /// Log of the sum of the power spectrum (python_speech_features).
        Spectrum,
        /// Log of the sum of squares before pre-emphasis and window (Kaldi).
        Raw,
    }
}
choices! {
    /// What is appended as a slope over time.
    DeltaFit {
        /// The slope of a line through `delta_width` frames, edges repeated; then the slope of that
        /// (HTK, torchaudio, python_speech_features).
        Line,
        /// The first derivative of a line, the second of a parabola through `delta_width` frames;
        /// near the edges that of the first and the last such frames (librosa, mode interp).
        Polynomial,
    }
}
choices! {
    /// What each feature has subtracted and divided, over the frames of a clip.
    Normalize {
        /// Nothing.
        None,
        /// Its mean is subtracted.
        Mean,
        /// Its mean is subtracted, then it is divided by its standard deviation.
        MeanVar,
    }
}

/// One feature, completely. Fields stand in the order in which they act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureSpec {
    /// The last step computed.
    pub kind: Kind,
    /// Samples a second of the input.
    pub sample_rate: u32,
    /// c in y\[n\] = x\[n\] − c · x\[n−1\]; 0 switches it off.
    pub preemphasis: f64,
    /// What pre-emphasis filters.
    pub preemphasis_on: PreemphasisOn,
    /// Samples a frame.
    pub frame_length: usize,
    /// Samples from one frame to the next.
    pub hop_length: usize,
    /// Points of the Fourier transform; a shorter frame is padded with zeros: on both sides if
    /// frames are centred (`padding` zero or reflect), else at its end.
    pub n_fft: usize,
    /// What stands around the signal.
    pub padding: Padding,
    /// Leaves the last frame out (Whisper).
    pub drop_last_frame: bool,
    /// Subtracts its mean from every frame.
    pub remove_dc: bool,
    /// The window.
    pub window: Window,
    /// Periodic (true) or symmetric (false) window.
    pub window_periodic: bool,
    /// Arithmetic of window, Fourier transform and power.
    pub precision: Precision,
    /// 1: magnitude, 2: power.
    pub power: u32,
    /// Divides the spectrum by `n_fft`.
    pub scale_by_n_fft: bool,
    /// Number of mel filters.
    pub n_mels: usize,
    /// The mel scale.
    pub mel_scale: MelScale,
    /// The height of the filters.
    pub mel_norm: MelNorm,
    /// Over which axis a filter is a triangle.
    pub mel_shape: MelShape,
    /// Lower end of the lowest filter.
    pub fmin_hz: f64,
    /// Upper end of the highest filter; none: half the sample rate.
    pub fmax_hz: Option<f64>,
    /// The logarithm.
    pub log: Log,
    /// The value below which `log_floor_rule` acts.
    pub log_floor: f64,
    /// What `log_floor` does.
    pub log_floor_rule: LogFloorRule,
    /// Raises what is more than this many decibels below the clip's maximum (needs the whole clip).
    pub top_db: Option<f64>,
    /// Factor after the logarithm.
    pub scale: f64,
    /// Added after `scale`.
    pub offset: f64,
    /// Number of cepstral coefficients.
    pub n_mfcc: usize,
    /// L in 1 + L/2 · sin(π (k + `lifter_first`) / L), by which coefficient k is multiplied; 0: none.
    pub lifter: f64,
    /// What the lifter counts from: 0 (HTK, Kaldi, python_speech_features) or 1 (librosa).
    pub lifter_first: usize,
    /// What replaces the first coefficient.
    pub energy: Energy,
    /// 1 appends the slope of every feature over time, 2 also the slope of the slope.
    pub deltas: usize,
    /// Frames over which a slope is fitted, odd.
    pub delta_width: usize,
    /// What is fitted.
    pub delta_fit: DeltaFit,
    /// Normalisation over the frames of a clip, as the last step.
    pub normalize: Normalize,
}

impl Default for FeatureSpec {
    /// The preset `spectrogram`: every later step is off.
    fn default() -> Self {
        Self {
            kind: Kind::Spectrogram,
            sample_rate: 22_050,
            preemphasis: 0.0,
            preemphasis_on: PreemphasisOn::Signal,
            frame_length: 2048,
            hop_length: 512,
            n_fft: 2048,
            padding: Padding::Zero,
            drop_last_frame: false,
            remove_dc: false,
            window: Window::Hann,
            window_periodic: true,
            precision: Precision::Single,
            power: 2,
            scale_by_n_fft: false,
            n_mels: 0,
            mel_scale: MelScale::Slaney,
            mel_norm: MelNorm::None,
            mel_shape: MelShape::Hz,
            fmin_hz: 0.0,
            fmax_hz: None,
            log: Log::None,
            log_floor: 1e-10,
            log_floor_rule: LogFloorRule::Max,
            top_db: None,
            scale: 1.0,
            offset: 0.0,
            n_mfcc: 0,
            lifter: 0.0,
            lifter_first: 0,
            energy: Energy::None,
            deltas: 0,
            delta_width: 9,
            delta_fit: DeltaFit::Line,
            normalize: Normalize::None,
        }
    }
}

/// Sizes above this are a mistake, not a wish.
const MAX_SIZE: usize = 1 << 20;

/// So are more filters × bins, or coefficients × filters: planning them takes minutes.
const MAX_CELLS: usize = 1 << 28;

impl FeatureSpec {
    /// Reads JSON; fields that it leaves out have their default.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown field or a value of another type; else as [`validate`].
    ///
    /// [`validate`]: FeatureSpec::validate
    pub fn from_json(text: &str) -> Result<Self> {
        let spec: Self = json::parse("spec", text)?;
        spec.validate()?;
        Ok(spec)
    }

    /// The spec as JSON, one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a plain struct always serialises")
    }

    /// Upper end of the highest filter in Hz.
    pub fn fmax(&self) -> f64 {
        self.fmax_hz.unwrap_or(f64::from(self.sample_rate) / 2.0)
    }

    /// Bins of the spectrum: `n_fft / 2 + 1`.
    pub fn n_bins(&self) -> usize {
        self.n_fft / 2 + 1
    }

    /// Whether any value of the result depends on the whole clip, so that a stream can deliver
    /// only at its end.
    pub fn needs_whole_clip(&self) -> bool {
        self.top_db.is_some() || self.deltas > 0 || self.normalize != Normalize::None
    }

    /// Whether frames pass through the mel filter bank.
    pub fn has_filters(&self) -> bool {
        matches!(self.kind, Kind::Mel | Kind::Mfcc)
    }

    /// Checks every field and every combination.
    ///
    /// # Errors
    /// [`Error::Setting`] naming field, value and rule.
    pub fn validate(&self) -> Result<()> {
        self.check_ranges()?;
        self.check_combinations()
    }

    fn check_ranges(&self) -> Result<()> {
        fn within(name: &str, value: usize, low: usize, high: usize) -> Result<()> {
            if value < low {
                return Err(Error::setting(name, value, format!("must be >= {low}")));
            }
            if value > high {
                return Err(Error::setting(name, value, format!("must be <= {high}")));
            }
            Ok(())
        }
        fn number(name: &str, value: f64, ok: bool, rule: &str) -> Result<()> {
            if ok { Ok(()) } else { Err(Error::setting(name, value, rule)) }
        }
        within("sample_rate", self.sample_rate as usize, 1, usize::MAX)?;
        let c = self.preemphasis;
        number("preemphasis", c, (0.0..=1.0).contains(&c), "must be between 0 and 1")?;
        within("frame_length", self.frame_length, 1, MAX_SIZE)?;
        within("hop_length", self.hop_length, 1, MAX_SIZE)?;
        within("n_fft", self.n_fft, 2, MAX_SIZE)?;
        if self.n_fft < self.frame_length {
            let rule = format!("must be >= frame_length {}", self.frame_length);
            return Err(Error::setting("n_fft", self.n_fft, rule));
        }
        if self.padding == Padding::Symmetric && self.hop_length > self.frame_length {
            let rule = format!("padding symmetric: must be <= frame_length {}", self.frame_length);
            return Err(Error::setting("hop_length", self.hop_length, rule));
        }
        within("power", self.power as usize, 1, 2)?;
        if self.has_filters() {
            within("n_mels", self.n_mels, 1, MAX_SIZE.min(MAX_CELLS / self.n_bins()))?;
            let (low, high) = (self.fmin_hz, self.fmax());
            let nyquist = f64::from(self.sample_rate) / 2.0;
            number("fmin_hz", low, low >= 0.0, "must be >= 0")?;
            let rule = format!("must be <= half the sample rate, {nyquist}");
            number("fmax_hz", high, high <= nyquist, &rule)?;
            number("fmin_hz", low, low < high, &format!("must be < fmax_hz {high}"))?;
        }
        if self.kind == Kind::Mfcc {
            within("n_mfcc", self.n_mfcc, 1, MAX_CELLS / self.n_mels)?;
            if self.n_mfcc > self.n_mels {
                let rule = format!("must be <= n_mels {}", self.n_mels);
                return Err(Error::setting("n_mfcc", self.n_mfcc, rule));
            }
            number("lifter", self.lifter, self.lifter >= 0.0, "must be >= 0")?;
            within("lifter_first", self.lifter_first, 0, 1)?;
        }
        if self.log != Log::None {
            // Below the smallest float32 the floor would be zero, and its logarithm −∞.
            let (floor, least) = (self.log_floor, f64::from(f32::MIN_POSITIVE));
            let ok = floor >= least && floor.is_finite();
            number("log_floor", floor, ok, &format!("must be >= {least:e} and finite"))?;
            if let Some(range) = self.top_db {
                number("top_db", range, range >= 0.0 && range.is_finite(), "must be >= 0")?;
            }
        }
        for (name, value) in [("scale", self.scale), ("offset", self.offset)] {
            number(name, value, value.is_finite(), "must be finite")?;
        }
        number("lifter", self.lifter, self.lifter.is_finite(), "must be finite")?;
        within("deltas", self.deltas, 0, 2)?;
        if self.deltas > 0 && (self.delta_width < 3 || self.delta_width.is_multiple_of(2)) {
            return Err(Error::setting("delta_width", self.delta_width, "must be odd and >= 3"));
        }
        within("delta_width", self.delta_width, 0, MAX_SIZE)
    }

    /// A setting of a step that is switched off would do nothing, so it is refused.
    fn check_combinations(&self) -> Result<()> {
        let fields = |spec: &Self| match serde_json::to_value(spec) {
            Ok(serde_json::Value::Object(fields)) => fields,
            other => unreachable!("a plain struct serialises as an object: {other:?}"),
        };
        let mine = fields(self);
        if self.kind == Kind::Samples {
            let only = fields(&Self { sample_rate: self.sample_rate, ..Self::samples() });
            let Some((name, value)) = mine.iter().find(|(name, value)| **value != only[*name])
            else {
                return Ok(());
            };
            let rule = format!("kind samples has a sample_rate only; leave it at {}", only[name]);
            return Err(Error::setting(name, value, rule));
        }
        let neutral = fields(&Self::default());
        for Step { used, settings, why } in self.steps() {
            for &name in settings.iter().filter(|_| !used) {
                if mine[name] != neutral[name] {
                    let rule = format!("{why}; leave it at {}", neutral[name]);
                    return Err(Error::setting(name, &mine[name], rule));
                }
            }
        }
        if self.energy == Energy::Spectrum && self.power != 2 {
            return Err(Error::setting("power", self.power, "energy spectrum needs power 2"));
        }
        if self.kind == Kind::Mfcc && self.log == Log::None {
            return Err(Error::setting("log", "none", "kind mfcc is defined on a log spectrum"));
        }
        Ok(())
    }

    /// The steps that can be switched off.
    fn steps(&self) -> [Step; 7] {
        let step = |used, settings, why| Step { used, settings, why };
        [
            step(
                self.has_filters(),
                &["n_mels", "mel_scale", "mel_norm", "mel_shape", "fmin_hz", "fmax_hz"],
                "only kinds mel and mfcc have filters",
            ),
            step(
                self.kind == Kind::Mfcc,
                &["n_mfcc", "lifter", "energy"],
                "only kind mfcc has cepstra",
            ),
            step(
                self.kind == Kind::Mfcc && self.lifter > 0.0,
                &["lifter_first"],
                "it belongs to a lifter above 0",
            ),
            step(
                self.kind != Kind::Stft,
                &["power", "scale_by_n_fft", "log", "scale", "offset", "deltas", "normalize"],
                "kind stft is the complex spectrum as it is",
            ),
            step(
                self.log != Log::None,
                &["log_floor", "log_floor_rule", "top_db"],
                "it belongs to a log other than none",
            ),
            step(self.deltas > 0, &["delta_width", "delta_fit"], "it belongs to deltas 1 or 2"),
            step(
                self.preemphasis > 0.0,
                &["preemphasis_on"],
                "it belongs to a preemphasis above 0",
            ),
        ]
    }
}

/// A step that can be switched off.
struct Step {
    used: bool,
    /// Names of the fields that only this step reads.
    settings: &'static [&'static str],
    /// Why they do nothing when it is switched off.
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut FeatureSpec)) -> String {
        let mut spec = FeatureSpec::preset("mfcc-librosa").unwrap();
        change(&mut spec);
        spec.validate().unwrap_err().to_string()
    }

    #[test]
    fn errors_name_field_value_and_rule() {
        assert_eq!(refused(|s| s.hop_length = 0), "hop_length 0 is invalid: must be >= 1");
        assert_eq!(
            refused(|s| s.n_fft = 1024),
            "n_fft 1024 is invalid: must be >= frame_length 2048"
        );
        assert_eq!(
            refused(|s| (s.n_fft, s.n_mels) = (1 << 20, 1 << 17)),
            "n_mels 131072 is invalid: must be <= 511"
        );
        assert_eq!(
            refused(|s| (s.kind, s.n_mels, s.n_mfcc) = (Kind::Mfcc, 1 << 17, 1 << 17)),
            "n_mfcc 131072 is invalid: must be <= 2048"
        );
        assert_eq!(refused(|s| s.n_mfcc = 129), "n_mfcc 129 is invalid: must be <= n_mels 128");
        assert!(refused(|s| s.preemphasis = f64::NAN).contains("preemphasis NaN"));
        assert!(refused(|s| s.fmax_hz = Some(30_000.0)).contains("fmax_hz 30000"));
        assert!(refused(|s| s.kind = Kind::Mel).starts_with("n_mfcc 20 is invalid"));
    }

    #[test]
    fn json_errors_name_the_field() {
        let error = |json: &str| FeatureSpec::from_json(json).unwrap_err().to_string();
        assert!(error(r#"{"window": "han"}"#).starts_with("window han is invalid: must be one of"));
        assert_eq!(error(r#"{"n_fft": -1}"#), "n_fft -1 is invalid: must be a whole number >= 0");
        assert!(error(r#"{"nfft": 1}"#).starts_with("nfft 1 is invalid: must be one of kind"));
        assert!(error("[]").contains("spec"));
    }

    #[test]
    fn every_setting_of_a_step_is_a_field() {
        let spec = FeatureSpec::default();
        let fields = serde_json::to_value(&spec).unwrap();
        for name in spec.steps().iter().flat_map(|step| step.settings) {
            assert!(fields.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn json_round_trip() {
        for (_, spec) in FeatureSpec::presets() {
            assert_eq!(FeatureSpec::from_json(&spec.to_json()).unwrap(), spec);
        }
        // Found by fuzzing: the nearest double, not its neighbour.
        let json = r#"{"kind":"mel","n_mels":80,"log":"db","log_floor":9.999999999999999e-31}"#;
        assert_eq!(FeatureSpec::from_json(json).unwrap().log_floor, 9.999999999999999e-31);
    }
}
