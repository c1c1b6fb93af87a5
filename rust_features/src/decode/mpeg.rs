//! MPEG audio, layers I to III: layer III is decoded by mp3.rs, the others by nanomp3; here are the
//! stream around the frames, tags, and the encoder delay, which libsndfile (mpg123) trims in the same
//! way.

use std::io::{Read, Seek, SeekFrom};

use nanomp3::{DecodeError, MAX_SAMPLES_PER_FRAME, VbrTag};
use symphonia::core::io::MediaSource;

use super::mp3::{self, Header, Skipped};
use super::source::Source;
use super::{Cause, FormatDecoder, Info};
use crate::simd::Isa;

/// Bytes held at once: many of the longest frames (2,881 bytes), and few reads.
const WINDOW_LEN: usize = 128 * 1024;

/// Below this many bytes the window is refilled. A frame counts only when consistent frames follow, so
/// several must be in sight.
const LOW_LEN: usize = 32 * 1024;

/// The longest frame, and the head of a tag after it.
const FRAME_AND_TAG_LEN: usize = 2881 + 10;

/// Frames a block: about 0.8 s.
const BLOCK_FRAMES: usize = 32;

/// What the decoder's filter bank delays the signal by, in samples (LAME counts it in neither field).
const DECODER_DELAY: u64 = 529;

struct MpegAudio {
    window: Window,
    codec: Codec,
    sample_rate: u32,
    /// Samples still to leave out at the start.
    skip: u64,
    /// Samples still to come, where the stream says so.
    remaining: u64,
}

/// What decodes the frames.
enum Codec {
    /// Layer III.
    Three(Box<Three>),
    /// Layers I and II.
    Other(Box<Other>),
}

pub(super) fn open(source: Source) -> Result<(Box<dyn FormatDecoder>, Info), Cause> {
    let (audio, info) = MpegAudio::new(source)?;
    Ok((Box::new(audio), info))
}

impl MpegAudio {
    fn new(source: Source) -> Result<(Self, Info), Cause> {
        let mut window = Window::new(source)?;
        let (first, layer, tag, audio_at) = loop {
            if let Some(frame) = nanomp3::frames(window.bytes()).next() {
                let tag = VbrTag::parse(frame.data);
                let after = frame.offset + if tag.is_some() { frame.data.len() } else { 0 };
                let first = (frame.sample_rate, frame.channels.num(), frame.samples);
                break (first, frame.layer, tag, after);
            }
            if !window.skip_junk()? {
                return Err("is no MPEG audio: no frame found".into());
            }
        };
        window.consume(audio_at);
        let (sample_rate, channels, frame_len) = first;
        let mut skip = 0;
        let mut remaining = u64::MAX;
        if let Some(VbrTag { frames: Some(frames), encoder_delay_padding }) = tag {
            let coded = u64::from(frames) * frame_len as u64;
            if coded > 0 {
                remaining = coded;
            }
            if let Some((delay, padding)) = encoder_delay_padding {
                skip = u64::from(delay) + DECODER_DELAY;
                let padding = u64::from(padding).saturating_sub(DECODER_DELAY);
                remaining = remaining.saturating_sub(skip).saturating_sub(padding);
            }
        }
        let codec =
            if layer == 3 { Codec::Three(Box::default()) } else { Codec::Other(Box::default()) };
        let audio = Self { window, codec, sample_rate, skip, remaining };
        Ok((audio, Info { sample_rate, channels: channels.into(), n_samples: None }))
    }

    /// Decodes one frame, whose samples may come later; adds their number to `n_samples`. False at the
    /// end of the stream.
    fn next_frame(&mut self, n_samples: &mut u64, out: &mut Vec<f32>) -> Result<bool, Cause> {
        self.window.refill()?;
        let mut bytes = self.window.bytes();
        if bytes.is_empty() {
            return Ok(false);
        }
        if !self.codec.is_in_step(bytes) {
            match tag_between(bytes) {
                Some(0) => return self.window.skip_tag().map(|()| true),
                // A frame counts if consistent ones follow, or nothing: so nothing does.
                Some(at) => bytes = &bytes[..at],
                None => {}
            }
        }
        let (consumed, frame) = self.codec.decode(bytes, out);
        match frame {
            Frame::Decoded { sample_rate, samples } => {
                self.window.consume(consumed);
                if sample_rate != self.sample_rate {
                    return Err(format!(
                        "the sample rate changes from {} to {sample_rate} Hz in mid-stream",
                        self.sample_rate
                    ));
                }
                *n_samples += samples;
                Ok(*n_samples < self.skip.saturating_add(self.remaining))
            }
            Frame::None => self.window.skip_junk(),
            // The frame says so itself, or builds on frames that were cut off: go on with the next.
            Frame::Skipped => {
                self.window.consume(consumed);
                Ok(consumed > 0)
            }
        }
    }

