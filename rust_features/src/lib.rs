//! Audio features at the speed of the hardware: bytes of a recording → mono samples → frames →
//! spectrum → mel / MFCC, for one clip or for a whole data set.
//!
//! ```
//! use rust_features::{Extractor, FeatureSpec};
//!
//! # fn main() -> rust_features::Result<()> {
//! let extractor = Extractor::new(FeatureSpec::preset("mel-16k")?)?;
//!
//! // Two clips of half a second, one after the other: a tone of 440 Hz and silence.
//! let tone = (0..8000).map(|i| (std::f32::consts::TAU * 440.0 * i as f32 / 16_000.0).sin());
//! let clips: Vec<f32> = tone.chain(std::iter::repeat_n(0.0, 8000)).collect();
//!
//! let (frames, mels) = (extractor.n_frames(8000), extractor.n_features());
//! assert_eq!((frames, mels), (41, 80));
//! let mut out = vec![0.0; 2 * frames * mels];
//! extractor.extract_into(&mut extractor.scratch(), &clips, 8000, &mut out)?;
//!
//! // Decibels, [clip][frame][mel]: the tone is loudest near 440 Hz, silence lies at the floor.
//! let middle = &out[20 * mels..21 * mels];
//! let loudest = (0..mels).max_by(|&a, &b| middle[a].total_cmp(&middle[b]));
//! assert_eq!(loudest, Some(15));
//! assert!(out[frames * mels..].iter().all(|db| (db + 100.0).abs() < 1e-3));
//! # Ok(())
//! # }
//! ```
//!
//! [`Samples`] reads the samples of a recording, [`Stream`] takes a signal in pieces,
//! [`extract_batch`] works on many threads, and [`dataset`] turns recordings into shards on disk. The
//! modules stand in the order in which data flows.

mod error;
mod finite;
mod json;

mod decode;
mod load;
mod resample;

// So far only the Python bindings use it.
#[cfg_attr(not(feature = "python"), allow(dead_code))]
mod augment;

mod presets;
pub mod spec;

mod frame;
mod window;

mod fft;
mod mel;

mod log;

mod cepstrum;

mod second_pass;

mod extractor;
mod parallel;
mod stream;

mod cut;

mod simd;

mod atomic;
mod checksum;
mod npy;

pub mod dataset;

#[cfg(feature = "python")]
mod python;

pub use cut::{Batch, Cut, Cutter, Pace, Poll, Reason, Short, Take};
pub use decode::Decoder;
pub use error::{Error, Result, Value};
pub use extractor::{Extractor, Scratch};
pub use load::Samples;
pub use parallel::{ScratchPool, extract_batch};
pub use resample::{Resampler, resample};
pub use simd::Isa;
pub use spec::FeatureSpec;
pub use stream::Stream;

/// The single stages, for this crate's own benchmarks.
#[doc(hidden)]
pub mod bench {
    pub use crate::cepstrum::Cepstrum;
    pub use crate::fft::{Fft, FftScratch, Output};
    pub use crate::log::ln;
    pub use crate::mel::FilterBank;
    pub use crate::simd::{Block, Kernel, MAX_LANES, Rows, Simd};
}
