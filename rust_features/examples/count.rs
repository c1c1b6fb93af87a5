//! One extraction of 64 clips with a given preset (and instruction set), for counting instructions:
//!
//!     valgrind --tool=callgrind target/release/examples/count mel avx2
//!
//! The count is the same from run to run, where time is not. Valgrind knows no AVX-512.

use rust_features::{Extractor, FeatureSpec, Isa, Result};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "mel".into());
    let isa = args.next().map_or_else(|| Ok(Isa::best()), |isa| Isa::named(&isa))?;
    let extractor = Extractor::with_isa(FeatureSpec::preset(&name)?, isa)?;

    let clip_len = extractor.spec().sample_rate as usize / 2;
    // Linear congruential noise: the same on every machine.
    let mut state = 1_u32;
    let clips: Vec<f32> = (0..64 * clip_len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect();
    let mut out = vec![0.0; 64 * extractor.n_frames(clip_len) * extractor.n_features()];
    extractor.extract_into(&mut extractor.scratch(), &clips, clip_len, &mut out)?;
    println!("{name} {} sum {:e}", isa.name(), out.iter().sum::<f32>());
    Ok(())
}
