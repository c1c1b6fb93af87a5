//! Bytes of a recording → mono samples and their rate.
//!
//! The format is found by content, never by file name. MP3 and uncompressed samples are decoded
//! here; layers I and II of MPEG audio by nanomp3, a memory-safe port of minimp3; every other format by
//! symphonia, memory-safe as well. Neither is trusted: a panic in either becomes an error of that one
//! recording, nothing is allocated because a header claims a size, and samples come in blocks, so
//! that memory is bounded for any length.

mod chunks;
mod container;
mod mp3;
mod mpeg;
mod pcm;
mod source;

use std::cell::Cell;
use std::io::Seek;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::error::{Error, Result};
use container::ContainerFormat;
use source::Source;

/// The most channels a recording may have, as in libsndfile: more is a broken header.
const MAX_CHANNELS: usize = 1024;

/// The longest recording in seconds. A compressed file of a megabyte can claim, and give, days.
const MAX_SECONDS: u64 = 24 * 3600;

/// The largest sample, where full scale is 1: of larger ones neither the resampler's sums nor the
/// squares of a spectrum of any length would be finite.
const MAX_SAMPLE: f32 = 1e12;

/// Bytes looked at to find the format.
const HEAD_LEN: usize = 16 * 1024;

/// Why a decoder stopped, in the words of the format.
type Cause = String;

/// What a decoder of one format does.
trait FormatDecoder: Send {
    /// Appends the next block of mono samples; false when there are no more.
    fn next_block(&mut self, out: &mut Vec<f32>) -> std::result::Result<bool, Cause>;
    /// Samples to come, where that can be told without decoding; nothing may be read afterwards.
    fn count(&mut self) -> std::result::Result<Option<u64>, Cause>;
}

/// Appends the next block of mono samples to its argument; false when there are no more.
pub type ForeignBlocks = Box<dyn FnMut(&mut Vec<f32>) -> std::result::Result<bool, Cause> + Send>;

/// A recording that is decoded elsewhere.
struct Foreign(ForeignBlocks);

impl FormatDecoder for Foreign {
    fn next_block(&mut self, out: &mut Vec<f32>) -> std::result::Result<bool, Cause> {
        (self.0)(out)
    }

    fn count(&mut self) -> std::result::Result<Option<u64>, Cause> {
        Ok(None)
    }
}

/// What a header says of the samples.
#[derive(Clone, Copy)]
struct Info {
    /// Samples per second.
    sample_rate: u32,
    /// Channels in the recording (the samples are always mono).
    channels: usize,
    /// Samples that lie in the file, where they all have the same length.
    n_samples: Option<u64>,
}

/// A recording being decoded, block by block.
///
/// Mono is the mean of the channels. Integer samples are scaled to [-1, 1); float samples are kept as
/// they are, beyond ±1 too, but a NaN or an infinity is an error: no feature can be computed from it.
/// What decodes of a truncated recording is kept; a recording of which nothing decodes is an error.
pub struct Decoder {
    name: PathBuf,
    blocks: Box<dyn FormatDecoder>,
    info: Info,
    n_samples: u64,
    ended: bool,
}

