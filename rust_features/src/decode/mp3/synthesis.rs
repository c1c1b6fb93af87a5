//! 32 subbands → samples, the polyphase filter bank of ISO 11172-3, 2.4.3.2.2 and Annex A, Figure A.2.
//!
//! The matrixing is a DCT-II of 32 points, with c\[n\] = Σ cos(π/64 n (2k + 1)) S\[k\]:
//!
//! ```text
//! V[i] = c[16 + i] for i < 16, -c[48 - i] for 16 < i < 48, -c[i - 48] for i >= 48
//! ```
//!
//! Times are lanes there. A row of 64 values of each time is kept: those of V that even and those that
//! odd taps of the window need, both without their signs, which the window has. There the 32 samples
//! of one time are lanes.

// Index loops: see imdct.rs.
#![allow(clippy::needless_range_loop)]

use std::sync::LazyLock;

use super::imdct::{ROW_BLOCKS, SUBBANDS};
use super::window::coefficient;
use crate::simd::{Block, Kernel, MAX_LANES, Rows, RowsMut, Simd};

/// Earlier times that a sample depends on.
const HISTORY: usize = 15;

/// Values of one time.
const VALUES: usize = 2 * SUBBANDS;

/// Blocks of one time.
const VALUE_BLOCKS: usize = VALUES / MAX_LANES;

/// Times whose samples are summed together; it divides those of a granule.
const TOGETHER: usize = 6;

/// The filter bank's memory.
pub struct Synthesis {
    /// Rows of `VALUES`: the history, then the times at hand.
    rows: Vec<Block>,
}

impl Synthesis {
    /// Silence, with room for `most` times at once, which divide into whole vectors.
    pub fn new(most: usize) -> Self {
        let n_rows = HISTORY + most.next_multiple_of(MAX_LANES);
        Self { rows: vec![Block([0.0; MAX_LANES]); n_rows * VALUE_BLOCKS] }
    }

    /// Forgets what was.
    pub fn clear(&mut self) {
        self.rows[..HISTORY * VALUE_BLOCKS].fill(Block([0.0; MAX_LANES]));
    }

    /// The work of `n` times to `samples`, 32 each. `subbands`: a row of 32 for each time, and any
    /// rows after them, so that all divide into whole vectors.
    pub fn kernel<'a>(
        &'a mut self,
        subbands: &'a [Block],
        samples: &'a mut [f32],
    ) -> impl Kernel<Output = ()> {
        Synthesize { rows: &mut self.rows, subbands, samples, taps: taps() }
    }
}

/// The window's taps by age, even and odd, with the signs of V.
type Taps = [[Block; ROW_BLOCKS]; 16];

fn taps() -> &'static Taps {
    static TAPS: LazyLock<Taps> = LazyLock::new(|| {
        std::array::from_fn(|age| {
            std::array::from_fn(|block| {
                Block(std::array::from_fn(|lane| {
                    let j = block * MAX_LANES + lane;
                    let d = coefficient(32 * age + j);
                    match (age % 2, j) {
                        (0, 0..16) => d,
                        (0, 16) => 0.0,
                        _ => -d,
                    }
                }))
            })
        })
    });
    &TAPS
}

struct Synthesize<'a> {
    rows: &'a mut [Block],
    subbands: &'a [Block],
    samples: &'a mut [f32],
    taps: &'static Taps,
}

impl Kernel for Synthesize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n_rows = self.subbands.len() / ROW_BLOCKS;
        let new = &mut self.rows[HISTORY * VALUE_BLOCKS..][..n_rows * VALUE_BLOCKS];
        let (blocks, values) = (S::LANES * ROW_BLOCKS, S::LANES * VALUE_BLOCKS);
        for (subbands, rows) in self.subbands.chunks_exact(blocks).zip(new.chunks_exact_mut(values))
        {
            s.call(Matrixing { subbands, rows });
        }
        for (at, samples) in self.samples.chunks_exact_mut(TOGETHER * SUBBANDS).enumerate() {
            let rows = &self.rows[at * TOGETHER * VALUE_BLOCKS..];
            window(s, &rows[..(HISTORY + TOGETHER) * VALUE_BLOCKS], self.taps, samples);
        }
        let end = self.samples.len() / SUBBANDS * VALUE_BLOCKS;
        self.rows.copy_within(end..end + HISTORY * VALUE_BLOCKS, 0);
    }
}

/// As many times as there are lanes.
struct Matrixing<'a> {
    subbands: &'a [Block],
    rows: &'a mut [Block],
}

