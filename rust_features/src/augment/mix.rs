//! Two clips at once: x ← (r · x + (1 − r) · y) / √(r² + (1 − r)²), y first made as loud as x (Tokozume,
//! Ushiku & Harada 2018, "Learning from between-class examples for deep sound recognition"). What r is,
//! and whose clip y is, decides the one who knows the labels.

use super::level;
use crate::simd::Isa;

/// Mixes `other` into `clip` with weight r = `weight`, in 0..=1. Silence is not raised.
pub(super) fn mix(isa: Isa, clip: &mut [f32], other: &[f32], weight: f32) {
    let r = f64::from(weight);
    let norm = (r * r + (1.0 - r) * (1.0 - r)).sqrt();
    let loudness = (level::power(isa, clip) / level::power(isa, other)).sqrt();
    let loudness = if loudness.is_finite() && loudness > 0.0 { loudness } else { 1.0 };
    let gain = (loudness * (1.0 - r) / norm) as f32;
    level::blend(isa, clip, (r / norm) as f32, other, if gain.is_finite() { gain } else { 0.0 });
}
