//! The low-pass filter: a sinc under a Kaiser window (Kaiser 1974; Oppenheim & Schafer, Discrete-Time
//! Signal Processing, §7.5.3).

use std::f64::consts::PI;

/// Where the pass band ends, in parts of the lower Nyquist frequency; soxr HQ has the same. The stop
/// band begins at the Nyquist frequency itself.
const PASS_END: f64 = 0.913;

/// Attenuation of the stop band in dB: what soxr HQ reaches, and some to spare.
const ATTENUATION_DB: f64 = 120.0;

/// h(t), t in input samples; the integral of h is 1.
pub(super) struct Sinc {
    /// Cut-off in cycles per input sample: the middle of the transition.
    cutoff: f64,
    /// h(t) is 0 for |t| > `half_width`.
    pub half_width: f64,
    beta: f64,
}

impl Sinc {
    /// Passes what a rate `band` times the input's can hold (all, if that is higher), stops the rest.
    pub fn low_pass(band: f64) -> Self {
        let nyquist = 0.5 * band.min(1.0);
        Self::between(PASS_END * nyquist, nyquist)
    }

    /// Passes up to the first, stops from the second frequency on, in cycles per input sample.
    pub fn between(pass_end: f64, stop_begin: f64) -> Self {
        Self {
            cutoff: 0.5 * (pass_end + stop_begin),
            half_width: 0.5 * (ATTENUATION_DB - 7.95) / (14.36 * (stop_begin - pass_end)),
            beta: 0.1102 * (ATTENUATION_DB - 8.7),
        }
    }

    pub fn at(&self, t: f64) -> f64 {
        let x = t / self.half_width;
        if x.abs() > 1.0 {
            return 0.0;
        }
        let phase = 2.0 * PI * self.cutoff * t;
        let sinc = if phase == 0.0 { 1.0 } else { phase.sin() / phase };
        2.0 * self.cutoff * sinc * bessel_i0(self.beta * (1.0 - x * x).sqrt())
            / bessel_i0(self.beta)
    }
}

/// The modified Bessel function I0, by its power series (Abramowitz & Stegun 9.6.12).
pub(crate) fn bessel_i0(x: f64) -> f64 {
    let quarter = 0.25 * x * x;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}
