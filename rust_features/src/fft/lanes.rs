//! The windowed real transform of W frames at once, frame l in lane l: nothing but vertical
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
//! conjugates of those below, so every output is some bin or its conjugate: there is no split pass
//! as in the usual packing of real points into complex ones.
//!
//! Both inner sizes are again a product of two straight-line transforms, done in registers and a
//! scratch that stays in the first-level cache.

// Index loops throughout: an iterator or closure that the compiler leaves as a call of its own is
// compiled without the instruction set of its caller.
#![allow(clippy::needless_range_loop)]

use std::f64::consts::TAU;
use std::marker::PhantomData;

use super::Output;
use super::codelet::{C, Codelet, RealCodelet, Straight, twiddle};
use crate::simd::{Arithmetic, Block, Grid, Kernel, MAX_LANES, Rows, Simd};

/// The numbers in which a transform is computed. Frames and bins are float32 in any case.
pub trait Width {
    /// A number of the tables.
    type Scalar: Copy;
    /// Arithmetic on as many lanes as `S` has.
    type On<S: Simd>: Arithmetic<Scalar = Self::Scalar>;
    /// Its token.
    fn on<S: Simd>(s: S) -> Self::On<S>;
    /// Samples of all lanes.
    fn load<S: Simd>(s: S, x: S::V) -> Vector<Self, S>;
    /// A bin of all lanes.
    fn store<S: Simd>(s: S, x: Vector<Self, S>) -> S::V;
    /// The plan's tables.
    fn tables(plan: &LaneFft) -> &Tables<Self::Scalar>;
}

type Vector<P, S> = <<P as Width>::On<S> as Arithmetic>::V;

/// float32.
pub struct F32;
/// float64.
pub struct F64;

impl Width for F32 {
    type Scalar = f32;
    type On<S: Simd> = S;
    #[inline(always)]
    fn on<S: Simd>(s: S) -> S {
        s
    }
    #[inline(always)]
    fn load<S: Simd>(_: S, x: S::V) -> S::V {
        x
    }
    #[inline(always)]
    fn store<S: Simd>(_: S, x: S::V) -> S::V {
        x
    }
    fn tables(plan: &LaneFft) -> &Tables<f32> {
        &plan.single
    }
}

impl Width for F64 {
    type Scalar = f64;
    type On<S: Simd> = S::Double;
    #[inline(always)]
    fn on<S: Simd>(s: S) -> S::Double {
        s.double()
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: S::V) -> Vector<Self, S> {
        s.widen(x)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, x: Vector<Self, S>) -> S::V {
        s.narrow(x)
    }
    fn tables(plan: &LaneFft) -> &Tables<f64> {
        &plan.double
    }
}

/// A plan for real transforms of one size on lanes.
pub struct LaneFft {
    /// The real inner size: (a, b) with r = a·b.
    real: (usize, usize),
    /// The complex inner size: (a, b) with c = a·b.
    complex: (usize, usize),
    /// Points that are not zero in every frame.
    span: usize,
    single: Tables<f32>,
    double: Tables<f64>,
}

/// What a transform multiplies by.
pub struct Tables<T> {
    /// e^(−2πi·n₂k₁/n) at [n₂·(r/2 + 1) + k₁].
    outer: Vec<[T; 2]>,
    /// e^(−2πi·jk/r) at [k·b + j], for the real inner transform.
    real: Vec<[T; 2]>,
    /// e^(−2πi·jk/c) at [k·b + j], for the complex inner transform.
    complex: Vec<[T; 2]>,
    /// The window, followed by zeros.
    window: Vec<T>,
}

impl<T> Tables<T> {
    fn map<U>(&self, f: impl Fn(&T) -> U) -> Tables<U> {
        let pairs = |table: &[[T; 2]]| table.iter().map(|w| w.each_ref().map(&f)).collect();
        Tables {
            outer: pairs(&self.outer),
            real: pairs(&self.real),
            complex: pairs(&self.complex),
            window: self.window.iter().map(&f).collect(),
        }
    }
}

/// Buffers of one worker.
pub struct LaneScratch {
    /// `[r][4]`: the samples of four neighbouring n₂.
    columns: Vec<Block>,
    /// `[r/2 + 1][c]`: complex.
    work: Vec<Block>,
}

