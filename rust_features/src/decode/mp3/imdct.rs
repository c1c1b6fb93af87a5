//! Lines of a granule → 18 samples of each of 32 subbands: alias reduction, inverse MDCT, windows,
//! overlap and frequency inversion; ISO 11172-3, 2.4.3.4.10. A subband a lane.

// Index loops: an iterator or closure that the compiler leaves as a call of its own is compiled
// without the instruction set of its caller.
#![allow(clippy::needless_range_loop)]

use std::f64::consts::PI;
use std::sync::LazyLock;

use super::huffman::LINES;
use super::side_info;
use crate::fft::codelet::{C, Codelet, Straight};
use crate::simd::{Block, Kernel, MAX_LANES, Rows, Simd};

/// Subbands.
pub const SUBBANDS: usize = 32;

/// Samples of a subband in a granule, and lines of it.
pub const SLOTS: usize = LINES / SUBBANDS;

/// Blocks of a row of all subbands.
pub const ROW_BLOCKS: usize = SUBBANDS / MAX_LANES;

/// Blocks of a row that has room for the subband beyond the last.
const PADDED_BLOCKS: usize = ROW_BLOCKS + 1;

/// The lines of one channel, and what they mean.
pub struct Spectrum<'a> {
    /// Sorted: line 18b + k is line k of subband b; in short blocks the windows take turns.
    pub lines: &'a [f32; LINES],
    /// Lines from here on are zero.
    pub end: usize,
    /// The window.
    pub block: side_info::BlockType,
    /// Subbands, from the lowest, that have a normal window all the same: 0, 2 or 4.
    pub n_normal: usize,
}

/// The second halves of the windows of the granule before, and room to work in.
pub struct Hybrid {
    overlap: Vec<Block>,
    turned: Vec<Block>,
}

impl Hybrid {
    /// Silence.
    pub fn new() -> Self {
        let row = |blocks| vec![Block([0.0; MAX_LANES]); SLOTS * blocks];
        Self { overlap: row(ROW_BLOCKS), turned: row(PADDED_BLOCKS) }
    }

    /// Forgets the granule before.
    pub fn clear(&mut self) {
        self.overlap.fill(Block([0.0; MAX_LANES]));
    }

    /// The work of one spectrum: rows of all subbands for the times of a granule go to `out`. `first`:
    /// of the granule; what others give is added to it.
    pub fn kernel<'a>(
        &'a mut self,
        spectrum: Spectrum<'a>,
        first: bool,
        out: &'a mut [Block],
    ) -> impl Kernel<Output = ()> {
        InverseTransform { hybrid: self, spectrum, first, out, tables: tables() }
    }
}

/// Vectors that depend on the lane by its subband.
type SubbandRow = [Block; ROW_BLOCKS];

/// What the transforms multiply by.
struct HybridTables {
    /// Of the butterflies between a subband and the next one: cosine and sine.
    alias: [[SubbandRow; 8]; 2],
    /// Of long blocks, by window and by half the number of subbands that have the normal one.
    long: Vec<[[SubbandRow; 2 * SLOTS]; 3]>,
    /// Normal windows of the lowest subbands, and zero above.
    low: Vec<[SubbandRow; 2 * SLOTS]>,
    /// Short windows, and zero in the lowest subbands.
    short: Vec<[SubbandRow; 12]>,
    /// Rotations before the DFT of nine points that makes a DCT-IV of 18, within it and behind it.
    before: [Rotation; 9],
    within: [Rotation; 5],
    behind: [Rotation; 9],
    /// The DCT-IV of 6 points.
    short_cosines: [[f32; 6]; 6],
}

/// Cosine and sine in all lanes.
type Rotation = [Block; 2];

/// e^(-iπ/18 n).
fn rotation(n: f64) -> Rotation {
    let angle = -PI / 18.0 * n;
    [angle.cos(), angle.sin()].map(|x| Block([x as f32; MAX_LANES]))
}

/// a · w.
#[inline(always)]
fn rotate<S: Simd>(s: S, a: C<S>, w: &Rotation) -> C<S> {
    let w = s.cast(w);
    let (re, im) = (w[0], w[MAX_LANES / S::LANES]);
    (s.neg_mul_add(a.1, im, s.mul(a.0, re)), s.mul_add(a.1, re, s.mul(a.0, im)))
}

fn lanes(value: impl Fn(usize) -> f64) -> SubbandRow {
    std::array::from_fn(|block| {
        Block(std::array::from_fn(|lane| value(block * MAX_LANES + lane) as f32))
    })
}

