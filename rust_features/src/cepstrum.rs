//! Cepstral coefficients: the DCT of a log mel spectrum, liftered.

use std::f64::consts::PI;

use crate::simd::{Block, MAX_LANES, Simd};
use crate::spec::FeatureSpec;

/// The first `n_mfcc` rows of the orthonormal DCT-II, each multiplied by its lifter.
///
/// Even rows are symmetric and odd rows antisymmetric, so the former need only the sums of the
/// bands m and n_mels − 1 − m, and the latter only the differences: half the work.
pub struct Cepstrum {
    /// `[pairs of bands][even, odd][rows of each kind, rounded up to whole vectors]`
    matrix: Vec<Block>,
    /// Vectors of the widest kind for the even, or the odd, rows.
    blocks: usize,
    n_mels: usize,
    /// What a constant of 1 in all bands makes of coefficient 0.
    of_one: f32,
}

impl Cepstrum {
    /// The transform of a spec, computed in float64.
    pub fn new(spec: &FeatureSpec) -> Self {
        let n_mels = spec.n_mels;
        let blocks = spec.n_mfcc.div_ceil(2).div_ceil(MAX_LANES);
        let mut matrix = Block::zeros(n_mels / 2 * 2 * blocks, MAX_LANES);
        for (m, row) in matrix.chunks_exact_mut(2 * blocks).enumerate() {
            for k in 0..spec.n_mfcc {
                let norm = if k == 0 { 1.0 } else { 2.0 } / n_mels as f64;
                let cosine = (PI / n_mels as f64 * (m as f64 + 0.5) * k as f64).cos();
                let value = norm.sqrt() * cosine * lifter(spec.lifter, k + spec.lifter_first);
                row[k % 2 * blocks + k / 2 / MAX_LANES].0[k / 2 % MAX_LANES] = value as f32;
            }
        }
        let of_one = (n_mels as f64).sqrt() * lifter(spec.lifter, spec.lifter_first);
        Self { matrix, blocks, n_mels, of_one: of_one as f32 }
    }

    /// `out[k] = Σ matrix[k, m] · log_mel[m]` of one frame; a lane is a coefficient.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, s: S, log_mel: &[f32], out: &mut [f32]) {
        let stride = self.blocks * (MAX_LANES / S::LANES);
        let matrix = s.cast(&self.matrix);
        let (low, high) = log_mel[..self.n_mels].split_at(self.n_mels / 2);
        // Only row 0 sees a constant. Logarithms of quiet frames are large and all alike, so
        // taking one of them out of all keeps the digits that the other rows need.
        let constant = high[0];
        for (column, out) in out.chunks_mut(2 * S::LANES).enumerate() {
            // Four sums: each stays smaller, hence more exact, and none waits for another.
            let (mut even, mut odd) = ([s.splat(0.0); 4], [s.splat(0.0); 4]);
            for (m, (low, high)) in low.iter().zip(high.iter().rev()).enumerate() {
                let (low, high, row) = (low - constant, high - constant, 2 * m * stride + column);
                even[m % 4] = s.mul_add(s.splat(low + high), matrix[row], even[m % 4]);
                odd[m % 4] = s.mul_add(s.splat(low - high), matrix[row + stride], odd[m % 4]);
            }
            // The band in the middle of an odd number is the constant: nothing is left of it.
            let pairs = [even, odd].map(|[a, b, c, d]| s.add(s.add(a, b), s.add(c, d)));
            let (even, odd) = s.floats(&pairs).split_at(S::LANES);
            for (out, (even, odd)) in out.chunks_mut(2).zip(even.iter().zip(odd)) {
                out[0] = *even;
                if let Some(out) = out.get_mut(1) {
                    *out = *odd;
                }
            }
        }
        out[0] += constant * self.of_one;
    }
}

/// HTK's lifter: 1 + L/2 · sin(π k / L); librosa's begins at k = 1.
fn lifter(l: f64, k: usize) -> f64 {
    if l == 0.0 { 1.0 } else { 1.0 + l / 2.0 * (PI * k as f64 / l).sin() }
}
