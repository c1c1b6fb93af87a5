//! Which part of a recording a clip is.

// Index loops: see simd/mod.rs.
#![allow(clippy::needless_range_loop)]

use crate::simd::{Isa, Kernel, Simd};

/// Samples as a store keeps them.
#[derive(Clone, Copy)]
pub enum Pcm<'a> {
    /// Full scale is 32768.
    Int16(&'a [i16]),
    /// Full scale is 1.
    Float32(&'a [f32]),
}

impl<'a> Pcm<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Int16(samples) => samples.len(),
            Self::Float32(samples) => samples.len(),
        }
    }

    /// The samples first..end, if there are as many.
    pub fn get(&self, first: usize, end: usize) -> Option<Self> {
        Some(match self {
            Self::Int16(samples) => Self::Int16(samples.get(first..end)?),
            Self::Float32(samples) => Self::Float32(samples.get(first..end)?),
        })
    }

    /// Samples `first`.. of the recording, full scale 1. Before and after it there is silence; or, if
    /// `repeats`, the recording again.
    pub fn read(&self, isa: Isa, first: isize, repeats: bool, mut out: &mut [f32]) {
        let len = self.len() as isize;
        if len == 0 {
            return out.fill(0.0);
        }
        let mut at = if repeats { first.rem_euclid(len) } else { first };
        while !out.is_empty() {
            let silent = if at < 0 {
                -at
            } else if at >= len {
                out.len() as isize
            } else {
                0
            };
            let n = if silent > 0 { silent } else { len - at }.min(out.len() as isize) as usize;
            let (now, later) = out.split_at_mut(n);
            if silent > 0 {
                now.fill(0.0);
            } else {
                self.copy(isa, at as usize, now);
            }
            at += n as isize;
            if repeats {
                at %= len;
            }
            out = later;
        }
    }

    fn copy(&self, isa: Isa, first: usize, out: &mut [f32]) {
        match self {
            Self::Int16(samples) => {
                let from = &samples[first..first + out.len()];
                isa.dispatch(Scaled { from, to: out });
            }
            Self::Float32(samples) => out.copy_from_slice(&samples[first..first + out.len()]),
        }
    }
}

/// int16 → float32.
struct Scaled<'a> {
    from: &'a [i16],
    to: &'a mut [f32],
}

impl Kernel for Scaled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let from = &self.from[..self.to.len()];
        for i in 0..from.len() {
            self.to[i] = f32::from(from[i]) * (1.0 / 32768.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_or_the_recording_again_lies_around_it() {
        let read = |first, repeats, n| {
            let mut out = vec![9.0; n];
            Pcm::Float32(&[1.0, 2.0, 3.0]).read(Isa::best(), first, repeats, &mut out);
            out
        };
        assert_eq!(read(1, false, 2), [2.0, 3.0]);
        assert_eq!(read(-2, false, 7), [0.0, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0]);
        assert_eq!(read(-2, true, 7), [2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0]);
        assert_eq!(read(5, false, 2), [0.0, 0.0]);
        let mut out = [9.0; 2];
        Pcm::Int16(&[]).read(Isa::best(), 0, true, &mut out);
        assert_eq!(out, [0.0, 0.0]);
        Pcm::Int16(&[-32768, 16384]).read(Isa::best(), 0, false, &mut out);
        assert_eq!(out, [-1.0, 0.5]);
    }
}
