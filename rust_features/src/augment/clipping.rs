//! Overdriven amplifiers: y = p · tanh(g · x / p) / tanh(g), p the clip's peak. The peak stays, and what
//! is quieter is raised, the more the quieter it is.

// Index loops: see simd/mod.rs.
#![allow(clippy::needless_range_loop)]

use serde::Serialize;

use super::draw::Draws;
use super::level;
use super::settings::Settings;
use crate::simd::{Isa, Kernel, Simd};

/// The plan.
pub(super) struct Clipping {
    p: f64,
    db: [f64; 2],
}

/// How hard the clip is driven.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClippingDraw {
    /// g, in decibels.
    pub db: f64,
}

impl Clipping {
    pub fn new(settings: &Settings) -> Self {
        Self { p: settings.clip_p, db: settings.clip_db }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<ClippingDraw> {
        draws.chance(self.p).then(|| ClippingDraw { db: draws.uniform(self.db) })
    }
}

impl ClippingDraw {
    pub(super) fn apply(&self, isa: Isa, clip: &mut [f32]) {
        let peak = f64::from(level::peak(isa, clip));
        let drive = 10f64.powf(self.db / 20.0);
        let (before, after) = (drive / peak, peak / drive.tanh());
        // Silence, or so near to it that the quotient is no number.
        if (before as f32).is_finite() && peak.is_finite() {
            isa.dispatch(Tanh { clip, before: before as f32, after: after as f32 });
        }
    }
}

struct Tanh<'a> {
    clip: &'a mut [f32],
    before: f32,
    after: f32,
}

impl Kernel for Tanh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for i in 0..self.clip.len() {
            self.clip[i] = self.after * tanh(self.before * self.clip[i]);
        }
    }
}

/// Within 5e-7: a rational approximation of degree 13 (Eigen 3.4, `generic_fast_tanh_float`).
#[inline(always)]
fn tanh(x: f32) -> f32 {
    const ALPHA: [f32; 7] = [
        4.893_525e-3,
        6.372_619_3e-4,
        1.485_722_4e-5,
        5.122_297_1e-8,
        -8.604_672e-11,
        2.000_188e-13,
        -2.760_768_5e-16,
    ];
    const BETA: [f32; 4] = [4.893_525e-3, 2.268_434_6e-3, 1.185_347_1e-4, 1.198_258_4e-6];
    const LIMIT: f32 = 7.905_311;
    let x = if x > LIMIT { LIMIT } else { x };
    let x = if x < -LIMIT { -LIMIT } else { x };
    let square = x * x;
    let mut p = ALPHA[6];
    for i in (0..6).rev() {
        p = p * square + ALPHA[i];
    }
    let mut q = BETA[3];
    for i in (0..3).rev() {
        q = q * square + BETA[i];
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_equals_the_library() {
        for i in -20_000..=20_000 {
            let x = i as f32 / 2000.0;
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 5e-7, "{x}");
        }
        assert_eq!(tanh(0.0), 0.0);
    }
}