/// Each pair costs compile time and code; these give 64 to 4096 in the sizes that audio uses.
const REAL_SIZES: [(usize, usize); 4] = [(8, 1), (4, 4), (8, 4), (8, 8)];
const COMPLEX_SIZES: [(usize, usize); 9] =
    [(8, 1), (3, 4), (3, 5), (4, 4), (4, 5), (3, 8), (5, 5), (4, 8), (8, 8)];

fn root(numerator: usize, n: usize) -> [f64; 2] {
    let angle = -TAU * (numerator % n) as f64 / n as f64;
    [angle.cos(), angle.sin()]
}

fn inner_twiddles(rows: usize, (a, b): (usize, usize)) -> Vec<[f64; 2]> {
    (0..rows).flat_map(|k| (0..b).map(move |j| root(j * k, a * b))).collect()
}

impl LaneFft {
    /// The plan for size `n`, if lanes cover it.
    pub fn new(n: usize, window: &[f64]) -> Option<Self> {
        let sizes = REAL_SIZES.iter().flat_map(|r| COMPLEX_SIZES.iter().map(move |c| (*r, *c)));
        // Balanced factors keep both halves in registers and the scratch small.
        let (real, complex) = sizes
            .filter(|(r, c)| r.0 * r.1 * c.0 * c.1 == n)
            .min_by_key(|(r, c)| (2 * c.0 * c.1).abs_diff(r.0 * r.1))?;
        let (r, c) = (real.0 * real.1, complex.0 * complex.1);
        let mut padded = vec![0.0; n + 4];
        padded[..window.len()].copy_from_slice(window);
        let double = Tables {
            outer: (0..c).flat_map(|j| (0..=r / 2).map(move |k| root(j * k, n))).collect(),
            real: inner_twiddles(real.0 / 2 + 1, real),
            complex: inner_twiddles(complex.0, complex),
            window: padded,
        };
        let single = double.map(|&x| x as f32);
        Some(Self { real, complex, span: window.len(), single, double })
    }

    fn r(&self) -> usize {
        self.real.0 * self.real.1
    }

    fn c(&self) -> usize {
        self.complex.0 * self.complex.1
    }

    /// Bins lie in rows of k₁, so that each complex transform writes two runs of neighbours. The
    /// odd row length keeps neighbouring bins (one row apart) in different cache sets.
    fn row_length(&self) -> usize {
        (self.c() / 2 + 1) | 1
    }

    /// Where bin `k` lies in the output.
    pub fn position(&self, k: usize) -> usize {
        k % self.r() * self.row_length() + k / self.r()
    }

    /// Rows and columns of the output.
    pub fn shape(&self) -> (usize, usize) {
        (self.r(), self.row_length())
    }

    /// Complex numbers a row of the work matrix; odd for the same reason.
    fn work_stride(&self) -> usize {
        self.c() | 1
    }

    /// Buffers for [`LaneFft::run`], wide enough for float64.
    pub fn scratch(&self) -> LaneScratch {
        LaneScratch {
            columns: Block::zeros(2 * self.r() * 4, MAX_LANES),
            work: Block::zeros(2 * (self.r() / 2 + 1) * self.work_stride() * 2, MAX_LANES),
        }
    }

    /// Transforms one frame a lane; see [`super::Fft::run`].
    pub fn run<P: Width, S: Simd>(
        &self,
        s: S,
        frames: &Rows,
        scratch: &mut LaneScratch,
        output: Output,
        bins: &mut [Block],
    ) {
        match self.real {
            (8, 1) => s.call(RealStep::<P, 8, 5, 1>::of(self, frames, scratch)),
            (4, 4) => s.call(RealStep::<P, 4, 3, 4>::of(self, frames, scratch)),
            (8, 4) => s.call(RealStep::<P, 8, 5, 4>::of(self, frames, scratch)),
            _ => s.call(RealStep::<P, 8, 5, 8>::of(self, frames, scratch)),
        }
        let work = &mut scratch.work[..];
        match output {
            Output::Power => self.complex_step::<P, S, true>(s, work, bins),
            Output::Complex => self.complex_step::<P, S, false>(s, work, bins),
        }
    }