    /// Takes what is not to be heard from a block's samples, which begin at `from`.
    fn trim(&mut self, from: usize, out: &mut Vec<f32>) {
        let n = (out.len() - from) as u64;
        let skip = self.skip.min(n);
        self.skip -= skip;
        let keep = self.remaining.min(n - skip);
        self.remaining -= keep;
        out.drain(from..from + skip as usize);
        out.truncate(from + keep as usize);
    }
}

impl FormatDecoder for MpegAudio {
    fn next_block(&mut self, out: &mut Vec<f32>) -> Result<bool, Cause> {
        let (from, mut n_samples, mut more) = (out.len(), 0, true);
        for _ in 0..BLOCK_FRAMES {
            more = self.next_frame(&mut n_samples, out)?;
            if !more {
                break;
            }
        }
        self.codec.flush(out);
        self.trim(from, out);
        Ok(more)
    }

    fn count(&mut self) -> Result<Option<u64>, Cause> {
        if self.remaining < u64::MAX {
            return Ok(Some(self.remaining));
        }
        // Without a tag the frames' headers tell, one by one.
        let mut n_samples = 0;
        loop {
            self.window.refill()?;
            let (bytes, ended) = (self.window.bytes(), self.window.ended);
            let mut used = 0;
            for frame in nanomp3::frames(bytes) {
                if !ended && bytes.len() - frame.offset < LOW_LEN {
                    break; // To be seen again with what follows it.
                }
                n_samples += frame.samples as u64;
                used = frame.offset + frame.data.len();
            }
            self.window.consume(used);
            if ended || (used == 0 && !self.window.skip_junk()?) {
                return Ok(Some(n_samples));
            }
        }
    }
}

/// What became of a frame.
enum Frame {
    Decoded {
        sample_rate: u32,
        samples: u64,
    },
    /// It gives no samples.
    Skipped,
    /// There is none.
    None,
}

impl Codec {
    /// Whether a frame begins here that goes on with the one before, and is followed by another.
    fn is_in_step(&self, bytes: &[u8]) -> bool {
        matches!(self, Self::Three(three) if three.next_len(bytes).is_some())
    }

    /// Decodes the next frame; returns how many bytes it ends behind, and what became of it.
    fn decode(&mut self, bytes: &[u8], out: &mut Vec<f32>) -> (usize, Frame) {
        match self {
            Self::Three(three) => three.decode(bytes, out),
            Self::Other(other) => other.decode(bytes, out),
        }
    }

    /// Appends the samples that are yet to be made.
    fn flush(&mut self, out: &mut Vec<f32>) {
        if let Self::Three(three) = self {
            three.decoder.flush(out);
        }
    }
}

/// Frames of layer III.
struct Three {
    decoder: mp3::Mp3Decoder,
    /// The header of the frame before, if the next one has to go on with it.
    last: Option<Header>,
    /// Length of a frame of free format, without padding.
    free_len: usize,
    /// For frames of another layer, which may follow where files were joined.
    other: Option<Box<Other>>,
}

impl Default for Three {
    fn default() -> Self {
        Self { decoder: mp3::Mp3Decoder::new(Isa::best()), last: None, free_len: 0, other: None }
    }
}

impl Three {
    /// Length of the frame that begins here and goes on with the one before.
    fn next_len(&self, bytes: &[u8]) -> Option<usize> {
        let last = self.last?;
        let header = Header::read(bytes).filter(|&header| last.is_followed_by(header))?;
        let len = header.frame_len(self.free_len);
        let followed = || {
            let next = Header::read(bytes.get(len..)?)?;
            header.is_followed_by(next).then_some(len)
        };
        if len == bytes.len() { Some(len) } else { followed() }
    }

    fn decode(&mut self, bytes: &[u8], out: &mut Vec<f32>) -> (usize, Frame) {
        let (at, len) = match self.next_len(bytes) {
            Some(len) => (0, len),
            None => {
                // Nothing from before is of use for what comes now.
                self.decoder.reset(out);
                self.last = None;
                let Some(frame) = nanomp3::frames(bytes).next() else { return (0, Frame::None) };
                if frame.layer != 3 {
                    return self.other.get_or_insert_default().decode(bytes, out);
                }
                (frame.offset, frame.data.len())
            }
        };
        let frame = &bytes[at..at + len];
        let Some(header) = Header::read(frame) else { return (at + len, Frame::Skipped) };
        self.free_len = len - header.padding();
        let decoded = self.decoder.decode(frame, header, out);
        self.last = (decoded != Err(Skipped::Corrupt)).then_some(header);
        let samples = (header.n_granules() * mp3::GRANULE_LEN) as u64;
        let frame = match decoded {
            Ok(()) => Frame::Decoded { sample_rate: header.sample_rate(), samples },
            Err(_) => Frame::Skipped,
        };
        (at + len, frame)
    }
}

