//! Background noise at a drawn signal-to-noise ratio: synthetic, of any colour from white to brown, or
//! the user's recordings.
//!
//! Synthetic noise comes from a bank made once: noises whose power falls as 1/f^c, for nine colours c
//! from 0 to 2, made from their spectrum with random phases, so that their ends join. Two of
//! neighbouring colours, each from a drawn place on, make the colours between.

use std::f64::consts::TAU;

use realfft::RealFftPlanner;
use realfft::num_complex::Complex64;
use serde::Serialize;

use super::draw::{Draws, Purpose};
use super::level;
use super::settings::Settings;
use crate::simd::Isa;

/// Samples of a synthetic noise.
const LEN: usize = 1 << 16;
/// Colours from one whole exponent to the next.
const STEPS: usize = 4;
/// Below this frequency in Hz the power no longer rises.
const CORNER_HZ: f64 = 20.0;

/// The plan.
pub(super) struct Noise {
    p: f64,
    snr_db: [f64; 2],
    colour: [f64; 2],
    /// Whether the bank holds the user's recordings.
    recorded: bool,
    bank: Vec<Vec<f32>>,
}

/// Parts of the noises in the bank, and how loud their sum is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoiseDraw {
    /// Number in the bank, first sample, and gain of each.
    pub parts: Vec<(usize, usize, f32)>,
    /// Power of the clip over that of the noise, in decibels.
    pub snr_db: f64,
}

impl Noise {
    /// `noises` are the user's recordings; if there are none, synthetic ones are made.
    pub fn new(settings: &Settings, sample_rate: u32, noises: Vec<Vec<f32>>) -> Self {
        let recorded = !noises.is_empty();
        let bank = if settings.noise_p == 0.0 {
            Vec::new()
        } else if recorded {
            noises
        } else {
            (0..=2 * STEPS).map(|i| synthetic(settings.seed, i, sample_rate.into())).collect()
        };
        Self {
            p: settings.noise_p,
            snr_db: settings.noise_snr_db,
            colour: settings.noise_colour,
            recorded,
            bank,
        }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<NoiseDraw> {
        if !draws.chance(self.p) {
            return None;
        }
        let snr_db = draws.uniform(self.snr_db);
        let place = |draws: &mut Draws, i: usize| draws.below(self.bank[i].len());
        let parts = if self.recorded {
            let i = draws.below(self.bank.len());
            vec![(i, place(&mut draws, i), 1.0)]
        } else {
            let colour = draws.uniform(self.colour) * STEPS as f64;
            let i = (colour as usize).min(2 * STEPS - 1);
            // Independent noises: their powers add up to 1.
            let weight = colour - i as f64;
            let (here, next) = (place(&mut draws, i), place(&mut draws, i + 1));
            vec![(i, here, (1.0 - weight).sqrt() as f32), (i + 1, next, weight.sqrt() as f32)]
        };
        Some(NoiseDraw { parts, snr_db })
    }

    /// Adds the noise; none to silence. `buffer` is overwritten.
    pub fn apply(&self, isa: Isa, draw: &NoiseDraw, clip: &mut [f32], buffer: &mut Vec<f32>) {
        buffer.clear();
        buffer.resize(clip.len(), 0.0);
        for &(i, first, gain) in &draw.parts {
            let mut rest = &mut buffer[..];
            let mut noise = &self.bank[i][first..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at_mut(noise.len().min(rest.len()));
                level::blend(isa, now, 1.0, noise, gain);
                (rest, noise) = (later, &self.bank[i]);
            }
        }
        let (signal, noise) = (level::power(isa, clip), level::power(isa, buffer));
        let gain = (signal / noise * 10f64.powf(-draw.snr_db / 10.0)).sqrt();
        if noise > 0.0 && gain.is_finite() {
            level::blend(isa, clip, 1.0, buffer, gain as f32);
        }
    }
}

/// Noise number `i` of the bank, of mean square 1.
pub(super) fn synthetic(seed: u64, i: usize, sample_rate: f64) -> Vec<f32> {
    let mut draws = Draws::new(seed, 0, i as u64, Purpose::Noises);
    let exponent = -0.5 * i as f64 / STEPS as f64;
    let bin_hz = sample_rate / LEN as f64;
    let plan = RealFftPlanner::new().plan_fft_inverse(LEN);
    let (mut spectrum, mut noise) = (plan.make_input_vec(), plan.make_output_vec());
    // Neither a mean nor a component at half the sample rate.
    let (mut energy, last) = (0.0, LEN / 2);
    for (k, bin) in spectrum.iter_mut().enumerate().take(last).skip(1) {
        let magnitude = (k as f64 * bin_hz).max(CORNER_HZ).powf(exponent);
        *bin = Complex64::from_polar(magnitude, TAU * draws.unit());
        energy += 2.0 * magnitude * magnitude;
    }
    plan.process(&mut spectrum, &mut noise).expect("buffers of the plan's own sizes");
    noise.into_iter().map(|x: f64| (x / energy.sqrt()) as f32).collect()
}
