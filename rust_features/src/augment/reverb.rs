//! Rooms: a bank of impulse responses, synthetic or the user's.
//!
//! A synthetic one is noise that decays by 60 dB in a drawn time, after a drawn pause, and loses its
//! high frequencies by a drawn low-pass (Moorer 1979, "About this reverberation business"). It lasts
//! until it has decayed, or half a second, or as long as a clip, and fades out over its last tenth.

use std::f64::consts::{LN_10, PI, TAU};

use serde::Serialize;

use super::convolve::{ConvolveScratch, Convolver, Response};
use super::draw::{Draws, Purpose};
use super::level;
use super::settings::Settings;
use crate::simd::Isa;

/// Synthetic responses of a plan.
const BANK: u64 = 64;
const LONGEST_S: f64 = 0.5;
/// From the direct sound to the first reflection.
const PAUSE_S: [f64; 2] = [0.001, 0.02];
/// −3 dB point of the low-pass.
const COLOUR_HZ: [f64; 2] = [2000.0, 16_000.0];

/// The plan.
pub(super) struct Reverb {
    p: f64,
    direct_db: [f64; 2],
    /// Whether the responses are without the direct sound.
    synthetic: bool,
    convolver: Convolver,
    bank: Vec<Response>,
}

/// One response, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReverbDraw {
    /// Its number in the bank.
    pub response: usize,
    /// Gain of the direct sound; 0 for the user's responses, which contain it.
    pub direct: f32,
    /// Gain of the response.
    pub reverberant: f32,
}

impl Reverb {
    /// `impulses` are the user's responses at `sample_rate`; if there are none, synthetic ones are made.
    pub fn new(
        settings: &Settings,
        isa: Isa,
        sample_rate: u32,
        clip_len: usize,
        impulses: &[Vec<f32>],
    ) -> Self {
        let synthetic_bank = impulses.is_empty();
        let impulses: Vec<Vec<f64>> = if settings.reverb_p == 0.0 {
            Vec::new()
        } else if synthetic_bank {
            (0..BANK).map(|i| synthetic(settings, i, sample_rate.into(), clip_len)).collect()
        } else {
            let wide = |impulse: &Vec<f32>| impulse.iter().map(|&x| x.into()).collect();
            impulses.iter().map(wide).map(unit_energy).collect()
        };
        let longest = impulses.iter().map(Vec::len).max().unwrap_or(1);
        let convolver = Convolver::new(isa, clip_len, longest.min(clip_len));
        Self {
            p: settings.reverb_p,
            direct_db: settings.reverb_direct_db,
            synthetic: synthetic_bank,
            bank: impulses.iter().map(|impulse| convolver.response(impulse)).collect(),
            convolver,
        }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<ReverbDraw> {
        if !draws.chance(self.p) {
            return None;
        }
        let response = draws.below(self.bank.len());
        let ratio = 10f64.powf(-draws.uniform(self.direct_db) / 20.0);
        // Together of power 1.
        let direct = 1.0 / (1.0 + ratio * ratio).sqrt();
        Some(if self.synthetic {
            ReverbDraw { response, direct: direct as f32, reverberant: (direct * ratio) as f32 }
        } else {
            ReverbDraw { response, direct: 0.0, reverberant: 1.0 }
        })
    }

    pub fn scratch(&self) -> Option<ConvolveScratch> {
        (self.p > 0.0).then(|| self.convolver.scratch())
    }

    pub fn apply(
        &self,
        isa: Isa,
        draw: &ReverbDraw,
        clip: &mut [f32],
        scratch: &mut ConvolveScratch,
    ) {
        let wet = self.convolver.run(clip, &self.bank[draw.response], scratch);
        level::blend(isa, clip, draw.direct, wet, draw.reverberant);
    }
}

/// Response `i` of the bank for a seed.
pub(super) fn synthetic(
    settings: &Settings,
    i: u64,
    sample_rate: f64,
    clip_len: usize,
) -> Vec<f64> {
    let mut draws = Draws::new(settings.seed, 0, i, Purpose::Impulses);
    let rt60_s = draws.log_uniform(settings.reverb_rt60_s);
    let pause = (draws.uniform(PAUSE_S) * sample_rate) as usize;
    let pole = (-TAU * draws.log_uniform(COLOUR_HZ) / sample_rate).exp();
    let len = ((rt60_s.min(LONGEST_S) * sample_rate) as usize + pause + 1).min(clip_len);
    let mut response = vec![0.0; len];
    let (decay, fade) = (3.0 * LN_10 / (rt60_s * sample_rate), (len / 10).max(1) as f64);
    let mut low_passed = 0.0;
    for (n, out) in response.iter_mut().enumerate().skip(pause) {
        low_passed = (1.0 - pole) * draws.uniform([-1.0, 1.0]) + pole * low_passed;
        let left = ((len - n) as f64 / fade).min(1.0);
        let envelope = (-decay * (n - pause) as f64).exp() * 0.5 * (1.0 - (PI * left).cos());
        *out = envelope * low_passed;
    }
    unit_energy(response)
}

/// Scaled so that the squares add up to 1; silence stays what it is.
fn unit_energy(mut response: Vec<f64>) -> Vec<f64> {
    let energy: f64 = response.iter().map(|x| x * x).sum();
    if energy > 0.0 {
        response.iter_mut().for_each(|x| *x /= energy.sqrt());
    }
    response
}
