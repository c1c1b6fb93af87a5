//! The low-pass filter: a sinc under a Kaiser window (Kaiser 1974; Oppenheim & Schafer, Discrete-Time
//! Signal Processing, §7.5.3).

use std::f64::consts::PI;

/// Where the pass band ends and the stop band begins, in parts of the lower Nyquist frequency; soxr HQ
/// has the same.
const PASS_END: f64 = 0.913;
const STOP_BEGIN: f64 = 1.0;

/// Attenuation of the stop band in dB: what soxr HQ reaches, and some to spare.
const ATTENUATION_DB: f64 = 120.0;

/// h(t), t in input samples; the integral of h is 1.
pub(super) struct Kernel {
    /// Cut-off in cycles per input sample: the middle of the transition.
    cutoff: f64,
    /// h(t) is 0 for |t| > `half_width`.
    pub half_width: f64,
    beta: f64,
}

impl Kernel {
    /// For a ratio of rates `to / from`.
    pub fn new(ratio: f64) -> Self {
        let nyquist = 0.5 * ratio.min(1.0);
        let transition = (STOP_BEGIN - PASS_END) * nyquist;
        Self {
            cutoff: 0.5 * (PASS_END + STOP_BEGIN) * nyquist,
            half_width: 0.5 * (ATTENUATION_DB - 7.95) / (14.36 * transition),
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
fn bessel_i0(x: f64) -> f64 {
    let quarter = 0.25 * x * x;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}