    fn complex_step<P: Width, S: Simd, const POWER: bool>(
        &self,
        s: S,
        work: &mut [Block],
        bins: &mut [Block],
    ) {
        match self.complex {
            (8, 1) => s.call(ComplexStep::<P, 8, 1, POWER>::of(self, work, bins)),
            (3, 4) => s.call(ComplexStep::<P, 3, 4, POWER>::of(self, work, bins)),
            (3, 5) => s.call(ComplexStep::<P, 3, 5, POWER>::of(self, work, bins)),
            (4, 4) => s.call(ComplexStep::<P, 4, 4, POWER>::of(self, work, bins)),
            (4, 5) => s.call(ComplexStep::<P, 4, 5, POWER>::of(self, work, bins)),
            (3, 8) => s.call(ComplexStep::<P, 3, 8, POWER>::of(self, work, bins)),
            (5, 5) => s.call(ComplexStep::<P, 5, 5, POWER>::of(self, work, bins)),
            (4, 8) => s.call(ComplexStep::<P, 4, 8, POWER>::of(self, work, bins)),
            _ => s.call(ComplexStep::<P, 8, 8, POWER>::of(self, work, bins)),
        }
    }

    /// Samples n₁·c + n₂ .. n₁·c + n₂ + 4 of all frames, windowed, for every n₁.
    #[inline(always)]
    fn gather<P: Width, S: Simd>(
        &self,
        s: S,
        frames: &Rows,
        n2: usize,
        columns: &mut [[Vector<P, S>; 4]],
    ) {
        let (c, p, window) = (self.c(), P::on(s), &P::tables(self).window);
        for n1 in 0..columns.len() {
            let at = n1 * c + n2;
            columns[n1] = if at < self.span {
                let x = s.load4(frames, at);
                let w = &window[at..at + 4];
                [
                    p.mul(P::load(s, x[0]), p.splat(w[0])),
                    p.mul(P::load(s, x[1]), p.splat(w[1])),
                    p.mul(P::load(s, x[2]), p.splat(w[2])),
                    p.mul(P::load(s, x[3]), p.splat(w[3])),
                ]
            } else {
                [p.constant(0.0); 4]
            };
        }
    }
}

/// For every n₂: the real transform of x[n₁·c + n₂] over n₁, times the outer twiddle.
///
/// r = A·B; bins k₁ = 0..=r/2 go to work[k₁][n₂].
struct RealStep<'a, P, const A: usize, const BINS: usize, const B: usize> {
    plan: &'a LaneFft,
    frames: &'a Rows<'a>,
    scratch: &'a mut LaneScratch,
    width: PhantomData<P>,
}

impl<'a, P, const A: usize, const BINS: usize, const B: usize> RealStep<'a, P, A, BINS, B> {
    fn of(plan: &'a LaneFft, frames: &'a Rows<'a>, scratch: &'a mut LaneScratch) -> Self {
        Self { plan, frames, scratch, width: PhantomData }
    }
}

impl<P: Width, const A: usize, const BINS: usize, const B: usize> Kernel
    for RealStep<'_, P, A, BINS, B>
where
    Straight: RealCodelet<A, BINS> + Codelet<B>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, frames, scratch, .. } = self;
        let (p, tables) = (P::on(s), P::tables(plan));
        let (r, c) = (A * B, plan.c());
        let half = r / 2 + 1;
        let columns = &mut p.cast_mut(&mut scratch.columns).as_chunks_mut::<4>().0[..r];
        let work = p.cast_mut(&mut scratch.work).as_chunks_mut::<2>().0;
        let mut work = Grid::new(work, half, plan.work_stride());
        let twiddles = &tables.real.as_chunks::<B>().0[..BINS];
        let zero = (p.constant(0.0), p.constant(0.0));
        // Outside the loop: clearing it each time would cost a tenth of the transform.
        let mut scratch = [[zero; B]; BINS];
        for n2 in 0..c {
            if n2 % 4 == 0 {
                plan.gather::<P, S>(s, frames, n2, columns);
            }
            let outer = &tables.outer[n2 * half..][..half];
            for j in 0..B {
                let mut x = [zero.0; A];
                for i in 0..A {
                    x[i] = columns[j + B * i][n2 % 4];
                }
                let y = <Straight as RealCodelet<A, BINS>>::dft(p, x);
                for k in 0..BINS {
                    scratch[k][j] =
                        if j * k == 0 { y[k] } else { twiddle(p, y[k], twiddles[k][j]) };
                }
            }
            for k in 0..BINS {
                let y = <Straight as Codelet<B>>::dft(p, scratch[k]);
                for m in 0..B {
                    let k1 = k + A * m;
                    if k1 <= r / 2 {
                        let y = if k1 == 0 { y[m] } else { twiddle(p, y[m], outer[k1]) };
                        work.set(k1, n2, [y.0, y.1]);
                    } else if k != 0 && k != A / 2 {
                        // The conjugate of a bin in the upper half, which no other k gives.
                        let conjugate = (y[m].0, p.sub(zero.0, y[m].1));
                        let y = twiddle(p, conjugate, outer[r - k1]);
                        work.set(r - k1, n2, [y.0, y.1]);
                    }
                }
            }
        }
    }
}

