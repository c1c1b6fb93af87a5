//! The real FFT of many frames at once: one frame a lane, so that every step is plain vertical
//! arithmetic.
//!
//! The transform is a four-step one (Bailey 1990, "FFTs in external or hierarchical memory") for
//! real input. With n = r·c, n₁ < r, n₂ < c, k₁ < r, k₂ < c:
//!
//! ```text
//! X[k₁ + r·k₂] = Σ_n₂ e^(−2πi·n₂k₂/c) · e^(−2πi·n₂k₁/n) · Σ_n₁ e^(−2πi·n₁k₁/r) · x[n₁·c + n₂]
//!                └ complex FFT of c ┘   └── twiddle ──┘   └─────── real FFT of r ────────┘
//! ```
//!
//! The inner transforms are real, so only k₁ = 0..=r/2 need a complex one; bins above n/2 are the
//! conjugates of those below, so |X|² of every output is the power of some bin: there is no split
//! pass as in the usual packing of real points into complex ones.
//!
//! Both inner sizes are again a product of two straight-line transforms, done in registers and a
//! scratch that stays in the first-level cache.

// Index loops throughout: an iterator or closure that the compiler leaves as a call of its own is
// compiled without the instruction set of its caller.
#![allow(clippy::needless_range_loop)]

use std::f64::consts::TAU;

use crate::codelet::{C, Codelet, RealCodelet, Straight, twiddle};
use crate::simd::Simd;

/// A plan for real transforms of one size on lanes.
pub struct LaneFft {
    n: usize,
    /// The real inner size: (a, b) with r = a·b.
    real: (usize, usize),
    /// The complex inner size: (a, b) with c = a·b.
    complex: (usize, usize),
    /// e^(−2πi·n₂k₁/n) at [k₁·c + n₂].
    outer: Vec<[f32; 2]>,
    /// e^(−2πi·jk/r) at [k·b + j], for the real inner transform.
    real_twiddles: Vec<[f32; 2]>,
    /// e^(−2πi·jk/c) at [k·b + j], for the complex inner transform.
    complex_twiddles: Vec<[f32; 2]>,
    /// Where output (k₁, k₂) goes, at [k₁·c + k₂].
    target: Vec<u32>,
    /// Where the power of each bin lies.
    position: Vec<u32>,
}

const REAL_SIZES: [(usize, usize); 5] = [(4, 1), (8, 1), (4, 4), (8, 4), (8, 8)];
const COMPLEX_SIZES: [(usize, usize); 16] = [
    (1, 1),
    (2, 1),
    (3, 1),
    (4, 1),
    (5, 1),
    (8, 1),
    (3, 4),
    (3, 5),
    (4, 4),
    (4, 5),
    (3, 8),
    (5, 5),
    (4, 8),
    (5, 8),
    (8, 8),
    (3, 3),
];

fn root(numerator: usize, n: usize) -> [f32; 2] {
    let angle = -TAU * (numerator % n) as f64 / n as f64;
    [angle.cos() as f32, angle.sin() as f32]
}

fn inner_twiddles(rows: usize, (a, b): (usize, usize)) -> Vec<[f32; 2]> {
    (0..rows).flat_map(|k| (0..b).map(move |j| root(j * k, a * b))).collect()
}

impl LaneFft {
    /// The plan for size `n`, if lanes cover it.
    pub fn new(n: usize) -> Option<Self> {
        let sizes = REAL_SIZES.iter().flat_map(|r| COMPLEX_SIZES.iter().map(move |c| (*r, *c)));
        // Balanced factors keep both halves in registers and the scratch small.
        let (real, complex) = sizes
            .filter(|(r, c)| r.0 * r.1 * c.0 * c.1 == n)
            .min_by_key(|(r, c)| (2 * c.0 * c.1).abs_diff(r.0 * r.1))?;
        let (r, c) = (real.0 * real.1, complex.0 * complex.1);
        let outer = (0..=r / 2).flat_map(|k| (0..c).map(move |j| root(j * k, n))).collect();

        // Powers lie in rows of k₁ so that each complex transform writes two runs of neighbours. The
        // odd row length keeps neighbouring bins (one row apart) in different cache sets.
        let row = (n / 2 / r + 1) | 1;
        let position: Vec<u32> = (0..=n / 2).map(|k| ((k % r) * row + k / r) as u32).collect();
        let target = (0..=r / 2)
            .flat_map(|k1| (0..c).map(move |k2| k1 + r * k2))
            .map(|k| position[k.min(n - k)])
            .collect();
        Some(Self {
            n,
            real,
            complex,
            outer,
            real_twiddles: inner_twiddles(real.0 / 2 + 1, real),
            complex_twiddles: inner_twiddles(complex.0, complex),
            target,
            position,
        })
    }