/// Frames of layers I and II.
struct Other {
    decoder: nanomp3::Decoder,
    /// The frame decoded last.
    pcm: Box<[f32; MAX_SAMPLES_PER_FRAME]>,
}

impl Default for Other {
    fn default() -> Self {
        Self { decoder: nanomp3::Decoder::new(), pcm: Box::new([0.0; MAX_SAMPLES_PER_FRAME]) }
    }
}

impl Other {
    fn decode(&mut self, bytes: &[u8], out: &mut Vec<f32>) -> (usize, Frame) {
        let (consumed, result) = self.decoder.decode(bytes, &mut self.pcm[..]);
        let frame = match result {
            Ok(frame) => {
                let n = frame.samples_produced;
                match frame.channels {
                    nanomp3::Channels::Mono => out.extend_from_slice(&self.pcm[..n]),
                    nanomp3::Channels::Stereo => {
                        let (pairs, _) = self.pcm.as_chunks::<2>();
                        out.extend(pairs[..n].iter().map(|[l, r]| (l + r) * 0.5));
                    }
                }
                Frame::Decoded { sample_rate: frame.sample_rate, samples: n as u64 }
            }
            Err(DecodeError::NoFrame) => Frame::None,
            Err(_) => Frame::Skipped,
        };
        (consumed, frame)
    }
}

/// Where a tag begins that stands between two joined files: here, or after the next frame.
fn tag_between(bytes: &[u8]) -> Option<usize> {
    let whole = |frame: &nanomp3::Frame<'_>| frame.offset == 0;
    if nanomp3::frames(bytes).next().as_ref().is_some_and(whole) {
        return None; // As nearly always: consistent frames follow.
    }
    let near = &bytes[..bytes.len().min(FRAME_AND_TAG_LEN)];
    let at = near.windows(3).position(|three| three == b"ID3")?;
    let ends_there = || {
        let last = nanomp3::frames(&bytes[..at]).next();
        last.is_some_and(|frame| whole(&frame) && frame.data.len() == at)
    };
    (nanomp3::id3v2_len(&bytes[at..]) > 0 && (at == 0 || ends_there())).then_some(at)
}

/// A part of the stream that moves forward.
struct Window {
    source: Source,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Window {
    fn new(source: Source) -> Result<Self, Cause> {
        let mut window = Self { source, buffer: Vec::new(), at: 0, ended: false };
        window.refill()?;
        Ok(window)
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }

    /// Moves past the tag that begins here; past its name only, if it claims more than there is.
    fn skip_tag(&mut self) -> Result<(), Cause> {
        let tag_len = nanomp3::id3v2_len(self.bytes());
        let here = tag_len.min(self.bytes().len());
        let beyond = (tag_len - here) as u64;
        if beyond > 0 {
            let at = self.source.stream_position().map_err(|e| e.to_string())?;
            if beyond > self.source.byte_len().unwrap_or(0).saturating_sub(at) {
                self.consume(3);
                return Ok(());
            }
            self.source.seek(SeekFrom::Start(at + beyond)).map_err(|e| e.to_string())?;
        }
        self.consume(here);
        Ok(())
    }

    fn refill(&mut self) -> Result<(), Cause> {
        if self.ended || self.bytes().len() >= LOW_LEN {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let wanted = WINDOW_LEN - self.buffer.len();
        let got = self.source.by_ref().take(wanted as u64).read_to_end(&mut self.buffer);
        if got.map_err(|e| e.to_string())? < wanted {
            self.ended = true;
            // Text at the end (ID3v1, APEv2) must not be taken for audio.
            self.buffer.truncate(nanomp3::strip_trailing_tags(&self.buffer).len());
        }
        Ok(())
    }

    /// Moves past bytes in which no frame begins; false when the stream ends there.
    fn skip_junk(&mut self) -> Result<bool, Cause> {
        if self.ended {
            self.at = self.buffer.len();
            return Ok(false);
        }
        // The last bytes may be the beginning of a frame that ends beyond the window.
        let keep = self.bytes().len().min(LOW_LEN / 2);
        self.at = self.buffer.len() - keep;
        self.refill()?;
        Ok(true)
    }
}
