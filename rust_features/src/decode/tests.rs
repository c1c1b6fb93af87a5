use proptest::prelude::*;

use super::*;

fn wav(channels: u16, rate: u32, samples: &[i16]) -> Vec<u8> {
    let data = (samples.len() * 2) as u32;
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate.wrapping_mul(u32::from(channels) * 2)).to_le_bytes());
    bytes.extend((channels * 2).to_le_bytes());
    bytes.extend(16u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(data.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    bytes
}

fn decode(bytes: Vec<u8>) -> Result<(Vec<f32>, u32)> {
    let mut decoder = Decoder::from_bytes(bytes, "test")?;
    let mut out = Vec::new();
    while decoder.read(&mut out)? {}
    Ok((out, decoder.sample_rate()))
}

#[test]
fn mono_is_the_mean_of_the_channels() {
    let (samples, rate) = decode(wav(2, 8000, &[16384, 0, -16384, -16384])).unwrap();
    assert_eq!((samples, rate), (vec![0.25, -0.5], 8000));
}

#[test]
fn errors_name_the_recording_and_the_reason() {
    let message = |bytes| decode(bytes).unwrap_err().to_string();
    assert_eq!(message(vec![]), "test: is empty (0 bytes)");
    assert_eq!(message(wav(1, 8000, &[])), "test: holds no samples");
    assert!(message(b"some text, not sound".to_vec()).contains("no audio format"));
}

#[test]
fn a_panic_is_an_error_of_one_recording() {
    let result: std::result::Result<(), Cause> = caught(|| panic!("inside a decoder"));
    assert!(result.unwrap_err().contains("panicked"));
}

proptest! {
    /// Arbitrary bytes behind every magic number: an error or samples, never a panic or an endless loop.
    #[test]
    fn arbitrary_bytes_do_no_harm(
        magic in prop::sample::select(vec![
            &b""[..], b"RIFF\xff\xff\xff\xffWAVEfmt ", b"RF64\xff\xff\xff\xffWAVEds64",
            b"FORM\xff\xff\xff\xffAIFFCOMM", b"FORM\xff\xff\xff\xffAIFCFVER", b"fLaC", b"fLaC\0\0\0\x22",
            b"OggS\0\x02", b"caff\0\x01\0\0desc", b"\0\0\0\x20ftypM4A ", b"\xff\xf1\x50\x80",
            b"\xff\xfb\x90\xc4", b"\xff\xf3\x18\xc4", b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
            b"ID3\x03\0\0\0\0\0\x10", b"\x1a\x45\xdf\xa3",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..4096),
    ) {
        let _ = decode([magic, &rest].concat());
    }

    /// A sound recording with some bytes changed.
    #[test]
    fn damaged_wav_does_no_harm(
        changes in prop::collection::vec((0..44usize, any::<u8>()), 1..6),
        cut in 0..2044usize,
    ) {
        let mut bytes = wav(1, 8000, &[100; 1000]);
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(cut);
        let _ = decode(bytes);
    }
}