    /// Where the power of bin `k` lies in the output of [`power`].
    pub fn position(&self, k: usize) -> usize {
        self.position[k] as usize
    }

    /// Vectors that `work` of [`power`] must hold.
    pub fn work_len(&self) -> usize {
        let (r, c) = (self.real.0 * self.real.1, self.complex.0 * self.complex.1);
        2 * (r / 2 + 1) * (c | 1)
    }

    /// Vectors that `out` of [`power`] must hold.
    pub fn power_len(&self) -> usize {
        self.position.iter().max().map_or(0, |&p| p as usize + 1)
    }

    /// The size.
    pub fn n(&self) -> usize {
        self.n
    }
}

/// Where the samples of a frame lie and the window they are multiplied by: sample i of lane l is
/// `samples[offset + l] · weight` of tap i.
pub struct Taps {
    taps: Vec<Tap>,
    reach: usize,
}

#[derive(Clone, Copy)]
struct Tap {
    offset: u32,
    weight: f32,
}

impl Taps {
    /// From (offset, weight) of each sample.
    pub fn new(taps: impl IntoIterator<Item = (usize, f32)>) -> Self {
        let taps: Vec<Tap> =
            taps.into_iter().map(|(at, weight)| Tap { offset: at as u32, weight }).collect();
        let reach = taps.iter().map(|t| t.offset as usize).max().unwrap_or(0);
        Self { taps, reach }
    }
}

/// |X[k]|² of `W` frames; the power of bin k goes to `out[plan.position(k)]`.
///
/// The bounds of all three buffers are checked here, once: checks in the loops below cost a quarter
/// of the time.
#[inline(always)]
pub fn power<S: Simd>(
    plan: &LaneFft,
    samples: &[f32],
    taps: &Taps,
    work: &mut [S::V],
    out: &mut [S::V],
) {
    assert!(taps.taps.len() == plan.n && taps.reach + S::W <= samples.len());
    assert!(work.len() >= plan.work_len() && out.len() >= plan.power_len());
    let source = Source { samples, taps: &taps.taps };
    match plan.real {
        (4, 1) => columns::<S, 4, 3, 1>(plan, &source, work),
        (8, 1) => columns::<S, 8, 5, 1>(plan, &source, work),
        (4, 4) => columns::<S, 4, 3, 4>(plan, &source, work),
        (8, 4) => columns::<S, 8, 5, 4>(plan, &source, work),
        _ => columns::<S, 8, 5, 8>(plan, &source, work),
    }
    match plan.complex {
        (1, 1) => rows::<S, 1, 1>(plan, work, out),
        (2, 1) => rows::<S, 2, 1>(plan, work, out),
        (3, 1) => rows::<S, 3, 1>(plan, work, out),
        (4, 1) => rows::<S, 4, 1>(plan, work, out),
        (5, 1) => rows::<S, 5, 1>(plan, work, out),
        (8, 1) => rows::<S, 8, 1>(plan, work, out),
        (3, 3) => rows::<S, 3, 3>(plan, work, out),
        (3, 4) => rows::<S, 3, 4>(plan, work, out),
        (3, 5) => rows::<S, 3, 5>(plan, work, out),
        (4, 4) => rows::<S, 4, 4>(plan, work, out),
        (4, 5) => rows::<S, 4, 5>(plan, work, out),
        (3, 8) => rows::<S, 3, 8>(plan, work, out),
        (5, 5) => rows::<S, 5, 5>(plan, work, out),
        (4, 8) => rows::<S, 4, 8>(plan, work, out),
        (5, 8) => rows::<S, 5, 8>(plan, work, out),
        _ => rows::<S, 8, 8>(plan, work, out),
    }
}

struct Source<'a> {
    samples: &'a [f32],
    taps: &'a [Tap],
}

