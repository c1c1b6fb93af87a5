//! Vectors of float32, one frame a lane, for every instruction set; the only unsafe code here.
//!
//! Each kernel is written once over [`Simd`] and compiled for each instruction set. A token of
//! type `S: Simd` proves that the machine has the instructions: only [`Isa::dispatch`] makes
//! one, and only detection makes an [`Isa`], so that the methods themselves are safe. A lane never
//! sees another, so a frame's result does not depend on its lane or neighbours.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::error::{Error, Result};

/// Vectors of numbers of one precision. All arithmetic is lane by lane.
///
/// # Safety
/// Any bits are a valid `V`, which has no padding and divides a [`Block`] into whole vectors, aligned.
pub unsafe trait Arithmetic: Copy {
    /// A number.
    type Scalar: Copy;
    /// A vector: a number in every lane.
    type V: Copy;

    /// All lanes `x`.
    fn splat(self, x: Self::Scalar) -> Self::V;
    /// All lanes `x`, rounded.
    fn constant(self, x: f64) -> Self::V;
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a − b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, rounded once where the machine can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c − a · b, rounded once where the machine can.
    fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The vectors that fill an aligned buffer.
    #[inline(always)]
    fn cast_mut(self, buffer: &mut [Block]) -> &mut [Self::V] {
        let n = size_of_val(buffer) / size_of::<Self::V>();
        // SAFETY: the trait's promise; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), n) }
    }
}

/// Vectors of `LANES` float32.
///
/// # Safety
/// A `V` is `LANES` floats, and `LANES` divides [`MAX_LANES`].
pub unsafe trait Simd: Arithmetic<Scalar = f32> {
    /// As many lanes of float64.
    type Double: Arithmetic<Scalar = f64>;
    /// Floats in a vector, a multiple of 4, at most [`MAX_LANES`].
    const LANES: usize;
    /// Whether `mul_add` and `neg_mul_add` round once.
    const FUSED: bool;

    /// Runs a kernel as a function of its own, from within another: the compiler then has less to
    /// optimise at a time, and its registers are its own.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    /// The same lanes in float64.
    fn double(self) -> Self::Double;
    /// float32 → float64.
    fn widen(self, x: Self::V) -> <Self::Double as Arithmetic>::V;
    /// float64 → float32, rounded.
    fn narrow(self, x: <Self::Double as Arithmetic>::V) -> Self::V;
    /// a / b.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The greater.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// x where a < b, else y.
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// For positive normal x = m · 2^e with m in [1, 2): (m, e).
    fn split_exponent(self, x: Self::V) -> (Self::V, Self::V);
    /// Four samples of every lane: vector s holds `rows[lane][at + s]`.
    fn load4(self, rows: &Rows, at: usize) -> [Self::V; 4];
    /// Writes vector s to `rows[lane][at + s]`.
    fn store4(self, rows: &mut RowsMut, at: usize, values: [Self::V; 4]);
    /// The vectors that fill an aligned buffer.
    fn cast(self, floats: &[Block]) -> &[Self::V] {
        let per_block = MAX_LANES / Self::LANES;
        // SAFETY: a Block is MAX_LANES floats, hence `per_block` vectors, by the traits' promises.
        unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), floats.len() * per_block) }
    }
    /// The lanes as floats.
    fn floats(self, vectors: &[Self::V]) -> &[f32] {
        // SAFETY: a V is LANES floats without padding.
        unsafe { std::slice::from_raw_parts(vectors.as_ptr().cast(), vectors.len() * Self::LANES) }
    }
    /// The lanes as floats.
    fn floats_mut(self, vectors: &mut [Self::V]) -> &mut [f32] {
        let n = vectors.len() * Self::LANES;
        // SAFETY: a V is LANES floats without padding; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(vectors.as_mut_ptr().cast(), n) }
    }
    /// The first LANES floats of a slice, which must have as many.
    #[inline(always)]
    fn load(self, floats: &[f32]) -> Self::V {
        assert!(floats.len() >= Self::LANES);
        // SAFETY: the slice is long enough; unaligned reads are allowed.
        unsafe { floats.as_ptr().cast::<Self::V>().read_unaligned() }
    }
    /// Overwrites the first LANES floats of a slice, which must have as many.
    #[inline(always)]
    fn store(self, floats: &mut [f32], v: Self::V) {
        assert!(floats.len() >= Self::LANES);
        // SAFETY: the slice is long enough; unaligned writes are allowed.
        unsafe { floats.as_mut_ptr().cast::<Self::V>().write_unaligned(v) }
    }
}

/// Most lanes of any instruction set.
pub const MAX_LANES: usize = 16;

/// One vector of the widest kind: the unit of buffers that every [`Simd`] can use.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Block(pub [f32; MAX_LANES]);

impl Block {
    /// Room for `n` vectors of `lanes` floats.
    pub fn zeros(n: usize, lanes: usize) -> Vec<Self> {
        vec![Self([0.0; MAX_LANES]); (n * lanes).div_ceil(MAX_LANES)]
    }
}

/// Where each lane reads: rows of one buffer, each with at least `length` floats.
pub struct Rows<'a> {
    buffer: &'a [f32],
    starts: [usize; MAX_LANES],
    n_rows: usize,
    length: usize,
}

impl<'a> Rows<'a> {
    /// Rows that start at `starts`, `length` floats each; lanes beyond `starts` read the last row.
    #[inline]
    pub fn new(buffer: &'a [f32], starts: &[usize], length: usize) -> Self {
        let n_rows = starts.len();
        let last = *starts.last().expect("at least one row");
        let starts = std::array::from_fn(|i| starts.get(i).copied().unwrap_or(last));
        let end = buffer.len().checked_sub(length).expect("a row fits the buffer");
        assert!(starts.iter().all(|&start| start <= end));
        Self { buffer, starts, n_rows, length }
    }

