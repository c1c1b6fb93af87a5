//! Compressed formats other than MPEG audio, by symphonia.

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::formats::{
    AdtsReader, CafReader, FlacReader, IsoMp4Reader, MkvReader, OggReader,
};

use super::source::Source;
use super::{Cause, FormatDecoder, Info};

/// The format whose reader is to be used; symphonia's own search would read up to 1 MiB of anything.
#[derive(Clone, Copy)]
pub(super) enum ContainerFormat {
    Flac,
    Ogg,
    Caf,
    Mp4,
    Matroska,
    Adts,
}

struct Container {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    sample_rate: u32,
    n_samples: Option<u64>,
    interleaved: Vec<f32>,
}

pub(super) fn open(
    source: Source,
    kind: ContainerFormat,
) -> Result<(Box<dyn FormatDecoder>, Info), Cause> {
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let format = reader_of(stream, kind).map_err(|e| e.to_string())?;
    let (decoder, track, info) = decoder_for(&*format)?;
    // The other formats count encoder delay differently from what their decoders give.
    let n_samples = match kind {
        ContainerFormat::Flac => {
            format.tracks().iter().find(|t| t.id == track).and_then(|t| t.num_frames)
        }
        _ => None,
    };
    let (sample_rate, interleaved) = (info.sample_rate, Vec::new());
    let blocks = Container { format, decoder, track, sample_rate, n_samples, interleaved };
    Ok((Box::new(blocks), info))
}

fn reader_of(
    stream: MediaSourceStream<'static>,
    kind: ContainerFormat,
) -> Result<Box<dyn FormatReader>, Error> {
    let options = FormatOptions::default();
    Ok(match kind {
        ContainerFormat::Flac => Box::new(FlacReader::try_new(stream, options)?),
        ContainerFormat::Ogg => Box::new(OggReader::try_new(stream, options)?),
        ContainerFormat::Caf => Box::new(CafReader::try_new(stream, options)?),
        ContainerFormat::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
        ContainerFormat::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        ContainerFormat::Adts => Box::new(AdtsReader::try_new(stream, options)?),
    })
}

/// A decoder for the first track of sound, that track's id, and what it says of itself.
fn decoder_for(format: &dyn FormatReader) -> Result<(Box<dyn AudioDecoder>, u32, Info), Cause> {
    let track = format.default_track(TrackType::Audio).ok_or("holds no track of sound")?;
    let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
        return Err("the codec of its sound is unknown".into());
    };
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|e| match e.to_string() {
            text if text.contains("aac too complex") => {
                format!("its sound is HE-AAC, not AAC-LC ({text})")
            }
            text => text,
        })?;
    let sample_rate = parameters.sample_rate.ok_or("does not say its sample rate")?;
    let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    if parameters.codec == CODEC_ID_VORBIS && channels > 2 {
        // symphonia 0.6.1 decodes these otherwise than libvorbis, audibly so.
        return Err(format!("Vorbis of {channels} channels is not supported"));
    }
    Ok((decoder, track.id, Info { sample_rate, channels, n_samples: None }))
}

impl FormatDecoder for Container {
    fn next_block(&mut self, out: &mut Vec<f32>) -> Result<bool, Cause> {
        let packet = match self.format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(false),
            // The recording is cut off: what decoded is kept.
            Err(Error::IoError(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok(false);
            }
            // Another stream follows in the same file (chained Ogg).
            Err(Error::ResetRequired) => {
                let (decoder, track, info) = decoder_for(&*self.format)?;
                if info.sample_rate != self.sample_rate {
                    return Err(format!(
                        "the sample rate changes from {} to {} Hz in mid-stream",
                        self.sample_rate, info.sample_rate
                    ));
                }
                (self.decoder, self.track) = (decoder, track);
                return Ok(true);
            }
            Err(error) => return Err(error.to_string()),
        };
        if packet.track_id != self.track {
            return Ok(true);
        }
        let buffer = match self.decoder.decode(&packet) {
            Ok(buffer) => buffer,
            // One packet is damaged: the next begins anew.
            Err(Error::DecodeError(_)) => return Ok(true),
            Err(error) => return Err(error.to_string()),
        };
        let channels = buffer.num_planes();
        self.interleaved.resize(buffer.samples_interleaved(), 0.0);
        buffer.copy_to_slice_interleaved(&mut self.interleaved);
        match channels {
            0 => {}
            1 => out.extend_from_slice(&self.interleaved),
            2 => {
                let (pairs, _) = self.interleaved.as_chunks::<2>();
                out.extend(pairs.iter().map(|[l, r]| (l + r) * 0.5));
            }
            n => {
                let frames = self.interleaved.chunks_exact(n);
                out.extend(frames.map(|frame| frame.iter().sum::<f32>() / n as f32));
            }
        }
        Ok(true)
    }

    fn count(&mut self) -> Result<Option<u64>, Cause> {
        Ok(self.n_samples)
    }
}
