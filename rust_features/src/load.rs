//! A recording's samples at the rate that is asked for: decoding and resampling as one stream.

use std::path::{Path, PathBuf};

use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::resample::Resampler;

/// [`Samples::read`] appends at most about this many resampled samples, whatever the rates.
const RESAMPLED_BLOCK: u64 = 1 << 18;

/// Mono samples of one recording, block by block, at its own or at another rate.
pub struct Samples {
    decoder: Decoder,
    /// The rate of the recording.
    own_rate: u32,
    resampler: Option<Resampler>,
    sample_rate: u32,
    /// Samples at the recording's rate, of which those from `at` on are still to be resampled.
    block: Vec<f32>,
    at: usize,
    ended: bool,
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
        Self::blaming(path, Decoder::open(path)?, sample_rate)
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
        Self::blaming(&name, Decoder::from_bytes(bytes, &name)?, sample_rate)
    }

    /// The rate that was asked for is sound, so that the recording's own is at fault.
    fn blaming(name: &Path, decoder: Decoder, sample_rate: Option<u32>) -> Result<Self> {
        let sample_rate = sample_rate.unwrap_or(decoder.sample_rate());
        Self::from_decoder(decoder, sample_rate)
            .map_err(|e| Error::Decode { path: name.into(), reason: e.to_string() })
    }

    /// Of a recording that is open already, at `sample_rate` Hz.
    ///
    /// # Errors
    /// As [`Resampler::new`].
    pub fn from_decoder(decoder: Decoder, sample_rate: u32) -> Result<Self> {
        let own_rate = decoder.sample_rate();
        let same = own_rate == sample_rate;
        let resampler = if same { None } else { Some(Resampler::new(own_rate, sample_rate)?) };
        let (block, at, ended) = (Vec::new(), 0, false);
        Ok(Self { decoder, own_rate, resampler, sample_rate, block, at, ended })
    }

    /// Samples per second of the recording itself.
    pub fn own_rate(&self) -> u32 {
        self.own_rate
    }

    /// Samples per second of what [`Samples::read`] gives.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Appends the next block of samples to `out` (it may be empty); false, and nothing appended, when
    /// there are no more. `tap` sees every sample once, as it was decoded, at the recording's own rate.
    ///
    /// # Errors
    /// As [`Decoder::read`].
    pub fn read(&mut self, out: &mut Vec<f32>, mut tap: impl FnMut(&[f32])) -> Result<bool> {
        let start = out.len();
        let Some(resampler) = &mut self.resampler else {
            let more = self.decoder.read(out)?;
            tap(&out[start..]);
            return Ok(more);
        };
        if self.at == self.block.len() {
            if self.ended {
                return Ok(false);
            }
            self.block.clear();
            self.at = 0;
            self.ended = !self.decoder.read(&mut self.block)?;
            tap(&self.block);
        }
        let (from, to) = (u64::from(self.own_rate), u64::from(self.sample_rate));
        let most = (RESAMPLED_BLOCK * from / to).max(1) as usize;
        let end = self.block.len().min(self.at + most);
        resampler.process(&self.block[self.at..end], out);
        self.at = end;
        if self.ended {
            resampler.finish(out);
        }
        Ok(!self.ended || out.len() > start)
    }

    /// All samples that are left; `going_on` is asked between blocks and stops the work by an error.
    ///
    /// # Errors
    /// As [`Samples::read`], and whatever `going_on` returns.
    pub fn read_all(&mut self, mut going_on: impl FnMut() -> Result<()>) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        while self.read(&mut out, |_| ())? {
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