impl Decoder {
    /// Opens a regular file (a symbolic link to one counts).
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses; [`Error::Decode`] if it is not a regular file (a named pipe
    /// would block for ever) or holds no audio that this crate decodes.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let metadata = std::fs::metadata(path).map_err(io)?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() { "a folder" } else { "a pipe, socket or device" };
            return Err(decode_error(path, format!("is {what}, not a regular file")));
        }
        let source = Source::open(path).map_err(io)?;
        Self::from_source(source, path.to_path_buf())
    }

    /// The same for a recording in memory; `name` stands for the path in errors.
    ///
    /// # Errors
    /// As [`Decoder::open`].
    pub fn from_bytes(bytes: Vec<u8>, name: impl Into<PathBuf>) -> Result<Self> {
        Self::from_source(Source::from_bytes(bytes), name.into())
    }

    fn from_source(source: Source, name: PathBuf) -> Result<Self> {
        let opened = caught(|| open(source));
        let (blocks, info) = opened.map_err(|reason| decode_error(&name, reason))?;
        Self::new(blocks, info, name)
    }

    /// A recording that the caller decodes: `blocks` is asked for block after block of mono samples.
    ///
    /// # Errors
    /// [`Error::Decode`] for a rate or a number of channels that no recording has.
    pub fn foreign(
        name: impl Into<PathBuf>,
        sample_rate: u32,
        channels: usize,
        blocks: ForeignBlocks,
    ) -> Result<Self> {
        let info = Info { sample_rate, channels, n_samples: None };
        Self::new(Box::new(Foreign(blocks)), info, name.into())
    }

    fn new(blocks: Box<dyn FormatDecoder>, info: Info, name: PathBuf) -> Result<Self> {
        if info.sample_rate == 0 {
            return Err(decode_error(&name, "sample rate 0 Hz is invalid: must be >= 1".into()));
        }
        if !(1..=MAX_CHANNELS).contains(&info.channels) {
            let n = info.channels;
            let rule = format!("{n} channels is invalid: must be between 1 and {MAX_CHANNELS}");
            return Err(decode_error(&name, rule));
        }
        let decoder = Self { name, blocks, info, n_samples: 0, ended: false };
        decoder.check_length(info.n_samples.unwrap_or(0))?;
        Ok(decoder)
    }

    fn check_length(&self, n_samples: u64) -> Result<()> {
        if n_samples > MAX_SECONDS * u64::from(self.info.sample_rate) {
            let hours = MAX_SECONDS / 3600;
            return Err(self.unusable(format!("is longer than {hours} hours: cut it")));
        }
        Ok(())
    }

    fn unusable(&self, reason: String) -> Error {
        Error::Unusable { path: self.name.clone(), reason }
    }

    /// Samples per second, >= 1.
    pub fn sample_rate(&self) -> u32 {
        self.info.sample_rate
    }

    /// Channels in the recording; the samples that [`Decoder::read`] gives are their mean.
    pub fn channels(&self) -> usize {
        self.info.channels
    }

    /// Samples of the recording: by its headers, or by decoding it where they do not tell.
    ///
    /// # Errors
    /// As [`Decoder::read`].
    pub fn count(mut self) -> Result<u64> {
        let told = caught(|| match self.blocks.count()? {
            Some(0) => Err("holds no samples".into()),
            told => Ok(told),
        });
        if let Some(n) = told.map_err(|reason| decode_error(&self.name, reason))? {
            return Ok(n);
        }
        let mut block = Vec::new();
        while self.read(&mut block)? {
            block.clear();
        }
        Ok(self.n_samples)
    }

    /// Appends the next block of mono samples to `out` (it may be empty); false, and nothing appended,
    /// when there are no more.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a NaN or infinite sample, and for a recording that is too long;
    /// [`Error::Decode`] for a recording of 0 samples, and for whatever the format's decoder cannot
    /// go on from. After an error there are no more samples.
    pub fn read(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let start = out.len();
        let more = self.next_block(out);
        self.ended = !matches!(more, Ok(true));
        if more.is_err() {
            out.truncate(start);
        }
        more.map(|more| more || out.len() > start)
    }

    fn next_block(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        let start = out.len();
        let more = caught(|| self.blocks.next_block(out));
        let more = more.map_err(|reason| decode_error(&self.name, reason))?;
        let block = &out[start..];
        if let Some(bad) = first_unusable(block) {
            let (at, value) = (self.n_samples + bad as u64, block[bad]);
            let rule = if value.is_finite() { "within ±1e12" } else { "finite" };
            return Err(self.unusable(format!("sample {at} is {value:e}: must be {rule}")));
        }
        self.n_samples += block.len() as u64;
        self.check_length(self.n_samples)?;
        if !more && self.n_samples == 0 {
            return Err(decode_error(&self.name, "holds no samples".into()));
        }
        Ok(more)
    }
}

