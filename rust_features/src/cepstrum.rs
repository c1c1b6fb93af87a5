//! Cepstral coefficients: the DCT of a log mel spectrum, liftered.

use std::f64::consts::PI;

use crate::simd::{Block, MAX_LANES, Simd};
use crate::spec::FeatureSpec;

/// The first `n_mfcc` rows of the orthonormal DCT-II, each multiplied by its lifter.
pub struct Cepstrum {
    /// `[n_mels][n_mfcc rounded up to whole vectors]`
    matrix: Vec<Block>,
    n_mels: usize,
    n_mfcc: usize,
}

impl Cepstrum {
    /// The transform of a spec, computed in float64.
    pub fn new(spec: &FeatureSpec) -> Self {
        let (n_mels, n_mfcc) = (spec.n_mels, spec.n_mfcc);
        let blocks = n_mfcc.div_ceil(MAX_LANES);
        let mut matrix = Block::zeros(n_mels * blocks, MAX_LANES);
        for (m, row) in matrix.chunks_exact_mut(blocks).enumerate() {
            for k in 0..n_mfcc {
                let norm = if k == 0 { 1.0 } else { 2.0 } / n_mels as f64;
                let cosine = (PI / n_mels as f64 * (m as f64 + 0.5) * k as f64).cos();
                let value = norm.sqrt() * cosine * lifter(spec.lifter, k);
                row[k / MAX_LANES].0[k % MAX_LANES] = value as f32;
            }
        }
        Self { matrix, n_mels, n_mfcc }
    }

    /// `out[k] = Σ matrix[k, m] · log_mel[m]` of one frame; a lane is a coefficient.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, s: S, log_mel: &[f32], out: &mut [f32]) {
        let stride = self.n_mfcc.div_ceil(MAX_LANES) * (MAX_LANES / S::LANES);
        let matrix = s.cast(&self.matrix);
        // Only row 0 sees a constant. Logarithms of quiet frames are large and all alike, so
        // taking their mean out keeps the digits that the other rows need.
        let mean = log_mel[..self.n_mels].iter().sum::<f32>() / self.n_mels as f32;
        for first in (0..self.n_mfcc).step_by(S::LANES) {
            let column = first / S::LANES;
            // Four sums: each stays smaller, hence more exact, and none waits for another.
            let mut sums = [s.splat(0.0); 4];
            for (m, &value) in log_mel[..self.n_mels].iter().enumerate() {
                let i = m % 4;
                sums[i] = s.mul_add(s.splat(value - mean), matrix[m * stride + column], sums[i]);
            }
            let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
            let n = S::LANES.min(self.n_mfcc - first);
            out[first..first + n].copy_from_slice(&s.floats(&[sum])[..n]);
        }
        out[0] += mean * (self.n_mels as f32).sqrt();
    }
}

/// HTK's lifter: 1 + L/2 · sin(π k / L).
fn lifter(l: f64, k: usize) -> f64 {
    if l == 0.0 { 1.0 } else { 1.0 + l / 2.0 * (PI * k as f64 / l).sin() }
}
