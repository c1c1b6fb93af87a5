//! Decodes the recordings that are named, for counting instructions:
//!
//!     valgrind --tool=callgrind target/release/examples/decode *.mp3
//!
//! The count is the same from run to run, where time is not. Valgrind knows no AVX-512: set
//! AUDIOCLS_ISA=avx2.

use rust_features::{Decoder, Result};

fn main() -> Result<()> {
    let (mut n_samples, mut sum) = (0, 0.0);
    let mut block = Vec::new();
    for path in std::env::args().skip(1) {
        let mut decoder = Decoder::open(path)?;
        while decoder.read(&mut block)? {
            n_samples += block.len();
            sum += block.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
            block.clear();
        }
    }
    println!("{n_samples} samples, mean square {}", sum / n_samples as f64);
    Ok(())
}