impl Source<'_> {
    #[inline(always)]
    fn get<S: Simd>(&self, i: usize) -> S::V {
        debug_assert!(i < self.taps.len());
        // SAFETY: `power` checked that there are n taps and that the farthest lies in `samples`;
        // `columns` asks for i < r·c = n.
        unsafe {
            let tap = self.taps.get_unchecked(i);
            S::mul(S::load_unchecked(self.samples, tap.offset as usize), S::splat(tap.weight))
        }
    }
}

/// For every n₂: the real transform of x[n₁·c + n₂] over n₁, times the outer twiddle.
///
/// r = A·B; bins k₁ = 0..=r/2 go to work[2·(k₁·stride + n₂)].
#[inline(always)]
fn columns<S: Simd, const A: usize, const BINS: usize, const B: usize>(
    plan: &LaneFft,
    source: &Source<'_>,
    work: &mut [S::V],
) where
    Straight: RealCodelet<A, BINS> + Codelet<B>,
{
    let (r, c) = (A * B, plan.complex.0 * plan.complex.1);
    let stride = 2 * (c | 1);
    let zero = (S::splat(0.0), S::splat(0.0));
    for n2 in 0..c {
        let mut scratch = [[zero; B]; BINS];
        for j in 0..B {
            let mut x = [zero.0; A];
            for i in 0..A {
                x[i] = source.get::<S>((j + B * i) * c + n2);
            }
            let y = <Straight as RealCodelet<A, BINS>>::dft::<S>(x);
            for k in 0..BINS {
                scratch[k][j] = if j * k == 0 {
                    y[k]
                } else {
                    twiddle::<S>(y[k], plan.real_twiddles[k * B + j])
                };
            }
        }
        for k in 0..BINS {
            let y = <Straight as Codelet<B>>::dft::<S>(scratch[k]);
            for m in 0..B {
                let k1 = k + A * m;
                if k1 <= r / 2 {
                    put::<S>(plan, work, k1, n2, c, stride, y[m]);
                } else if k != 0 && k != A / 2 {
                    // The conjugate of a bin in the upper half, which no other k gives.
                    put::<S>(plan, work, r - k1, n2, c, stride, (y[m].0, S::sub(zero.0, y[m].1)));
                }
            }
        }
    }
}

#[inline(always)]
fn put<S: Simd>(
    plan: &LaneFft,
    work: &mut [S::V],
    k1: usize,
    n2: usize,
    c: usize,
    stride: usize,
    y: C<S>,
) {
    let (re, im) = if k1 == 0 { y } else { twiddle::<S>(y, plan.outer[k1 * c + n2]) };
    let at = k1 * stride + 2 * n2;
    debug_assert!(at + 1 < work.len());
    // SAFETY: k₁ <= r/2 and n₂ < c, and `power` checked that `work` holds (r/2 + 1) rows of stride.
    unsafe {
        *work.get_unchecked_mut(at) = re;
        *work.get_unchecked_mut(at + 1) = im;
    }
}

