//! Samples that are not numbers: looked for everywhere, refused wherever features are made.

/// Index of the first sample that is not a number or infinite.
pub fn first_non_finite(samples: &[f32]) -> Option<usize> {
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
}
