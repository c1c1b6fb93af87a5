//! Second-order filters: R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter
//! coefficients" (W3C Note, 2021), computed in float64.
//!
//! A recursion waits for its own last result. So a clip is cut into as many pieces as a vector has
//! lanes, and they are filtered side by side. What a piece needs to know of the one before it, two
//! outputs, comes from a first pass over the ends of all pieces, each begun in silence, and from the
//! free response of the recursion over a piece, which is a power of a 2 × 2 matrix.

// Index loops: see simd/mod.rs.
#![allow(clippy::needless_range_loop)]

use std::f64::consts::{SQRT_2, TAU};

use serde::Serialize;

use crate::simd::{Arithmetic, Isa, Kernel, MAX_LANES, Rows, RowsMut, Simd};

/// What a recursion is to have forgotten before a piece ends.
const FORGOTTEN: f64 = 1e-9;
/// Added to the input of a recursion, far below any sample: fading to zero would take it through
/// numbers so small that processors compute them a hundred times slower.
const FLOOR: f64 = 1e-30;

/// y\[n\] = b0 x\[n\] + b1 x\[n−1\] + b2 x\[n−2\] − a1 y\[n−1\] − a2 y\[n−2\].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Biquad {
    /// b0, b1, b2.
    pub b: [f64; 3],
    /// a1, a2; a0 is 1.
    pub a: [f64; 2],
}

impl Biquad {
    fn new(b: [f64; 3], a: [f64; 3]) -> Self {
        Self { b: b.map(|b| b / a[0]), a: [a[1] / a[0], a[2] / a[0]] }
    }

