//! Uncompressed samples: WAV (RIFF, RIFX, RF64), AIFF, AIFC and CAF.
//!
//! The header only says where the samples lie and what they are. How many there are is bounded by the
//! file itself, so that a header that claims too much costs nothing.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::chunks::{Layout, Sample};
use super::source::Source;
use super::{Cause, FormatDecoder, Info};

/// Bytes a block, before rounding down to whole frames.
const BLOCK_LEN: u64 = 64 * 1024;

struct PcmDecoder {
    source: Source,
    layout: Layout,
    /// Bytes still to be read.
    left: u64,
    bytes: Vec<u8>,
}

pub(super) fn open(
    mut source: Source,
    layout: Layout,
) -> Result<(Box<dyn FormatDecoder>, Info), Cause> {
    source.seek(SeekFrom::Start(layout.start)).map_err(|e| e.to_string())?;
    // Claims are cut down to what is there.
    let there = source.byte_len().map_or(u64::MAX, |len| len.saturating_sub(layout.start));
    let pcm = PcmDecoder { source, left: layout.len.min(there), layout, bytes: Vec::new() };
    let Layout { sample_rate, channels, .. } = pcm.layout;
    let info = Info { sample_rate, channels, n_samples: pcm.n_samples() };
    Ok((Box::new(pcm), info))
}

impl PcmDecoder {
    /// Samples still to be read; none can be told of a header without channels.
    fn n_samples(&self) -> Option<u64> {
        self.left.checked_div((self.layout.channels * self.layout.sample.len()) as u64)
    }
}

impl FormatDecoder for PcmDecoder {
    fn next_block(&mut self, out: &mut Vec<f32>) -> Result<bool, Cause> {
        let frame_len = (self.layout.channels * self.layout.sample.len()) as u64;
        let wanted = self.left.min(BLOCK_LEN / frame_len * frame_len);
        self.bytes.clear();
        let got = self.source.by_ref().take(wanted).read_to_end(&mut self.bytes);
        let got = got.map_err(|e| e.to_string())? as u64;
        self.left -= got;
        let whole = (got / frame_len * frame_len) as usize;
        append(&self.bytes[..whole], &self.layout, out);
        Ok(got == wanted && self.left > 0)
    }

    fn count(&mut self) -> Result<Option<u64>, Cause> {
        Ok(self.n_samples())
    }
}

/// Appends the mean of each frame's channels.
fn append(bytes: &[u8], layout: &Layout, out: &mut Vec<f32>) {
    const I16: f32 = 1.0 / 32768.0;
    const I32: f32 = 1.0 / 2_147_483_648.0;
    let n = layout.channels;
    match (layout.sample, layout.big_endian) {
        (Sample::U8, _) => mono(bytes, n, out, |[b]| (f32::from(b) - 128.0) / 128.0),
        (Sample::I8, _) => mono(bytes, n, out, |[b]| f32::from(b as i8) / 128.0),
        (Sample::I16, false) => mono(bytes, n, out, |b| f32::from(i16::from_le_bytes(b)) * I16),
        (Sample::I16, true) => mono(bytes, n, out, |b| f32::from(i16::from_be_bytes(b)) * I16),
        (Sample::I24, false) => {
            mono(bytes, n, out, |[a, b, c]| i32::from_le_bytes([0, a, b, c]) as f32 * I32);
        }
        (Sample::I24, true) => {
            mono(bytes, n, out, |[a, b, c]| i32::from_be_bytes([a, b, c, 0]) as f32 * I32);
        }
        (Sample::I32, false) => mono(bytes, n, out, |b| i32::from_le_bytes(b) as f32 * I32),
        (Sample::I32, true) => mono(bytes, n, out, |b| i32::from_be_bytes(b) as f32 * I32),
        (Sample::F32, false) => mono(bytes, n, out, f32::from_le_bytes),
        (Sample::F32, true) => mono(bytes, n, out, f32::from_be_bytes),
        (Sample::F64, false) => mono(bytes, n, out, |b| f64::from_le_bytes(b) as f32),
        (Sample::F64, true) => mono(bytes, n, out, |b| f64::from_be_bytes(b) as f32),
        (Sample::MuLaw, _) => mono(bytes, n, out, |[b]| f32::from(mu_law(b)) * I16),
        (Sample::ALaw, _) => mono(bytes, n, out, |[b]| f32::from(a_law(b)) * I16),
    }
}

fn mono<const LEN: usize>(
    bytes: &[u8],
    channels: usize,
    out: &mut Vec<f32>,
    value: impl Fn([u8; LEN]) -> f32,
) {
    let (samples, _) = bytes.as_chunks::<LEN>();
    match channels {
        1 => out.extend(samples.iter().map(|&s| value(s))),
        2 => {
            let (pairs, _) = samples.as_chunks::<2>();
            out.extend(pairs.iter().map(|&[l, r]| (value(l) + value(r)) * 0.5));
        }
        n => {
            let frames = samples.chunks_exact(n);
            out.extend(frames.map(|f| f.iter().map(|&s| value(s)).sum::<f32>() / n as f32));
        }
    }
}

/// ITU-T G.711 μ-law → 16 bits.
fn mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i16::from(byte & 0x0f) << 3) + 0x84) << ((byte & 0x70) >> 4);
    if byte & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

/// ITU-T G.711 A-law → 16 bits.
fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let mantissa = i16::from(byte & 0x0f) << 4;
    let magnitude = match (byte & 0x70) >> 4 {
        0 => mantissa + 8,
        segment => (mantissa + 0x108) << (segment - 1),
    };
    if byte & 0x80 != 0 { magnitude } else { -magnitude }
}
