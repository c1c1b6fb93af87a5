//! The headers of WAV, W64, AIFF and CAF: chunks with a name and a length.
//!
//! Sources: Microsoft, Multimedia Programming Interface 1.0 and mmreg.h (RIFF, WAVE_FORMAT_EXTENSIBLE);
//! EBU Tech 3306 (RF64); Sony Pictures Digital, Wave64 1.0; Apple, AIFF-C draft 1991 and Core Audio Format Specification 1.0.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::Cause;
use super::source::Source;

/// More chunks than this are a broken file, not a recording.
const MAX_CHUNKS: usize = 10_000;

/// How one sample of one channel is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sample {
    U8,
    I8,
    I16,
    I24,
    I32,
    F32,
    F64,
    MuLaw,
    ALaw,
}

impl Sample {
    pub fn len(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::MuLaw | Self::ALaw => 1,
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// A signed integer of so many bytes; fewer significant bits stand at the top.
    fn integer(len: usize) -> Option<Self> {
        [Self::I8, Self::I16, Self::I24, Self::I32].get(len.checked_sub(1)?).copied()
    }

    fn float(bits: u32) -> Option<Self> {
        match bits {
            32 => Some(Self::F32),
            64 => Some(Self::F64),
            _ => None,
        }
    }
}

/// Where the samples lie and what they are.
pub(super) struct Layout {
    pub sample: Sample,
    pub big_endian: bool,
    pub channels: usize,
    pub sample_rate: u32,
    /// Position and length of the samples in bytes; the length as claimed.
    pub start: u64,
    pub len: u64,
}

/// What a chunk of the format said, before the samples are found.
#[derive(Clone, Copy)]
struct Shape {
    sample: Sample,
    big_endian: bool,
    channels: usize,
    sample_rate: u32,
    /// Frames claimed, where the format counts them.
    frames: u64,
}

impl Shape {
    fn at(self, start: u64, len: u64) -> Layout {
        let Self { sample, big_endian, channels, sample_rate, frames } = self;
        let frame_len = (sample.len() * channels) as u64;
        Layout {
            sample,
            big_endian,
            channels,
            sample_rate,
            start,
            len: len.min(frames.saturating_mul(frame_len)),
        }
    }
}

pub(super) fn wav(source: &mut Source) -> Result<Layout, Cause> {
    let head = source.head(40).map_err(|e| e.to_string())?;
    let w64 = head.starts_with(b"riff");
    let kind = if w64 { head.get(24..28) } else { head.get(8..12) };
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case(b"WAVE")) {
        return Err("is RIFF, but not WAVE".into());
    }
    let big_endian = head.starts_with(b"RIFX");
    let four = part(&head, 4);
    let four = if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) };
    // W64 counts its own name and length.
    let mut end = match w64 {
        true if head.len() >= 24 => u64::from_le_bytes(part(&head, 16)),
        _ => u64::from(four) + 8,
    };
    let mut chunks = if w64 {
        Chunks::new(source, 40, Lengths::Guid)
    } else {
        Chunks::new(source, 12, Lengths::Four { big_endian })
    };
    let (mut shape, mut data_len_64) = (None, None);
    while let Some(chunk) = chunks.next()? {
        match &chunk.name {
            b"ds64" => {
                let bytes = chunks.read::<16>(&chunk)?;
                end = u64::from_le_bytes(part(&bytes, 0)).saturating_add(8);
                data_len_64 = Some(u64::from_le_bytes(part(&bytes, 8)));
            }
            b"fmt " => shape = Some(wav_shape(&mut chunks, &chunk, big_endian)?),
            b"data" => {
                let shape = shape.ok_or("has no `fmt ` chunk before its samples")?;
                let len = match data_len_64 {
                    Some(len) if chunk.len == u64::from(u32::MAX) => len,
                    _ => chunk.len,
                };
                return Ok(shape.at(chunk.start, written(end, chunk.start, len)));
            }
            _ => {}
        }
    }
    Err("has no `data` chunk".into())
}

/// The length of samples that begin at `start` of a file that claims to end at `end`. A recorder
/// writes lengths last: where it was killed, they are those of an empty file, and the samples go on
/// to its end (FFmpeg reads them so).
fn written(end: u64, start: u64, len: u64) -> u64 {
    if len == 0 && end <= start { u64::MAX } else { len }
}