impl Kernel for Matrixing<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let subbands = &s.floats(s.cast(self.subbands))[..S::LANES * SUBBANDS];
        let starts: [usize; MAX_LANES] = std::array::from_fn(|time| time * SUBBANDS);
        let from = Rows::new(subbands, &starts[..S::LANES], SUBBANDS);
        let mut x = [s.splat(0.0); SUBBANDS];
        for k in 0..SUBBANDS / 4 {
            [x[4 * k], x[4 * k + 1], x[4 * k + 2], x[4 * k + 3]] = s.load4(&from, 4 * k);
        }
        let c = dct_32(s, x);
        let rows = s.cast_mut(self.rows);
        let mut to = RowsMut::new(&mut s.floats_mut(rows)[..S::LANES * VALUES], VALUES);
        for k in 0..4 {
            let j = 4 * k;
            let (up, down) = (16 + j, 16 - j);
            s.store4(&mut to, j, [c[up], c[up + 1], c[up + 2], c[up + 3]]);
            s.store4(&mut to, SUBBANDS + j, [c[down], c[down - 1], c[down - 2], c[down - 3]]);
            // The first of all is V[16], which is 0, as is the window's tap.
            let (down, up) = (32 - j, j);
            s.store4(&mut to, 16 + j, [c[down.min(31)], c[down - 1], c[down - 2], c[down - 3]]);
            s.store4(&mut to, SUBBANDS + 16 + j, [c[up], c[up + 1], c[up + 2], c[up + 3]]);
        }
    }
}

/// Samples of `TOGETHER` times from their rows and those before.
#[inline(always)]
fn window<S: Simd>(s: S, rows: &[Block], taps: &Taps, samples: &mut [f32]) {
    let (n_groups, stride) = (SUBBANDS / S::LANES, VALUES / S::LANES);
    let rows = &s.cast(rows)[..(HISTORY + TOGETHER) * stride];
    let taps = &s.cast(taps.as_flattened())[..16 * n_groups];
    let samples = &mut samples[..TOGETHER * SUBBANDS];
    for group in 0..n_groups {
        let mut sums = [s.splat(0.0); TOGETHER];
        for age in 0..8 {
            let even = taps[2 * age * n_groups + group];
            let odd = taps[(2 * age + 1) * n_groups + group];
            let rows = &rows[(HISTORY - 1 - 2 * age) * stride..][..(TOGETHER + 1) * stride];
            for time in 0..TOGETHER {
                sums[time] = s.mul_add(rows[(time + 1) * stride + group], even, sums[time]);
            }
            for time in 0..TOGETHER {
                sums[time] = s.mul_add(rows[time * stride + n_groups + group], odd, sums[time]);
            }
        }
        for time in 0..TOGETHER {
            s.store(&mut samples[time * SUBBANDS + group * S::LANES..], sums[time]);
        }
    }
}

/// A DCT-II of twice as many points (Lee 1984): even ones are the DCT-II of the sums of x from both
/// ends; odd ones are sums of neighbours in the DCT-II of the differences, each divided by 2 cos.
macro_rules! dct {
    ($name:ident, $n:literal, $half:ident, $secants:expr) => {
        #[inline(always)]
        fn $name<S: Simd>(s: S, x: [S::V; $n]) -> [S::V; $n] {
            const SECANTS: [f32; $n / 2] = $secants;
            let mut sums = [x[0]; $n / 2];
            let mut differences = [x[0]; $n / 2];
            // No loop is longer than eight, or the compiler leaves it one.
            for part in 0..($n / 2_usize).div_ceil(8) {
                for k in 8 * part..($n / 2).min(8 * part + 8) {
                    sums[k] = s.add(x[k], x[$n - 1 - k]);
                    differences[k] = s.mul(s.sub(x[k], x[$n - 1 - k]), s.splat(SECANTS[k]));
                }
            }
            let even = $half(s, sums);
            let odd = $half(s, differences);
            let mut out = x;
            for part in 0..($n / 2_usize).div_ceil(8) {
                for n in 8 * part..($n / 2).min(8 * part + 8) {
                    out[2 * n] = even[n];
                    out[2 * n + 1] =
                        if n + 1 < $n / 2 { s.add(odd[n], odd[n + 1]) } else { odd[n] };
                }
            }
            out
        }
    };
}

#[inline(always)]
fn dct_1<S: Simd>(_: S, x: [S::V; 1]) -> [S::V; 1] {
    x
}

// 1 / (2 cos(π (2k + 1) / (2N))).
dct!(dct_2, 2, dct_1, [std::f32::consts::FRAC_1_SQRT_2]);
dct!(dct_4, 4, dct_2, [0.541_196_1, 1.306_563]);
dct!(dct_8, 8, dct_4, [0.509_795_6, 0.601_344_9, 0.899_976_2, 2.562_915_6]);
#[rustfmt::skip]
dct!(dct_16, 16, dct_8, [
    0.502_419_3, 0.522_498_6, 0.566_944_06, 0.646_821_8,
    0.788_154_6, 1.060_677_7, 1.722_447_1, 5.101_148_6,
]);
#[rustfmt::skip]
dct!(dct_32, 32, dct_16, [
    0.500_603, 0.505_470_96, 0.515_447_3, 0.531_042_6,
    0.553_103_9, 0.582_935, 0.622_504_1, 0.674_808_3,
    0.744_536_3, 0.839_349_6, 0.972_568_2, 1.169_439_9,
    1.484_164_6, 2.057_781, 3.407_608_5, 10.190_008,
]);