    /// Second-order low-pass; `frequency` in cycles per sample, here and below.
    pub fn low_pass(frequency: f64, q: f64) -> Self {
        let (sin, cos) = (TAU * frequency).sin_cos();
        let (alpha, b) = (sin / (2.0 * q), (1.0 - cos) / 2.0);
        Self::new([b, 2.0 * b, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Second-order high-pass.
    pub fn high_pass(frequency: f64, q: f64) -> Self {
        let (sin, cos) = (TAU * frequency).sin_cos();
        let (alpha, b) = (sin / (2.0 * q), (1.0 + cos) / 2.0);
        Self::new([b, -2.0 * b, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// A boost or cut of `db` around `frequency`.
    pub fn peak(frequency: f64, q: f64, db: f64) -> Self {
        let (sin, cos) = (TAU * frequency).sin_cos();
        let (alpha, gain) = (sin / (2.0 * q), 10f64.powf(db / 40.0));
        Self::new(
            [1.0 + alpha * gain, -2.0 * cos, 1.0 - alpha * gain],
            [1.0 + alpha / gain, -2.0 * cos, 1.0 - alpha / gain],
        )
    }

    /// A boost or cut of `db` below `frequency`, with slope S = 1.
    pub fn low_shelf(frequency: f64, db: f64) -> Self {
        Self::shelf(frequency, db, 1.0)
    }

    /// A boost or cut of `db` above `frequency`, with slope S = 1.
    pub fn high_shelf(frequency: f64, db: f64) -> Self {
        Self::shelf(frequency, db, -1.0)
    }

    /// The cookbook's two shelves differ by the sign of the cosine, and of b1 and a1.
    fn shelf(frequency: f64, db: f64, side: f64) -> Self {
        let (sin, cos) = (TAU * frequency).sin_cos();
        let (gain, cos) = (10f64.powf(db / 40.0), side * cos);
        let root = gain.sqrt() * sin / SQRT_2 * 2.0;
        let (up, down) = (gain + 1.0, gain - 1.0);
        Self::new(
            [
                gain * (up - down * cos + root),
                side * 2.0 * gain * (down - up * cos),
                gain * (up - down * cos - root),
            ],
            [up + down * cos + root, side * -2.0 * (down + up * cos), up + down * cos - root],
        )
    }

    /// Sections of a Butterworth filter of order 2 · `n`: the angles of its poles give each one's Q.
    pub fn butterworth(n: usize, section: impl Fn(f64) -> Self) -> impl Iterator<Item = Self> {
        (0..n).map(move |i| {
            let angle = std::f64::consts::PI * (2 * i + 1) as f64 / (4 * n) as f64;
            section(1.0 / (2.0 * angle.cos()))
        })
    }

    /// Samples after which the free response has faded to [`FORGOTTEN`].
    fn memory(&self) -> usize {
        let [a1, a2] = self.a;
        let under_root = a1 * a1 / 4.0 - a2;
        let radius = if under_root < 0.0 { a2.sqrt() } else { a1.abs() / 2.0 + under_root.sqrt() };
        // A double pole fades a little later: n · rⁿ.
        (1.25 * FORGOTTEN.ln() / radius.max(1e-9).ln()).ceil() as usize
    }

    /// From (y\[−1\], y\[−2\]) to (y\[n−1\], y\[n−2\]), without input.
    fn free_response(&self, mut n: usize) -> [[f64; 2]; 2] {
        let product = |p: [[f64; 2]; 2], q: [[f64; 2]; 2]| {
            [0, 1].map(|i| [0, 1].map(|j| p[i][0] * q[0][j] + p[i][1] * q[1][j]))
        };
        let (mut power, mut result) =
            ([[-self.a[0], -self.a[1]], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]);
        while n > 0 {
            if n % 2 == 1 {
                result = product(power, result);
            }
            power = product(power, power);
            n /= 2;
        }
        result
    }
}

/// Filters a clip by one section after another, from silence. `buffer` is overwritten.
pub(super) fn filter(isa: Isa, sections: &[Biquad], clip: &mut [f32], buffer: &mut Vec<f32>) {
    buffer.resize(clip.len(), 0.0);
    let (mut x, mut y) = (&mut *clip, &mut buffer[..]);
    for section in sections {
        isa.dispatch(Section { section, x, y });
        (x, y) = (y, x);
    }
    if !sections.len().is_multiple_of(2) {
        clip.copy_from_slice(buffer);
    }
}

struct Section<'a> {
    section: &'a Biquad,
    x: &'a [f32],
    y: &'a mut [f32],
}

/// A float64 in every lane, as the sum of two float32: 48 bits.
type SplitDouble = [[f32; MAX_LANES]; 2];

impl Kernel for Section<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { section, x, y } = self;
        let len = x.len() / S::LANES / 4 * 4;
        let whole = len * S::LANES;
        let mut state = [0.0; 2];
        if len > 0 {
            let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| lane * len);
            let rows = Rows::new(x, &starts[..S::LANES], len);
            // The ends of all pieces from silence, then the true ends one after another.
            let first = len.saturating_sub(section.memory()) / 4 * 4;
            let pass = Pass { section, x, len };
            let ends = pass.run(s, &rows, first, [[[0.0; MAX_LANES]; 2]; 2], None);
            let free = section.free_response(len);
            let mut starts = [[[0.0f32; MAX_LANES]; 2]; 2];
            for lane in 0..S::LANES {
                for (i, start) in starts.iter_mut().enumerate() {
                    start[0][lane] = state[i] as f32;
                    start[1][lane] = (state[i] - f64::from(start[0][lane])) as f32;
                }
                let [last, before] = state;
                state =
                    [0, 1].map(|i| free[i][0] * last + free[i][1] * before + sum(&ends[i], lane));
            }
            let out = &mut RowsMut::new(&mut y[..whole], len);
            let ends = pass.run(s, &rows, 0, starts, Some(out));
            state = [0, 1].map(|i| sum(&ends[i], S::LANES - 1));
        }
        for n in whole..x.len() {
            let past = |back: usize| n.checked_sub(back).map_or(0.0, |n| f64::from(x[n]));
            let new = section.b[0] * past(0) + section.b[1] * past(1) + section.b[2] * past(2)
                - section.a[0] * state[0]
                - section.a[1] * state[1]
                + FLOOR;
            state = [new, state[0]];
            y[n] = new as f32;
        }
    }
}

fn sum(lanes: &SplitDouble, lane: usize) -> f64 {
    f64::from(lanes[0][lane]) + f64::from(lanes[1][lane])
}

/// One run over all pieces at once.
struct Pass<'a> {
    section: &'a Biquad,
    x: &'a [f32],
    len: usize,
}

impl Pass<'_> {
    /// From sample `first` of each piece and the outputs before it, (y\[−1\], y\[−2\]), to the last two.
    #[inline(always)]
    fn run<S: Simd>(
        &self,
        s: S,
        rows: &Rows,
        first: usize,
        starts: [SplitDouble; 2],
        mut out: Option<&mut RowsMut>,
    ) -> [SplitDouble; 2] {
        let d = s.double();
        let [b0, b1, b2] = self.section.b.map(|b| d.constant(b));
        let [a1, a2] = self.section.a.map(|a| d.constant(a));
        let floor = d.constant(FLOOR);
        let before = |back: usize| {
            let sample = |lane: usize| {
                (lane * self.len + first).checked_sub(back).map_or(0.0, |n| self.x[n])
            };
            let samples: [f32; MAX_LANES] =
                std::array::from_fn(|lane| if lane < S::LANES { sample(lane) } else { 0.0 });
            s.widen(s.load(&samples))
        };
        let (mut x1, mut x2) = (before(1), before(2));
        let start = |y: &SplitDouble| d.add(s.widen(s.load(&y[0])), s.widen(s.load(&y[1])));
        let (mut y1, mut y2) = (start(&starts[0]), start(&starts[1]));
        for at in (first..self.len).step_by(4) {
            let quad = s.load4(rows, at);
            let mut results = quad;
            for i in 0..4 {
                let x0 = s.widen(quad[i]);
                let input = d.mul_add(b0, x0, d.mul_add(b1, x1, d.mul_add(b2, x2, floor)));
                // The last product is the only one that waits for the last output.
                let y0 = d.neg_mul_add(a1, y1, d.neg_mul_add(a2, y2, input));
                (x2, x1, y2, y1) = (x1, x0, y1, y0);
                results[i] = s.narrow(y0);
            }
            if let Some(out) = &mut out {
                s.store4(out, at, results);
            }
        }
        let end = |y| {
            let (mut high, mut low) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
            let rounded = s.narrow(y);
            s.store(&mut high, rounded);
            s.store(&mut low, s.narrow(d.sub(y, s.widen(rounded))));
            [high, low]
        };
        [end(y1), end(y2)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in float64.
    fn expected(sections: &[Biquad], x: &[f32]) -> Vec<f64> {
        let mut x: Vec<f64> = x.iter().map(|&x| x.into()).collect();
        for Biquad { b, a } in sections {
            let mut y = vec![0.0; x.len()];
            for n in 0..x.len() {
                let at = |v: &[f64], back: usize| n.checked_sub(back).map_or(0.0, |n| v[n]);
                y[n] = b[0] * x[n] + b[1] * at(&x, 1) + b[2] * at(&x, 2)
                    - a[0] * at(&y, 1)
                    - a[1] * at(&y, 2);
            }
            x = y;
        }
        x
    }

    #[test]
    fn every_length_and_instruction_set_equals_the_definition() {
        let sections = [
            // 30 Hz at 44.1 kHz: a memory of many thousand samples.
            Biquad::low_shelf(30.0 / 44100.0, 12.0),
            Biquad::high_shelf(0.4, -24.0),
            Biquad::peak(0.02, 4.0, 12.0),
            Biquad::low_pass(0.3, 0.7),
            Biquad::high_pass(20.0 / 44100.0, 1.3),
        ];
        for n in [0usize, 1, 2, 15, 63, 64, 65, 100, 1023, 22050] {
            let x: Vec<f32> =
                (0..n).map(|i| ((i * i * 7 + i * 13) % 1009) as f32 / 504.5 - 0.7).collect();
            let want = expected(&sections, &x);
            for isa in Isa::available() {
                let mut got = x.clone();
                filter(isa, &sections, &mut got, &mut Vec::new());
                for (got, want) in got.iter().zip(&want) {
                    assert!((f64::from(*got) - want).abs() < 4e-6, "{n} {isa:?}: {got} {want}");
                }
            }
        }
    }
}
