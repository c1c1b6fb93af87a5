//! Pitch and speed: the recording played faster or slower.
//!
//! Output j is the recording at time start + j · ratio, interpolated by a sinc under a Kaiser window of
//! 32 taps. Its −6 dB point lies at 0.47 of the lower of the two sample rates; up to 0.41 of it (18 kHz
//! of 44.1 kHz) the error is below −60 dB. There is a row of taps for each of 128 fractions of a sample,
//! each with sum 1, and taps are interpolated linearly between rows. For a higher pitch the filter is
//! narrower, by the next whole number of semitones.

use serde::Serialize;

use super::draw::Draws;
use super::settings::Settings;
use crate::resample::kernel::bessel_i0;
use crate::simd::{Isa, Kernel, MAX_LANES, Rows, Simd};

const TAPS: usize = 32;
const ROWS: usize = 128;
/// Taps before the whole part of an output's place.
pub(super) const LEAD: usize = TAPS / 2 - 1;
/// −6 dB point in parts of the sample rate.
const CUTOFF: f64 = 0.47;
/// Of the Kaiser window: stop band −65 dB.
const BETA: f64 = 6.2;

struct Row {
    taps: [f32; TAPS],
    slopes: [f32; TAPS],
}

/// The plan: filters for each whole number of semitones upwards.
pub(super) struct Pitch {
    p: f64,
    semitones: f64,
    tables: Vec<Vec<Row>>,
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
            PitchDraw { ratio: 2f64.powf(semitones / 12.0) }
        })
    }

    /// Input samples for `n` outputs, the first `LEAD` of them before the first output.
    pub fn n_inputs(draw: PitchDraw, n: usize) -> usize {
        ((n.max(1) - 1) as f64 * draw.ratio) as usize + TAPS
    }

    pub fn apply(&self, isa: Isa, draw: PitchDraw, input: &[f32], out: &mut [f32]) {
        let up = (12.0 * draw.ratio.log2()).ceil().max(0.0) as usize;
        let rows = &self.tables[up.min(self.tables.len() - 1)];
        isa.dispatch(Interpolate { rows, ratio: draw.ratio, input, out });
    }
}

fn table(cutoff: f64) -> Vec<Row> {
    let taps = |row: usize| -> [f64; TAPS] {
        let at = |i: usize| {
            let t = i as f64 - LEAD as f64 - row as f64 / ROWS as f64;
            let x = t / (TAPS / 2) as f64;
            let phase = std::f64::consts::TAU * cutoff * t;
            let sinc = if phase == 0.0 { 1.0 } else { phase.sin() / phase };
            if x.abs() > 1.0 { 0.0 } else { sinc * bessel_i0(BETA * (1.0 - x * x).sqrt()) }
        };
        let taps: [f64; TAPS] = std::array::from_fn(at);
        let sum: f64 = taps.iter().sum();
        taps.map(|tap| tap / sum)
    };
    (0..ROWS)
        .map(|row| {
            let (taps, next) = (taps(row), taps(row + 1));
            let slopes = std::array::from_fn(|i| (next[i] - taps[i]) as f32);
            Row { taps: taps.map(|tap| tap as f32), slopes }
        })
        .collect()
}

/// As many outputs at once as there are lanes.
struct Interpolate<'a> {
    rows: &'a [Row],
    ratio: f64,
    input: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Interpolate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, ratio, input, out } = self;
        // Of each output partial sums over its taps, yet to be added up.
        let mut sums = [0.0f32; MAX_LANES * MAX_LANES];
        let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| lane * S::LANES);
        let mut j = 0;
        for out in out.chunks_mut(S::LANES) {
            for lane in 0..out.len() {
                let place = j as f64 * ratio;
                let whole = place as usize;
                let fraction = (place - whole as f64) * ROWS as f64;
                let row = (fraction as usize).min(ROWS - 1);
                let weight = s.splat((fraction - row as f64) as f32);
                let (row, samples) = (&rows[row], &input[whole..whole + TAPS]);
                let mut sum = s.splat(0.0);
                for i in (0..TAPS).step_by(S::LANES) {
                    let tap = s.mul_add(weight, s.load(&row.slopes[i..]), s.load(&row.taps[i..]));
                    sum = s.mul_add(s.load(&samples[i..]), tap, sum);
                }
                s.store(&mut sums[lane * S::LANES..], sum);
                j += 1;
            }
            let columns = Rows::new(&sums, &starts[..S::LANES], S::LANES);
            let mut sum = s.splat(0.0);
            for i in (0..S::LANES).step_by(4) {
                let [a, b, c, d] = s.load4(&columns, i);
                sum = s.add(sum, s.add(s.add(a, b), s.add(c, d)));
            }
            out.copy_from_slice(&s.floats(&[sum])[..out.len()]);
        }
    }
}