/// Index of the first sample that is no number, or beyond [`MAX_SAMPLE`].
fn first_unusable(samples: &[f32]) -> Option<usize> {
    let good = |x: &f32| x.abs() <= MAX_SAMPLE;
    // Without an early exit inside a chunk the compiler can use vectors.
    let chunk = samples.chunks(1024).position(|c| !c.iter().fold(true, |all, x| all & good(x)))?;
    let start = chunk * 1024;
    samples[start..].iter().position(|x| !good(x)).map(|i| start + i)
}

/// Finds the format and its decoder.
fn open(mut source: Source) -> std::result::Result<(Box<dyn FormatDecoder>, Info), Cause> {
    let head = source.head(HEAD_LEN).map_err(|e| e.to_string())?;
    if head.is_empty() {
        return Err("is empty (0 bytes)".into());
    }
    // A tag may stand before any format; nothing in it is needed.
    let tag_len = nanomp3::id3v2_len(&head) as u64;
    let head = if tag_len > 0 {
        source.skip(tag_len);
        source.head(HEAD_LEN).map_err(|e| e.to_string())?
    } else {
        head
    };
    let format = Format::of(&head).ok_or(
        "no audio format that is known here: neither WAV, FLAC, MP3, Ogg Vorbis, AIFF, \
         M4A/AAC, CAF nor Matroska",
    )?;
    let layout = match format {
        Format::Mpeg => return mpeg::open(source),
        Format::Wav => Some(chunks::wav(&mut source)?),
        Format::Aiff => Some(chunks::aiff(&mut source)?),
        Format::Container(ContainerFormat::Caf) => chunks::caf(&mut source)?,
        Format::Container(_) => None,
    };
    match (layout, format) {
        (Some(layout), _) => pcm::open(source, layout),
        (None, Format::Container(kind)) => {
            source.rewind().map_err(|e| e.to_string())?;
            container::open(source, kind)
        }
        (None, _) => unreachable!("only a container may be compressed"),
    }
}

fn decode_error(name: &Path, reason: Cause) -> Error {
    Error::Decode { path: name.to_path_buf(), reason }
}

#[derive(Clone, Copy)]
enum Format {
    Mpeg,
    Wav,
    Aiff,
    Container(ContainerFormat),
}

impl Format {
    /// The format that starts with these bytes.
    fn of(head: &[u8]) -> Option<Self> {
        let kind = match head {
            [b'R', b'I', b'F', b'F' | b'X', ..]
            | [b'R', b'F', b'6', b'4', ..]
            | [b'r', b'i', b'f', b'f', 0x2e, 0x91, 0xcf, 0x11, ..] => return Some(Self::Wav),
            [b'F', b'O', b'R', b'M', ..] => return Some(Self::Aiff),
            [b'f', b'L', b'a', b'C', ..] => ContainerFormat::Flac,
            [b'O', b'g', b'g', b'S', ..] => ContainerFormat::Ogg,
            [b'c', b'a', b'f', b'f', ..] => ContainerFormat::Caf,
            [0x1a, 0x45, 0xdf, 0xa3, ..] => ContainerFormat::Matroska,
            [_, _, _, _, kind @ ..]
                if [&b"ftyp"[..], b"moov", b"mdat", b"wide", b"free", b"skip"]
                    .iter()
                    .any(|atom| kind.starts_with(atom)) =>
            {
                ContainerFormat::Mp4
            }
            // The sync word of AAC has the layer bits 00, which no MPEG audio layer has.
            [0xff, second, ..] if second & 0xf6 == 0xf0 => ContainerFormat::Adts,
            _ if nanomp3::frames(head).next().is_some() => return Some(Self::Mpeg),
            _ => return None,
        };
        Some(Self::Container(kind))
    }
}

thread_local! {
    /// Whether this thread is inside [`caught`], where a panic is an error of one recording.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs third-party decoding; a panic becomes a reason, and prints nothing.
fn caught<T>(run: impl FnOnce() -> std::result::Result<T, Cause>) -> std::result::Result<T, Cause> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                outer(info);
            }
        }));
    });
    let outer = CATCHING.replace(true);
    // Unwind-safe: after a panic the decoder is never read again.
    let result = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(outer);
    result.unwrap_or_else(|_| Err("is malformed: the decoder panicked".into()))
}

#[cfg(test)]
mod tests;