/// For every k₁: the complex transform over n₂, and its powers. c = A·B.
#[inline(always)]
fn rows<S: Simd, const A: usize, const B: usize>(plan: &LaneFft, work: &[S::V], out: &mut [S::V])
where
    Straight: Codelet<A> + Codelet<B>,
{
    let (r, c) = (plan.real.0 * plan.real.1, A * B);
    let stride = 2 * (c | 1);
    let zero = (S::splat(0.0), S::splat(0.0));
    for k1 in 0..=r / 2 {
        let row = &work[k1 * stride..][..2 * c];
        let target = &plan.target[k1 * c..][..c];
        let mut scratch = [[zero; B]; A];
        for j in 0..B {
            let mut x = [zero; A];
            for i in 0..A {
                x[i] = (row[2 * (j + B * i)], row[2 * (j + B * i) + 1]);
            }
            let y = <Straight as Codelet<A>>::dft::<S>(x);
            for k in 0..A {
                scratch[k][j] = if k == 0 {
                    y[k]
                } else {
                    twiddle::<S>(y[k], plan.complex_twiddles[k * B + j])
                };
            }
        }
        for k in 0..A {
            let y = <Straight as Codelet<B>>::dft::<S>(scratch[k]);
            for m in 0..B {
                let (re, im) = y[m];
                let at = target[k + A * m] as usize;
                debug_assert!(at < out.len());
                // SAFETY: `target` holds positions, and `power` checked that `out` holds them all.
                unsafe { *out.get_unchecked_mut(at) = S::mul_add(re, re, S::mul(im, im)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{self, Aligned, Isa};

    #[inline(always)]
    fn kernel<S: Simd>(
        plan: &LaneFft,
        samples: &[f32],
        taps: &Taps,
        work: &mut [f32],
        out: &mut [f32],
    ) {
        let (work, out) = (simd::as_vectors::<S>(work), simd::as_vectors::<S>(out));
        power::<S>(plan, samples, taps, work, out);
    }

    fn run(
        isa: Isa,
        plan: &LaneFft,
        samples: &[f32],
        taps: &Taps,
        work: &mut [f32],
        out: &mut [f32],
    ) {
        crate::dispatch!(isa, kernel(plan: &LaneFft, samples: &[f32], taps: &Taps, work: &mut [f32], out: &mut [f32]));
    }

    /// The powers of `x`, which stands in every lane; all lanes must agree.
    fn power_of(isa: Isa, plan: &LaneFft, x: &[f32]) -> Vec<f64> {
        let w = isa.lanes();
        let mut samples = Aligned::zeros(x.len() * w);
        for (i, v) in x.iter().enumerate() {
            samples[i * w..][..w].fill(*v);
        }
        let taps = Taps::new((0..x.len()).map(|i| (i * w, 1.0)));
        let mut work = Aligned::zeros(plan.work_len() * w);
        let mut out = Aligned::zeros(plan.power_len() * w);
        run(isa, plan, &samples, &taps, &mut work, &mut out);
        (0..=plan.n / 2)
            .map(|k| {
                let lanes = &out[plan.position(k) * w..][..w];
                assert!(lanes.iter().all(|v| v.to_bits() == lanes[0].to_bits()));
                f64::from(lanes[0])
            })
            .collect()
    }

    #[test]
    fn equals_the_definition_in_float64() {
        for n in [
            16, 32, 64, 80, 96, 100, 128, 160, 200, 240, 256, 320, 400, 480, 512, 640, 800, 1024,
            1600, 2048, 4096,
        ] {
            let plan = LaneFft::new(n).unwrap_or_else(|| panic!("no plan for {n}"));
            let x: Vec<f32> =
                (0..n).map(|i| ((i * i * 7 + i * 13) % 1009) as f32 / 504.5 - 1.0).collect();
            let expected: Vec<f64> = (0..=n / 2)
                .map(|k| {
                    let (re, im) = (0..n).fold((0.0, 0.0), |(re, im), i| {
                        let angle = -TAU * ((i * k) % n) as f64 / n as f64;
                        (re + f64::from(x[i]) * angle.cos(), im + f64::from(x[i]) * angle.sin())
                    });
                    re * re + im * im
                })
                .collect();
            let peak = expected.iter().copied().fold(0.0, f64::max);
            for isa in Isa::available() {
                for (k, (got, want)) in power_of(isa, &plan, &x).iter().zip(&expected).enumerate() {
                    assert!(
                        (got - want).abs() < 1e-6 * peak,
                        "n {n} {isa:?} bin {k}: {got} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn sizes_that_lanes_do_not_cover_have_no_plan() {
        for n in [1, 2, 7, 15, 401, 2050] {
            assert!(LaneFft::new(n).is_none(), "{n}");
        }
    }

    #[test]
    #[ignore = "prints timings"]
    fn speed() {
        for n in [400, 512, 1024, 2048] {
            let plan = LaneFft::new(n).unwrap();
            for isa in Isa::available() {
                let (w, hop) = (isa.lanes(), n / 4);
                let stride = w + 16;
                let samples = Aligned::zeros(hop * stride);
                let taps = Taps::new((0..n).map(|i| ((i % hop) * stride + i / hop, 1.0)));
                let mut work = Aligned::zeros(plan.work_len() * w);
                let mut out = Aligned::zeros(plan.power_len() * w);
                let mut best = f64::MAX;
                for _ in 0..4000 {
                    let start = std::time::Instant::now();
                    run(isa, &plan, &samples, &taps, &mut work, &mut out);
                    best = best.min(start.elapsed().as_secs_f64());
                }
                println!("n {n} {isa:?}: {:.3} us/frame", best * 1e6 / w as f64);
            }
        }
    }
}