/// For every k₁: the complex transform over n₂, c = A·B, to the matrix of bins.
struct ComplexStep<'a, P, const A: usize, const B: usize, const POWER: bool> {
    plan: &'a LaneFft,
    work: &'a mut [Block],
    bins: &'a mut [Block],
    width: PhantomData<P>,
}

impl<'a, P, const A: usize, const B: usize, const POWER: bool> ComplexStep<'a, P, A, B, POWER> {
    fn of(plan: &'a LaneFft, work: &'a mut [Block], bins: &'a mut [Block]) -> Self {
        Self { plan, work, bins, width: PhantomData }
    }
}

impl<P: Width, const A: usize, const B: usize, const POWER: bool> Kernel
    for ComplexStep<'_, P, A, B, POWER>
where
    Straight: Codelet<A> + Codelet<B>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let plan = self.plan;
        let p = P::on(s);
        let (r, c) = (plan.r(), A * B);
        let work = p.cast_mut(self.work).as_chunks_mut::<2>().0;
        let work = Grid::new(work, r / 2 + 1, plan.work_stride());
        let bins = s.cast_mut(self.bins);
        let (rows, stride) = plan.shape();
        let width = if POWER { 1 } else { 2 };
        let mut bins = Grid::new(bins, rows, width * stride);
        let twiddles = &P::tables(plan).complex.as_chunks::<B>().0[..A];
        let zero: C<P::On<S>> = (p.constant(0.0), p.constant(0.0));
        let mut scratch = [[zero; B]; A];
        for k1 in 0..=r / 2 {
            let row = &work.row(k1)[..c];
            // Where the conjugates of bins above n/2 go: bin n − k is r·(c − k₂) − k₁.
            let (mirror_row, mirror) = if k1 == 0 { (0, c) } else { (r - k1, c - 1) };
            for j in 0..B {
                let mut x = [zero; A];
                for i in 0..A {
                    let [re, im] = row[j + B * i];
                    x[i] = (re, im);
                }
                let y = <Straight as Codelet<A>>::dft(p, x);
                for k in 0..A {
                    scratch[k][j] = if k == 0 { y[k] } else { twiddle(p, y[k], twiddles[k][j]) };
                }
            }
            for k in 0..A {
                let y = <Straight as Codelet<B>>::dft(p, scratch[k]);
                for m in 0..B {
                    let k2 = k + A * m;
                    let (re, im) = y[m];
                    if k2 <= (c - 1) / 2 {
                        put::<P, S, POWER>(s, &mut bins, k1, k2, (re, im));
                    } else {
                        let conjugate = (re, p.sub(zero.0, im));
                        put::<P, S, POWER>(s, &mut bins, mirror_row, mirror - k2, conjugate);
                    }
                }
            }
        }
    }
}

/// A bin or its power, to its place.
#[inline(always)]
fn put<P: Width, S: Simd, const POWER: bool>(
    s: S,
    bins: &mut Grid<S::V>,
    row: usize,
    column: usize,
    (re, im): C<P::On<S>>,
) {
    let p = P::on(s);
    if POWER {
        bins.set(row, column, P::store(s, p.mul_add(re, re, p.mul(im, im))));
    } else {
        bins.set(row, 2 * column, P::store(s, re));
        bins.set(row, 2 * column + 1, P::store(s, im));
    }
}