/// ISO 11172-3, 2.4.3.4.10.3: sample i of 36 of a window.
fn window(block: side_info::BlockType, i: usize) -> f64 {
    let long = (PI / 36.0 * (i as f64 + 0.5)).sin();
    match (block, i) {
        (side_info::BlockType::Start, 18..24) | (side_info::BlockType::Stop, 12..18) => 1.0,
        (side_info::BlockType::Start, 24..30) => (PI / 12.0 * (i as f64 - 17.5)).sin(),
        (side_info::BlockType::Stop, 6..12) => (PI / 12.0 * (i as f64 - 5.5)).sin(),
        (side_info::BlockType::Start, 30..) | (side_info::BlockType::Stop, 0..6) => 0.0,
        _ => long,
    }
}

/// Frequency inversion: odd samples of odd subbands change their sign.
fn inversion(subband: usize, i: usize) -> f64 {
    if subband % 2 == 1 && i % 2 == 1 { -1.0 } else { 1.0 }
}

/// Sample i of an inverse MDCT of 2n samples is this one of the DCT-IV, with this sign.
const fn unfolded(i: usize, n: usize) -> (usize, f64) {
    if i < n / 2 {
        (n / 2 + i, 1.0)
    } else if i < n + n / 2 {
        (n + n / 2 - 1 - i, -1.0)
    } else {
        (i - n - n / 2, -1.0)
    }
}

fn tables() -> &'static HybridTables {
    static TABLES: LazyLock<HybridTables> = LazyLock::new(|| {
        // ISO 11172-3, Table B.9. The last subband has no next one.
        let c = [-0.6, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037];
        let last = SUBBANDS - 1;
        let cosine = c.map(|c: f64| lanes(|b| if b < last { 1.0 / c.hypot(1.0) } else { 1.0 }));
        let sine = c.map(|c: f64| lanes(|b| if b < last { c / c.hypot(1.0) } else { 0.0 }));
        // The DCT-IV gives odd ones with the opposite sign.
        let opposite = |i| if unfolded(i, SLOTS).0 % 2 == 1 { -1.0 } else { 1.0 };
        let sign = |i, b| unfolded(i, SLOTS).1 * opposite(i) * inversion(b, i);
        let long = |block, i, b| window(block, i) * sign(i, b);
        let normal = side_info::BlockType::Long;
        let all = |block, n_normal| {
            std::array::from_fn(|i| {
                lanes(|b| long(if b < n_normal { normal } else { block }, i, b))
            })
        };
        let short =
            |i, b| (PI / 12.0 * (i as f64 + 0.5)).sin() * unfolded(i, 6).1 * inversion(b, i);
        let counts = [0, 2, 4];
        let blocks = [normal, side_info::BlockType::Start, side_info::BlockType::Stop];
        let from = |n: usize, b: usize, value: f64| if b < n { 0.0 } else { value };
        let below = |n: usize, b: usize, value: f64| if b < n { value } else { 0.0 };
        HybridTables {
            alias: [cosine, sine],
            long: counts.map(|n| blocks.map(|block| all(block, n))).to_vec(),
            low: counts
                .map(|n| std::array::from_fn(|i| lanes(|b| below(n, b, long(normal, i, b)))))
                .to_vec(),
            short: counts
                .map(|n| std::array::from_fn(|i| lanes(|b| from(n, b, short(i, b)))))
                .to_vec(),
            before: std::array::from_fn(|k| rotation(k as f64 + 0.25)),
            within: std::array::from_fn(|k| rotation(4.0 * k as f64)),
            behind: std::array::from_fn(|n| rotation(n as f64)),
            short_cosines: std::array::from_fn(|n| {
                let cosine = |k| (PI / 24.0 * f64::from(((2 * n + 1) * (2 * k + 1)) as u32)).cos();
                std::array::from_fn(|k| cosine(k) as f32)
            }),
        }
    });
    &TABLES
}

struct InverseTransform<'a> {
    hybrid: &'a mut Hybrid,
    spectrum: Spectrum<'a>,
    first: bool,
    out: &'a mut [Block],
    tables: &'static HybridTables,
}

impl Kernel for InverseTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n_subbands = self.turn(s);
        let n_subbands = self.reduce_alias(s, n_subbands);
        let half = self.spectrum.n_normal / 2;
        let HybridTables { long, low, short, .. } = self.tables;
        let windows = match self.spectrum.block {
            side_info::BlockType::Long => &long[half][0],
            side_info::BlockType::Start => &long[half][1],
            side_info::BlockType::Stop => &long[half][2],
            side_info::BlockType::Short => {
                if half > 0 {
                    self.transform_long(s, n_subbands, &low[half]);
                    self.first = false;
                }
                return self.transform_short(s, n_subbands, &short[half]);
            }
        };
        self.transform_long(s, n_subbands, windows);
    }
}