fn wav_shape(chunks: &mut Chunks<'_>, chunk: &Chunk, big_endian: bool) -> Result<Shape, Cause> {
    if chunk.len < 16 {
        return Err(format!("`fmt ` chunk of {} bytes is invalid: must be >= 16", chunk.len));
    }
    let bytes = chunks.read_up_to::<40>(chunk)?;
    let two = |at| {
        let bytes = part(&bytes, at);
        if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    };
    let rate: [u8; 4] = part(&bytes, 4);
    let (channels, bits) = (usize::from(two(2)), usize::from(two(14)));
    // Samples of 24 bits may take 32: the length of a frame tells.
    let stored = usize::from(two(12)) / channels.max(1);
    let len = stored.max(bits.div_ceil(8));
    let tag = if two(0) == 0xfffe { two(24) } else { two(0) };
    let sample = match tag {
        1 if bits == 0 => None,
        1 if len == 1 => Some(Sample::U8),
        1 => Sample::integer(len),
        3 => Sample::float(8 * len as u32),
        6 => Some(Sample::ALaw),
        7 => Some(Sample::MuLaw),
        _ => return Err(format!("WAV codec {tag:#06x} is not supported")),
    };
    Ok(Shape {
        sample: sample.ok_or_else(|| format!("WAV samples of {bits} bits are not supported"))?,
        big_endian,
        channels,
        sample_rate: if big_endian { u32::from_be_bytes(rate) } else { u32::from_le_bytes(rate) },
        frames: u64::MAX,
    })
}

pub(super) fn aiff(source: &mut Source) -> Result<Layout, Cause> {
    let head = source.head(12).map_err(|e| e.to_string())?;
    let compressed = match head.get(8..12) {
        Some(b"AIFF") => false,
        Some(b"AIFC") => true,
        _ => return Err("is an IFF file, but neither AIFF nor AIFC".into()),
    };
    let end = u64::from(u32::from_be_bytes(part(&head, 4))) + 8;
    let mut chunks = Chunks::new(source, 12, Lengths::Four { big_endian: true });
    let (mut shape, mut sound) = (None, None);
    while let Some(chunk) = chunks.next()? {
        match &chunk.name {
            b"COMM" => shape = Some(aiff_shape(&mut chunks, &chunk, compressed)?),
            b"SSND" => {
                if written(end, chunk.start + 8, chunk.len.saturating_sub(8)) == u64::MAX {
                    let shape = shape.ok_or("has no `COMM` chunk before its samples")?;
                    let frames = if shape.frames == 0 { u64::MAX } else { shape.frames };
                    return Ok(Shape { frames, ..shape }.at(chunk.start + 8, u64::MAX));
                }
                let offset = u64::from(u32::from_be_bytes(chunks.read::<4>(&chunk)?));
                sound = Some((chunk.start + 8 + offset, chunk.len.saturating_sub(8 + offset)));
            }
            _ => {}
        }
        if let (Some(shape), Some((start, len))) = (shape, sound) {
            return Ok(shape.at(start, len));
        }
    }
    Err(if shape.is_none() { "has no `COMM` chunk" } else { "has no `SSND` chunk" }.into())
}

fn aiff_shape(chunks: &mut Chunks<'_>, chunk: &Chunk, compressed: bool) -> Result<Shape, Cause> {
    let bytes = chunks.read_up_to::<22>(chunk)?;
    let bits = u16::from_be_bytes(part(&bytes, 6));
    let integer = Sample::integer(usize::from(bits).div_ceil(8));
    let codec: [u8; 4] = if compressed { part(&bytes, 18) } else { *b"NONE" };
    let (sample, big_endian) = match &codec {
        b"NONE" | b"twos" | b"in24" | b"in32" => (integer, true),
        b"sowt" => (integer, false),
        b"raw " => (Some(Sample::U8), true),
        b"fl32" | b"FL32" => (Some(Sample::F32), true),
        b"fl64" | b"FL64" => (Some(Sample::F64), true),
        b"ulaw" | b"ULAW" => (Some(Sample::MuLaw), true),
        b"alaw" | b"ALAW" => (Some(Sample::ALaw), true),
        _ => return Err(format!("AIFC codec `{}` is not supported", codec.escape_ascii())),
    };
    // An 80-bit float: sign and exponent (biased by 16383), then the mantissa with its leading 1.
    let exponent = i32::from(u16::from_be_bytes(part(&bytes, 8)) & 0x7fff) - 16383 - 63;
    let rate = u64::from_be_bytes(part(&bytes, 10)) as f64 * 2f64.powi(exponent);
    Ok(Shape {
        sample: sample.ok_or_else(|| format!("AIFF samples of {bits} bits are not supported"))?,
        big_endian,
        channels: usize::from(u16::from_be_bytes(part(&bytes, 0))),
        sample_rate: whole_rate(rate)?,
        frames: u64::from(u32::from_be_bytes(part(&bytes, 2))),
    })
}