    /// Four samples of a lane.
    #[inline(always)]
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused))]
    fn quad(&self, lane: usize, at: usize) -> *const f32 {
        assert!(self.length >= 4 && at <= self.length - 4);
        // SAFETY: `new` has checked that `length` floats follow every start.
        unsafe { self.buffer.as_ptr().add(self.starts[lane] + at) }
    }

    /// Rows given, without those that repeat the last.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The row of a lane.
    pub fn row(&self, lane: usize) -> &'a [f32] {
        &self.buffer[self.starts[lane]..][..self.length]
    }
}

/// Where each lane writes: consecutive rows of `width` floats; lanes beyond the last row write
/// nothing.
pub struct RowsMut<'a> {
    rows: &'a mut [f32],
    width: usize,
    n_rows: usize,
}

impl<'a> RowsMut<'a> {
    /// `rows.len() / width` consecutive rows.
    pub fn new(rows: &'a mut [f32], width: usize) -> Self {
        let n_rows = rows.len() / width;
        Self { rows, width, n_rows }
    }

    /// Room for four values of a lane, if it has a row.
    #[inline(always)]
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused))]
    fn quad(&mut self, lane: usize, at: usize) -> Option<*mut f32> {
        assert!(self.width >= 4 && at <= self.width - 4);
        // SAFETY: `at + 4 <= width` and `lane < n_rows` keep it inside `rows`.
        (lane < self.n_rows).then(|| unsafe { self.rows.as_mut_ptr().add(lane * self.width + at) })
    }

    /// Rows there are.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The row of a lane.
    pub fn row(&mut self, lane: usize) -> &mut [f32] {
        &mut self.rows[lane * self.width..][..self.width]
    }
}

/// A matrix whose bounds are checked by row and column: in a loop over constants the compiler
/// finds the checks fulfilled once and for all, which it cannot for an index into a slice.
pub struct Grid<'a, T> {
    cells: &'a mut [T],
    rows: usize,
    stride: usize,
}

impl<'a, T: Copy> Grid<'a, T> {
    /// `rows` rows of `stride` cells.
    #[inline(always)]
    pub fn new(cells: &'a mut [T], rows: usize, stride: usize) -> Self {
        let cells = &mut cells[..rows * stride];
        Self { cells, rows, stride }
    }

    /// Overwrites a cell.
    #[inline(always)]
    pub fn set(&mut self, row: usize, column: usize, value: T) {
        assert!(row < self.rows && column < self.stride);
        // SAFETY: row · stride + column < rows · stride, the length of `cells`.
        unsafe { *self.cells.get_unchecked_mut(row * self.stride + column) = value }
    }

    /// A row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[T] {
        &self.cells[row * self.stride..][..self.stride]
    }
}

/// Work that is compiled for every instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// Does it. Implementations are `#[inline(always)]`, with all that they call in a hot loop,
    /// so that they take on the instruction set of their caller.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The environment variable that names the most that is used: "sse2" for a machine as old as any,
/// or what all machines of a cluster have, for results that are equal bit for bit.
const MOST: &str = "AUDIOCLS_ISA";

/// An instruction set of this machine: there is no value of one that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 lanes, with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 4 lanes: every x86-64.
    #[cfg(target_arch = "x86_64")]
    Sse2,
    /// 4 lanes, with fused multiply-add: every 64-bit Arm.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// 4 lanes of plain Rust: all other machines.
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    Portable,
}

impl Isa {
    /// What this machine can run, fastest first; where the environment variable `AUDIOCLS_ISA` names
    /// one of them, nothing before it.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // All that the kernel is compiled with, although no machine has the first without the rest.
            let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
            if wide && fused {
                all.push(Self(Set::Avx512));
            }
            if fused {
                all.push(Self(Set::Avx2));
            }
            all.push(Self(Set::Sse2));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self(Set::Neon));
        #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
        all.push(Self(Set::Portable));
        let most = std::env::var(MOST).ok();
        let first = all.iter().position(|isa| Some(isa.name()) == most.as_deref());
        all.drain(..first.unwrap_or(0));
        all
    }

    /// Whether the environment asks for nothing that this machine lacks.
    ///
    /// # Errors
    /// [`Error::Setting`] if `AUDIOCLS_ISA` names no instruction set of this machine.
    pub fn check_environment() -> Result<()> {
        let Some(name) = std::env::var_os(MOST) else { return Ok(()) };
        let name = name.to_string_lossy();
        match Self::named(&name) {
            Err(Error::Setting { value, rule, .. }) => Err(Error::setting(MOST, value, rule)),
            _ => Ok(()),
        }
    }

    /// The fastest of this machine.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// The one of that name, if this machine can run it.
    ///
    /// # Errors
    /// [`Error::Setting`] if it cannot.
    pub fn named(name: &str) -> Result<Self> {
        let all = Self::available();
        all.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|isa| isa.name()).collect();
            Error::setting("isa", name, format!("this machine has {}", names.join(", ")))
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Sse2 => "sse2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
            Set::Portable => "portable",
        }
    }

    /// Floats in a vector.
    pub fn lanes(self) -> usize {
        struct CountLanes;
        impl Kernel for CountLanes {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::LANES
            }
        }
        self.dispatch(CountLanes)
    }

    /// Runs the kernel with this instruction set.
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: only `available` makes an Isa, and has detected its features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { x86::avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            Set::Sse2 => x86::sse2(kernel),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon::neon(kernel),
            #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
            Set::Portable => kernel.run(portable::Portable),
        }
    }
}