impl InverseTransform<'_> {
    /// Puts line k of all subbands into row k. Returns how many subbands are not zero.
    #[inline(always)]
    fn turn<S: Simd>(&mut self, s: S) -> usize {
        let Spectrum { lines, end, .. } = self.spectrum;
        let n_subbands = end.div_ceil(SLOTS);
        let (n_groups, stride) = (SUBBANDS / S::LANES, PADDED_BLOCKS * MAX_LANES / S::LANES);
        let turned = &mut s.cast_mut(&mut self.hybrid.turned)[..SLOTS * stride];
        for group in 0..n_groups {
            let subband = group * S::LANES;
            if subband >= n_subbands {
                for k in 0..SLOTS {
                    turned[k * stride + group] = s.splat(0.0);
                }
                continue;
            }
            let starts: [usize; MAX_LANES] = std::array::from_fn(|lane| (subband + lane) * SLOTS);
            let rows = Rows::new(lines, &starts[..S::LANES], SLOTS);
            for k in [0, 4, 8, 12, 14] {
                let four = s.load4(&rows, k);
                for i in 0..4 {
                    turned[(k + i) * stride + group] = four[i];
                }
            }
        }
        n_subbands
    }

    /// Butterflies between neighbours. Returns how many subbands are not zero then.
    #[inline(always)]
    fn reduce_alias<S: Simd>(&mut self, s: S, n_subbands: usize) -> usize {
        const STRIDE: usize = PADDED_BLOCKS * MAX_LANES;
        let [cosine, sine] = &self.tables.alias;
        let turned = s.cast_mut(&mut self.hybrid.turned);
        let turned = &mut s.floats_mut(turned)[..SLOTS * STRIDE];
        if self.spectrum.block == side_info::BlockType::Short {
            // Only between subbands with long windows.
            for b in 1..self.spectrum.n_normal {
                for i in 0..8 {
                    let (c, d) = (cosine[i][0].0[0], sine[i][0].0[0]);
                    let (below, above) = ((SLOTS - 1 - i) * STRIDE + b - 1, i * STRIDE + b);
                    let (x, y) = (turned[below], turned[above]);
                    (turned[below], turned[above]) = (x * c - y * d, y * c + x * d);
                }
            }
            return n_subbands.max(self.spectrum.n_normal);
        }
        for b in (0..n_subbands).step_by(S::LANES) {
            for i in 0..8 {
                let c = s.cast(&cosine[i])[b / S::LANES];
                let d = s.cast(&sine[i])[b / S::LANES];
                let (below, above) = ((SLOTS - 1 - i) * STRIDE + b, i * STRIDE + b + 1);
                let (x, y) = (s.load(&turned[below..]), s.load(&turned[above..]));
                s.store(&mut turned[below..], s.neg_mul_add(y, d, s.mul(x, c)));
                s.store(&mut turned[above..], s.mul_add(x, d, s.mul(y, c)));
            }
        }
        SUBBANDS.min(n_subbands + 1)
    }

    /// Nothing in these lanes: only what the granule before has left.
    #[inline(always)]
    fn pass_overlap<S: Simd>(&mut self, s: S, group: usize) {
        let n_groups = SUBBANDS / S::LANES;
        let overlap = &mut s.cast_mut(&mut self.hybrid.overlap)[..SLOTS * n_groups];
        let out = &mut s.cast_mut(self.out)[..SLOTS * n_groups];
        for i in 0..SLOTS {
            out[i * n_groups + group] = overlap[i * n_groups + group];
            overlap[i * n_groups + group] = s.splat(0.0);
        }
    }

    #[inline(always)]
    fn transform_long<S: Simd>(
        &mut self,
        s: S,
        n_subbands: usize,
        windows: &[SubbandRow; 2 * SLOTS],
    ) {
        let (n_groups, stride) = (SUBBANDS / S::LANES, PADDED_BLOCKS * MAX_LANES / S::LANES);
        for group in 0..n_groups {
            if group * S::LANES >= n_subbands {
                if self.first {
                    self.pass_overlap(s, group);
                }
                continue;
            }
            let turned = &s.cast(&self.hybrid.turned)[..SLOTS * stride];
            let mut x = [s.splat(0.0); SLOTS];
            for k in 0..SLOTS {
                x[k] = turned[k * stride + group];
            }
            let y = self.tables.dct_iv_18(s, x);
            let windows = &s.cast(windows.as_flattened())[..2 * SLOTS * n_groups];
            let overlap = &mut s.cast_mut(&mut self.hybrid.overlap)[..SLOTS * n_groups];
            let out = &mut s.cast_mut(self.out)[..SLOTS * n_groups];
            // As `unfolded` has it; nine and nine, for a loop that the compiler unrolls.
            for half in 0..2 {
                for j in 0..SLOTS / 2 {
                    let (i, new, later) =
                        if half == 0 { (j, y[9 + j], y[8 - j]) } else { (9 + j, y[17 - j], y[j]) };
                    let at = i * n_groups + group;
                    let (old, before) = if self.first {
                        (overlap[at], s.splat(0.0))
                    } else {
                        (out[at], overlap[at])
                    };
                    out[at] = s.mul_add(new, windows[at], old);
                    overlap[at] = s.mul_add(later, windows[SLOTS * n_groups + at], before);
                }
            }
        }
    }

    #[inline(always)]
    fn transform_short<S: Simd>(&mut self, s: S, n_subbands: usize, windows: &[SubbandRow; 12]) {
        let (n_groups, stride) = (SUBBANDS / S::LANES, PADDED_BLOCKS * MAX_LANES / S::LANES);
        for group in 0..n_groups {
            if self.first {
                self.pass_overlap(s, group);
            }
            if group * S::LANES >= n_subbands {
                continue;
            }
            let turned = &s.cast(&self.hybrid.turned)[..SLOTS * stride];
            let windows = &s.cast(windows.as_flattened())[..12 * n_groups];
            let overlap = &mut s.cast_mut(&mut self.hybrid.overlap)[..SLOTS * n_groups];
            let out = &mut s.cast_mut(self.out)[..SLOTS * n_groups];
            for window in 0..3 {
                let mut x = [s.splat(0.0); 6];
                for k in 0..6 {
                    x[k] = turned[(3 * k + window) * stride + group];
                }
                let y = self.tables.dct_iv_6(s, x);
                for i in 0..12 {
                    let weight = windows[i * n_groups + group];
                    let slot = 6 + 6 * window + i;
                    let place = if slot < SLOTS {
                        &mut out[slot * n_groups + group]
                    } else {
                        &mut overlap[(slot - SLOTS) * n_groups + group]
                    };
                    *place = s.mul_add(y[unfolded(i, 6).0], weight, *place);
                }
            }
        }
    }
}

