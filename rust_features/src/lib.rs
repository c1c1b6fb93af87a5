//! Audio features at the speed of the hardware: bytes of a recording → mono samples → frames →
//! spectrum → mel / MFCC, for one clip or for a whole data set.
//!
//! The modules stand in the order in which data flows.

pub mod codelet;
pub mod error;
pub mod fft;
pub mod simd;

pub mod decode;
pub mod resample;

pub mod load;

#[cfg(feature = "python")]
mod python;

pub use error::{Error, Result};
