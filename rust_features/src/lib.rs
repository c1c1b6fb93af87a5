//! Audio features at the speed of the hardware: bytes of a recording → mono samples → frames →
//! spectrum → mel / MFCC, for one clip or for a whole data set.
//!
//! The modules stand in the order in which data flows.

pub mod error;
pub mod finite;

pub mod decode;
pub mod load;
pub mod resample;

pub mod augment;

pub mod presets;
pub mod spec;

pub mod frame;
pub mod window;

pub mod fft;
pub mod mel;

pub mod log;

pub mod cepstrum;

pub mod finish;

pub mod extractor;
pub mod parallel;
pub mod stream;

pub mod simd;

pub mod npy;

pub mod dataset;

#[cfg(feature = "python")]
mod python;

pub use error::{Error, Result};
pub use extractor::{Extractor, Scratch};
pub use spec::FeatureSpec;
pub use stream::Stream;