impl HybridTables {
    /// Σ x\[k\] cos(π/18 (n + ½)(k + ½)), and for odd n the opposite: a complex DFT of half as many
    /// points between two rotations.
    #[inline(always)]
    fn dct_iv_18<S: Simd>(&self, s: S, x: [S::V; 18]) -> [S::V; 18] {
        let mut z: [C<S>; 9] = [(x[0], x[0]); 9];
        for k in 0..9 {
            z[k] = rotate(s, (x[2 * k], x[17 - 2 * k]), &self.before[k]);
        }
        let z = self.dft_9(s, z);
        let mut y = x;
        for n in 0..9 {
            (y[2 * n], y[17 - 2 * n]) = rotate(s, z[n], &self.behind[n]);
        }
        y
    }

    /// A complex DFT of nine points as three times three.
    #[inline(always)]
    fn dft_9<S: Simd>(&self, s: S, z: [C<S>; 9]) -> [C<S>; 9] {
        let mut columns = [[z[0]; 3]; 3];
        for b in 0..3 {
            columns[b] = <Straight as Codelet<3>>::dft(s, [z[b], z[3 + b], z[6 + b]]);
        }
        let mut out = z;
        for k in 0..3 {
            let mut row = [columns[0][k], columns[1][k], columns[2][k]];
            for b in 1..3 {
                if k > 0 {
                    row[b] = rotate(s, row[b], &self.within[b * k]);
                }
            }
            [out[k], out[k + 3], out[k + 6]] = <Straight as Codelet<3>>::dft(s, row);
        }
        out
    }

    /// Σ x\[k\] cos(π/6 (n + ½)(k + ½)).
    #[inline(always)]
    fn dct_iv_6<S: Simd>(&self, s: S, x: [S::V; 6]) -> [S::V; 6] {
        let mut y = x;
        for n in 0..6 {
            let mut sum = s.splat(0.0);
            for k in 0..6 {
                sum = s.mul_add(x[k], s.splat(self.short_cosines[n][k]), sum);
            }
            y[n] = sum;
        }
        y
    }
}
