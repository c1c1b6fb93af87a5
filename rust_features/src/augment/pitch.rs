//! Pitch and speed: the recording played faster or slower.
//!
//! Output j is the recording at time start + j · ratio, interpolated by a sinc under a Kaiser window of
//! 32 taps. Its −6 dB point lies at 0.47 of the lower of the two sample rates; up to 0.06 below (18 kHz
//! of 44.1 kHz) the error is below −60 dB. The ratio is a multiple of 1/512 (3 cents), so that 512 rows
//! of taps, each with sum 1, serve all outputs. For a higher pitch the filter is narrower, by the next
//! whole number of semitones.

use serde::Serialize;

use super::draw::Draws;
use super::settings::Settings;
use crate::resample::sinc::bessel_i0;
use crate::simd::{Isa, Kernel, MAX_LANES, Rows, Simd};

const TAPS: usize = 32;
const ROWS: usize = 512;
/// Taps before the whole part of an output's place.
pub(super) const LEAD: usize = TAPS / 2 - 1;
/// −6 dB point in parts of the sample rate.
const CUTOFF: f64 = 0.47;
/// Of the Kaiser window: stop band −65 dB.
const BETA: f64 = 6.2;

/// The plan: filters for each whole number of semitones upwards.
pub(super) struct Pitch {
    p: f64,
    semitones: f64,
    tables: Vec<Vec<[f32; TAPS]>>,
}

/// Input samples from one output sample to the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PitchDraw {
    /// Above 1: higher and faster.
    pub ratio: f64,
}

impl PitchDraw {
    /// Samples of the recording that `n` samples of a clip come from.
    pub fn n_used(self, n: usize) -> usize {
        (n as f64 * self.ratio).ceil() as usize
    }
}

impl Pitch {
    pub fn new(settings: &Settings) -> Self {
        let highest =
            if settings.pitch_p > 0.0 { settings.pitch_semitones.ceil() as i32 } else { -1 };
        let tables = (0..=highest).map(|up| table(CUTOFF / 2f64.powf(f64::from(up) / 12.0)));
        Self { p: settings.pitch_p, semitones: settings.pitch_semitones, tables: tables.collect() }
    }

    pub fn draw(&self, mut draws: Draws) -> Option<PitchDraw> {
        draws.chance(self.p).then(|| {
            let semitones = draws.uniform([-self.semitones, self.semitones]);
            let steps = (2f64.powf(semitones / 12.0) * ROWS as f64).round();
            PitchDraw { ratio: steps / ROWS as f64 }
        })
    }

    /// Input samples for `n` outputs, the first `LEAD` of them before the first output.
    pub fn n_inputs(draw: PitchDraw, n: usize) -> usize {
        ((n.max(1) - 1) as f64 * draw.ratio) as usize + TAPS
    }

    pub fn apply(&self, isa: Isa, draw: PitchDraw, input: &[f32], out: &mut [f32]) {
        let up = (12.0 * draw.ratio.log2()).ceil().max(0.0) as usize;
        let rows = &self.tables[up.min(self.tables.len() - 1)];
        let step = (draw.ratio * ROWS as f64) as usize;
        isa.dispatch(Repitch { rows, step, input, out });
    }
}

fn table(cutoff: f64) -> Vec<[f32; TAPS]> {
    let taps = |row: usize| -> [f32; TAPS] {
        let at = |i: usize| {
            let t = i as f64 - LEAD as f64 - row as f64 / ROWS as f64;
            let x = t / (TAPS / 2) as f64;
            let phase = std::f64::consts::TAU * cutoff * t;
            let sinc = if phase == 0.0 { 1.0 } else { phase.sin() / phase };
            if x.abs() > 1.0 { 0.0 } else { sinc * bessel_i0(BETA * (1.0 - x * x).sqrt()) }
        };
        let taps: [f64; TAPS] = std::array::from_fn(at);
        let sum: f64 = taps.iter().sum();
        taps.map(|tap| (tap / sum) as f32)
    };
    (0..ROWS).map(taps).collect()
}

/// As many outputs at once as there are lanes.
struct Repitch<'a> {
    rows: &'a [[f32; TAPS]],
    /// From one output to the next, in rows.
    step: usize,
    input: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Repitch<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, step, input, out } = self;
        // Of each output four partial sums over its taps, yet to be added up.
        let mut quads = [[0.0f32; 4]; MAX_LANES];
        let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| lane * 4);
        let mut place = 0;
        for out in out.chunks_mut(S::LANES) {
            for quad in &mut quads[..out.len()] {
                let (taps, samples) = (&rows[place % ROWS], &input[place / ROWS..][..TAPS]);
                let mut sum = s.splat(0.0);
                for i in (0..TAPS).step_by(S::LANES) {
                    sum = s.mul_add(s.load(&samples[i..]), s.load(&taps[i..]), sum);
                }
                let sum = [sum];
                let sums = s.floats(&sum).as_chunks::<4>().0;
                let mut total = sums[0];
                for other in &sums[1..] {
                    for i in 0..4 {
                        total[i] += other[i];
                    }
                }
                *quad = total;
                place += step;
            }
            let columns = Rows::new(quads.as_flattened(), &starts[..S::LANES], 4);
            let [a, b, c, d] = s.load4(&columns, 0);
            let sum = [s.add(s.add(a, b), s.add(c, d))];
            out.copy_from_slice(&s.floats(&sum)[..out.len()]);
        }
    }
}
