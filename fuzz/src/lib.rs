//! What strangers send, as functions of bytes that must neither panic, nor hang, nor hold memory that
//! a header claims, and whose results must agree with one another.
//!
//! `make fuzz` drives them by libFuzzer, guided by coverage; `cargo test` replays the seeds and some
//! mutations of them that are the same each time.

mod features;
mod memory;

use rust_features::{Decoder, FeatureSpec, Resampler, resample};

/// A function of bytes.
pub struct Target {
    /// As `FUZZ_TARGET` and the folder of its seeds have it.
    pub name: &'static str,
    /// Panics where anything is wrong.
    check: fn(&[u8]),
    /// Bytes it may hold at any time.
    memory: usize,
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target { name: "decode", check: decode, memory: 64 << 20 },
    Target { name: "resample", check: resampled, memory: 64 << 20 },
    Target { name: "spec", check: spec, memory: 1 << 20 },
    Target { name: "features", check: features::check, memory: 64 << 20 },
];

impl Target {
    /// Tries one input.
    pub fn run(&self, data: &[u8]) {
        memory::limited(self.memory, || (self.check)(data));
    }
}

/// Any bytes as a recording: finite samples or an error, and what comes after either is nothing.
fn decode(data: &[u8]) {
    // Read by this project's own code, where a panic is no fault of another's.
    let own = [&b"RIFF"[..], b"RF64", b"FORM", b"\xff\xfa", b"\xff\xfb", b"\xff\xf2", b"\xff\xf3"]
        .iter()
        .any(|magic| data.starts_with(magic));
    let sound = |error: &rust_features::Error| {
        assert!(!(own && error.to_string().contains("panicked")), "{error}");
    };
    let mut decoder = match Decoder::from_bytes(data.to_vec(), "input") {
        Ok(decoder) => decoder,
        Err(error) => return sound(&error),
    };
    assert!(decoder.sample_rate() >= 1 && (1..=1024).contains(&decoder.channels()));
    let mut block = Vec::new();
    loop {
        block.clear();
        match decoder.read(&mut block) {
            Ok(true) => assert!(block.iter().all(|sample| sample.is_finite())),
            Ok(false) => break,
            Err(error) => {
                sound(&error);
                break;
            }
        }
    }
    block.clear();
    assert!(matches!(decoder.read(&mut block), Ok(false)) && block.is_empty());
    if let Err(error) = Decoder::from_bytes(data.to_vec(), "input").and_then(Decoder::count) {
        sound(&error);
    }
}

/// Two rates (u32), the length of a piece (u16), then 16-bit samples: the whole at once and in pieces
/// are the same, bit for bit, and as long as they must be.
fn resampled(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<10>() else { return };
    let rate = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (from, to) = (rate(0), rate(4));
    let piece = usize::from(u16::from_le_bytes([head[8], head[9]])).max(1);
    let samples = from_pcm(rest);
    let Ok(whole) = resample(&samples, from, to) else { return };
    let n = samples.len() as u64 * u64::from(to);
    assert_eq!(whole.len() as u64, n.div_ceil(u64::from(from)));
    assert!(whole.iter().all(|sample| sample.abs() < 8.0), "{from} to {to} Hz");
    let (mut resampler, mut pieces) = (Resampler::new(from, to).expect("as above"), Vec::new());
    for piece in samples.chunks(piece) {
        resampler.process(piece, &mut pieces);
    }
    resampler.finish(&mut pieces);
    assert!(same(&whole, &pieces), "{from} to {to} Hz in pieces of {piece}");
}

/// Any text as a spec: an error of one line, or a spec that its own JSON describes.
fn spec(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    if let Ok(spec) = FeatureSpec::from_json(json) {
        assert_eq!(FeatureSpec::from_json(&spec.to_json()).expect("valid"), spec);
    }
}

fn from_pcm(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&pcm| f32::from(i16::from_le_bytes(pcm)) / 32768.0).collect()
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutations of each seed; the ones that libFuzzer finds worthwhile are many more.
    const MUTATIONS: usize = 200;

    /// SplitMix64 (Steele, Lea and Flood 2014): the same draws on every machine.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % n as u64) as usize
        }

        /// Some bytes changed, taken out or doubled, or the end cut off.
        fn mutated(&mut self, seed: &[u8]) -> Vec<u8> {
            let mut bytes = seed.to_vec();
            for _ in 0..1 + self.below(4) {
                let at = self.below(bytes.len().max(1)).min(bytes.len());
                let end = (at + self.below(16)).min(bytes.len());
                match self.below(5) {
                    0 => bytes.truncate(at),
                    1 => drop(bytes.drain(at..end)),
                    2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                    3 => bytes[at..end].fill([0, 0xff, 0x7f, 0x80][self.below(4)]),
                    _ => bytes[at..end].iter_mut().take(2).for_each(|b| *b = self.below(256) as u8),
                }
            }
            bytes
        }
    }

    #[test]
    fn seeds_and_some_mutations_do_no_harm() {
        for target in &TARGETS {
            let folder = format!("{}/seeds/{}", env!("CARGO_MANIFEST_DIR"), target.name);
            let files = std::fs::read_dir(folder).expect("seeds of every target");
            let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
            assert!(!paths.is_empty());
            paths.sort();
            for path in paths {
                let seed = std::fs::read(path).expect("a seed");
                target.run(&seed);
                let mut draw = Draw(seed.len() as u64);
                (0..MUTATIONS).for_each(|_| target.run(&draw.mutated(&seed)));
            }
        }
    }
}
