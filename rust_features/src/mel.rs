//! The mel filter bank: scales, triangles, and their sparse product with a spectrum.

use crate::simd::Simd;
use crate::spec::{FeatureSpec, MelNorm, MelScale, MelShape};

/// Slaney's scale: 200/3 Hz a mel below 1 kHz, then 27 mels an octave-like factor of 6.4.
const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
const SLANEY_BREAK_HZ: f64 = 1000.0;

fn slaney_log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

/// Hz → mel.
pub fn hz_to_mel(scale: MelScale, hz: f64) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hz / 700.0).log10(),
        MelScale::Slaney if hz < SLANEY_BREAK_HZ => hz / SLANEY_HZ_PER_MEL,
        MelScale::Slaney => {
            SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL + (hz / SLANEY_BREAK_HZ).ln() / slaney_log_step()
        }
    }
}

/// Mel → Hz.
pub fn mel_to_hz(scale: MelScale, mel: f64) -> f64 {
    let break_mel = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL;
    match scale {
        MelScale::Htk => 700.0 * (10_f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < break_mel => mel * SLANEY_HZ_PER_MEL,
        MelScale::Slaney => SLANEY_BREAK_HZ * (slaney_log_step() * (mel - break_mel)).exp(),
    }
}

/// One triangle: where each bin under it lies in the spectrum, and its weight.
struct Filter(Vec<(u32, f32)>);

/// Triangular filters that overlap by half, so each bin feeds at most two of them.
pub struct FilterBank {
    filters: Vec<Filter>,
}

impl FilterBank {
    /// The filters of a spec, weights computed in float64, on a spectrum where bin k lies at
    /// `position(k)`.
    pub fn new(spec: &FeatureSpec, position: impl Fn(usize) -> usize) -> Self {
        let mel = |hz| hz_to_mel(spec.mel_scale, hz);
        let (low, high) = (mel(spec.fmin_hz), mel(spec.fmax()));
        let step = (high - low) / (spec.n_mels + 1) as f64;
        let corner_mel = |i: usize| low + step * i as f64;
        let corner_hz = |i: usize| mel_to_hz(spec.mel_scale, corner_mel(i));
        let bin_hz = f64::from(spec.sample_rate) / spec.n_fft as f64;
        // python_speech_features: the corners are whole bins, of a transform one point longer.
        let corner_bin = |i: usize| {
            ((spec.n_fft + 1) as f64 * corner_hz(i) / f64::from(spec.sample_rate)).floor()
        };
        let filters = (0..spec.n_mels).map(|m| {
            let height = match spec.mel_norm {
                MelNorm::None => 1.0,
                MelNorm::Slaney => 2.0 / (corner_hz(m + 2) - corner_hz(m)),
            };
            let scale = if spec.scale_by_n_fft { height / spec.n_fft as f64 } else { height };
            // Once a filter, not once a bin: each costs an exponential.
            let corners = [m, m + 1, m + 2].map(|i| match spec.mel_shape {
                MelShape::Hz => corner_hz(i),
                MelShape::Mel => corner_mel(i),
                MelShape::Bins => corner_bin(i),
            });
            let weight = |bin: usize| match spec.mel_shape {
                MelShape::Hz => triangle(corners, bin as f64 * bin_hz),
                // Kaldi's filters end below the last bin.
                MelShape::Mel if bin >= spec.n_fft / 2 => 0.0,
                MelShape::Mel => triangle(corners, mel(bin as f64 * bin_hz)),
                MelShape::Bins => triangle(corners, bin as f64),
            };
            let weights = (0..spec.n_bins()).map(|bin| (bin, (scale * weight(bin)) as f32));
            let under = weights.filter(|&(_, weight)| weight > 0.0);
            Filter(under.map(|(bin, weight)| (position(bin) as u32, weight)).collect())
        });
        Self { filters: filters.collect() }
    }

    /// Number of filters.
    pub fn n_filters(&self) -> usize {
        self.filters.len()
    }

    /// Filters between two bins: their output is always zero.
    pub fn empty_filters(&self) -> Vec<usize> {
        (0..self.n_filters()).filter(|&m| self.filters[m].0.is_empty()).collect()
    }

    /// `mel[m] = Σ weight · spectrum[bin]`, each lane its own frame.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, s: S, spectrum: &[S::V], mel: &mut [S::V]) {
        for (filter, out) in self.filters.iter().zip(mel) {
            // Two sums, so that one addition need not wait for the other.
            let (mut even, mut odd) = (s.splat(0.0), s.splat(0.0));
            let (pairs, last) = filter.0.as_chunks::<2>();
            for [a, b] in pairs {
                even = s.mul_add(s.splat(a.1), spectrum[a.0 as usize], even);
                odd = s.mul_add(s.splat(b.1), spectrum[b.0 as usize], odd);
            }
            for a in last {
                even = s.mul_add(s.splat(a.1), spectrum[a.0 as usize], even);
            }
            *out = s.add(even, odd);
        }
    }
}

/// 0 at the outer corners, 1 at the middle one.
fn triangle([left, centre, right]: [f64; 3], x: f64) -> f64 {
    if x <= left && x < centre || x >= right {
        0.0
    } else if x < centre {
        (x - left) / (centre - left)
    } else {
        (right - x) / (right - centre)
    }
}