/// The samples of a CAF file, or `None` if they are compressed.
pub(super) fn caf(source: &mut Source) -> Result<Option<Layout>, Cause> {
    let mut chunks = Chunks::new(source, 8, Lengths::Eight);
    let mut shape = None;
    while let Some(chunk) = chunks.next()? {
        match &chunk.name {
            b"desc" => {
                let bytes = chunks.read::<32>(&chunk)?;
                let word = |at| u32::from_be_bytes(part(&bytes, at));
                let (flags, bits) = (word(12), word(28));
                let sample = match &part(&bytes, 8) {
                    b"lpcm" if flags & 1 != 0 => Sample::float(bits),
                    b"lpcm" => Sample::integer(bits.div_ceil(8) as usize),
                    b"ulaw" => Some(Sample::MuLaw),
                    b"alaw" => Some(Sample::ALaw),
                    _ => return Ok(None),
                };
                shape = Some(Shape {
                    sample: sample
                        .ok_or_else(|| format!("CAF samples of {bits} bits are not supported"))?,
                    big_endian: flags & 2 == 0,
                    channels: word(24) as usize,
                    sample_rate: whole_rate(f64::from_be_bytes(part(&bytes, 0)))?,
                    frames: u64::MAX,
                });
            }
            b"data" => {
                let shape = shape.ok_or("has no `desc` chunk before its samples")?;
                // A count of edits comes first. A length of -1 means: to the end.
                let len = written(0, chunk.start, chunk.len.saturating_sub(4));
                return Ok(Some(shape.at(chunk.start + 4, len)));
            }
            _ => {}
        }
    }
    Err("has no `data` chunk".into())
}

fn whole_rate(hz: f64) -> Result<u32, Cause> {
    let whole = hz.round();
    if (1.0..=f64::from(u32::MAX)).contains(&whole) {
        Ok(whole as u32)
    } else {
        Err(format!("sample rate {hz} Hz is invalid: must be between 1 and {}", u32::MAX))
    }
}

fn part<const LEN: usize>(bytes: &[u8], at: usize) -> [u8; LEN] {
    bytes[at..at + LEN].try_into().expect("a slice of LEN bytes")
}

enum Lengths {
    /// Four bytes; chunks of odd length are followed by a byte of padding.
    Four { big_endian: bool },
    /// Eight bytes, big-endian, no padding.
    Eight,
    /// Eight bytes, little-endian, that count name and length as well; a name of 16 bytes, of which
    /// the first four are WAV's; chunks begin at multiples of 8.
    Guid,
}

struct Chunk {
    name: [u8; 4],
    start: u64,
    len: u64,
}

struct Chunks<'s> {
    source: &'s mut Source,
    at: u64,
    lengths: Lengths,
    n: usize,
}

impl<'s> Chunks<'s> {
    fn new(source: &'s mut Source, at: u64, lengths: Lengths) -> Self {
        Self { source, at, lengths, n: 0 }
    }

    fn next(&mut self) -> Result<Option<Chunk>, Cause> {
        let head_len = match self.lengths {
            Lengths::Four { .. } => 8,
            Lengths::Eight => 12,
            Lengths::Guid => 24,
        };
        let total = self.source.byte_len().unwrap_or(u64::MAX);
        if self.at.saturating_add(head_len) > total {
            return Ok(None);
        }
        self.n += 1;
        if self.n > MAX_CHUNKS {
            return Err(format!("has more than {MAX_CHUNKS} chunks before its samples"));
        }
        self.source.seek(SeekFrom::Start(self.at)).map_err(|e| e.to_string())?;
        let mut bytes = [0; 24];
        match self.source.read_exact(&mut bytes[..head_len as usize]) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            result => result.map_err(|e| e.to_string())?,
        }
        let four: [u8; 4] = part(&bytes, 4);
        let (len, align) = match self.lengths {
            Lengths::Four { big_endian: true } => (u64::from(u32::from_be_bytes(four)), 2),
            Lengths::Four { big_endian: false } => (u64::from(u32::from_le_bytes(four)), 2),
            Lengths::Eight => (u64::from_be_bytes(part(&bytes, 4)), 1),
            Lengths::Guid => (u64::from_le_bytes(part(&bytes, 16)).saturating_sub(head_len), 8),
        };
        let start = self.at + head_len;
        self.at = start.saturating_add(len).saturating_add(len.wrapping_neg() % align);
        Ok(Some(Chunk { name: part(&bytes, 0), start, len }))
    }

    /// The first `LEN` bytes of a chunk.
    fn read<const LEN: usize>(&mut self, chunk: &Chunk) -> Result<[u8; LEN], Cause> {
        if chunk.len < LEN as u64 {
            let name = chunk.name.escape_ascii();
            return Err(format!("`{name}` chunk of {} bytes: must be >= {LEN}", chunk.len));
        }
        self.read_up_to(chunk)
    }

    /// The same, with zeros for what a shorter chunk does not have.
    fn read_up_to<const LEN: usize>(&mut self, chunk: &Chunk) -> Result<[u8; LEN], Cause> {
        let mut bytes = [0; LEN];
        let len = chunk.len.min(LEN as u64) as usize;
        self.source.seek(SeekFrom::Start(chunk.start)).map_err(|e| e.to_string())?;
        self.source.read_exact(&mut bytes[..len]).map_err(|_| "ends within its header")?;
        Ok(bytes)
    }
}
