//! Samples that are not numbers: looked for everywhere, refused wherever features are made.

use crate::error::{Error, Result};

/// Refuses samples that are not finite. The first of `samples` is sample `first` of `n_clips` clips of
/// `clip_len` samples, counted through: the error names sample and clip.
pub fn check(samples: &[f32], first: usize, clip_len: usize, n_clips: usize) -> Result<()> {
    let Some(bad) = first_non_finite(samples) else { return Ok(()) };
    let (clip, sample) = ((first + bad) / clip_len, (first + bad) % clip_len);
    let name = match n_clips {
        1 => format!("sample {sample}"),
        _ => format!("sample {sample} of clip {clip}"),
    };
    Err(Error::setting(&name, samples[bad], "must be finite"))
}

/// Index of the first sample that is not a number or infinite.
fn first_non_finite(samples: &[f32]) -> Option<usize> {
    const EXPONENT: u32 = 0x7f80_0000;
    let bad = |x: &f32| x.to_bits() & EXPONENT == EXPONENT;
    // Without an early exit inside a chunk the compiler can use vectors.
    let chunk = samples.chunks(1024).position(|c| c.iter().fold(false, |any, x| any | bad(x)))?;
    let start = chunk * 1024;
    samples[start..].iter().position(bad).map(|i| start + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_bad_sample() {
        let mut x = vec![0.0; 5000];
        assert_eq!(first_non_finite(&x), None);
        x[4000] = f32::INFINITY;
        x[3000] = f32::NAN;
        assert_eq!(first_non_finite(&x), Some(3000));
    }

    #[test]
    fn names_the_sample_in_its_clip() {
        let message =
            |first, n_clips| check(&[0.0, f32::NAN], first, 10, n_clips).unwrap_err().to_string();
        assert_eq!(message(4, 1), "sample 5 NaN is invalid: must be finite");
        assert_eq!(message(32, 4), "sample 3 of clip 3 NaN is invalid: must be finite");
    }
}
