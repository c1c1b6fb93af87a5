//! A recording's samples at the rate that is asked for: decoding and resampling as one stream.

use std::path::{Path, PathBuf};

use crate::decode::Decoder;
use crate::resample::Resampler;
use crate::{Error, Result};

/// Mono samples of one recording, block by block, at its own or at another rate.
pub struct Samples {
    name: PathBuf,
    decoder: Decoder,
    resampler: Option<Resampler>,
    sample_rate: u32,
    block: Vec<f32>,
    finished: bool,
}

impl Samples {
    /// Opens a recording; `sample_rate` in Hz, or `None` for the recording's own.
    ///
    /// # Errors
    /// [`Error::Setting`] if `sample_rate` is 0; [`Error::Decode`] also if the recording's own rate is more
    /// than a factor of 256 away; else as [`Decoder::open`].
    pub fn open(path: impl AsRef<Path>, sample_rate: Option<u32>) -> Result<Self> {
        check(sample_rate)?;
        let path = path.as_ref();
        Self::new(Decoder::open(path)?, path.to_path_buf(), sample_rate)
    }

    /// The same for a recording in memory; `name` stands for the path in errors.
    ///
    /// # Errors
    /// As [`Samples::open`].
    pub fn from_bytes(
        bytes: Vec<u8>,
        name: impl Into<PathBuf>,
        sample_rate: Option<u32>,
    ) -> Result<Self> {
        check(sample_rate)?;
        let name = name.into();
        Self::new(Decoder::from_bytes(bytes, name.clone())?, name, sample_rate)
    }

    fn new(decoder: Decoder, name: PathBuf, sample_rate: Option<u32>) -> Result<Self> {
        let own = decoder.sample_rate();
        let sample_rate = sample_rate.unwrap_or(own);
        let resampler = if sample_rate == own {
            None
        } else {
            // The rate that was asked for is sound, so that the recording's own is at fault.
            let blame = |e: Error| Error::Decode { path: name.clone(), reason: e.to_string() };
            Some(Resampler::new(own, sample_rate).map_err(blame)?)
        };
        Ok(Self { name, decoder, resampler, sample_rate, block: Vec::new(), finished: false })
    }

    /// Samples per second of what [`Samples::read`] gives.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// The recording as it is stored: its rate and its channels.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The path, or what stands for it in errors.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Appends the next block of samples to `out` (it may be empty); false, and nothing appended, when
    /// there are no more.
    ///
    /// # Errors
    /// As [`Decoder::read`].
    pub fn read(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        let Some(resampler) = &mut self.resampler else {
            return self.decoder.read(out);
        };
        if self.finished {
            return Ok(false);
        }
        let start = out.len();
        self.block.clear();
        let more = self.decoder.read(&mut self.block)?;
        resampler.process(&self.block, out);
        if !more {
            resampler.finish(out);
            self.finished = true;
        }
        Ok(more || out.len() > start)
    }

    /// All samples that are left; `going_on` is asked between blocks and stops the work by an error.
    ///
    /// # Errors
    /// As [`Samples::read`], and whatever `going_on` returns.
    pub fn read_all(&mut self, mut going_on: impl FnMut() -> Result<()>) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        while self.read(&mut out)? {
            going_on()?;
        }
        Ok(out)
    }
}

fn check(sample_rate: Option<u32>) -> Result<()> {
    match sample_rate {
        Some(0) => Err(Error::setting("sample_rate", 0, "must be >= 1 Hz")),
        _ => Ok(()),
    }
}
