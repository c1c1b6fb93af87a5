//! The whole chain: what it must never do, and what must never change.

use proptest::prelude::*;

use super::*;

const CLIP: usize = 3000;

fn spec() -> FeatureSpec {
    FeatureSpec { n_mels: 40, frame_length: 512, n_fft: 512, ..FeatureSpec::preset("mel").unwrap() }
}

/// Everything happens to every clip.
fn always() -> Settings {
    Settings {
        pitch_p: 1.0,
        phrase_p: 1.0,
        filter_p: 1.0,
        reverb_p: 1.0,
        band_limit_p: 1.0,
        noise_p: 1.0,
        gain_p: 1.0,
        clip_p: 1.0,
        polarity_p: 1.0,
        shift_p: 1.0,
        ..Settings::default()
    }
}

fn augmenter(settings: &Settings, clip_len: usize, short: Short) -> Augmenter {
    Augmenter::new(spec(), settings, clip_len, short, &[], Vec::new()).unwrap()
}

fn waveforms(plan: &Augmenter, threads: usize, items: &[Item], epoch: u64) -> Vec<f32> {
    let mut out = vec![f32::NAN; items.len() * plan.clip_len()];
    let treatment = Treatment::Augment { epoch, mix: None };
    let destination = Destination::Waveforms(&mut out);
    plan.batch(threads, items, treatment, destination, &mut || Ok(())).unwrap();
    out
}

fn item(recording: &[f32], index: u64) -> Item<'_> {
    Item { recording: Pcm::Float32(recording), following: &[], index }
}

fn sine(n: usize) -> Vec<f32> {
    (0..n).map(|i| (0.05 * i as f32).sin() * (0.0007 * i as f32).cos()).collect()
}

#[test]
fn a_clip_depends_on_seed_epoch_and_index_only() {
    let recordings = [sine(20_000), sine(2_000), sine(9_000)];
    let following = [Pcm::Float32(&recordings[1]), Pcm::Float32(&recordings[0])];
    let plan = augmenter(&always(), CLIP, Short::Pad);
    let item = |i: usize| Item {
        recording: Pcm::Float32(&recordings[i % 3]),
        following: &following,
        index: i as u64,
    };
    let items: Vec<Item> = (0..23).map(item).collect();
    let together = waveforms(&plan, 1, &items, 5);
    assert_eq!(together, waveforms(&plan, 3, &items, 5));
    for (i, clip) in together.chunks(CLIP).enumerate() {
        assert_eq!(clip, waveforms(&plan, 1, &[item(i)], 5), "clip {i}");
    }
    assert_ne!(together, waveforms(&plan, 1, &items, 6));
    let other = augmenter(&Settings { seed: 1, ..always() }, CLIP, Short::Pad);
    assert_ne!(together, waveforms(&other, 1, &items, 5));
}

#[test]
fn features_are_those_of_the_waveforms() {
    let recording = sine(20_000);
    let plan = augmenter(&always(), CLIP, Short::Pad);
    let items: Vec<Item> = (0..9).map(|index| item(&recording, index)).collect();
    let clips = waveforms(&plan, 1, &items, 0);
    let extractor = plan.extractor();
    let n = items.len() * extractor.n_frames(CLIP) * extractor.n_features();
    let (mut want, mut got) = (vec![0.0; n], vec![0.0; n]);
    extractor.extract_into(&mut extractor.scratch(), &clips, CLIP, &mut want).unwrap();
    let treatment = Treatment::Augment { epoch: 0, mix: None };
    plan.batch(2, &items, treatment, Destination::Features(&mut got), &mut || Ok(())).unwrap();
    assert_eq!(got, want);
}

#[test]
fn what_is_switched_off_leaves_the_window_as_it_is() {
    let recording = sine(5_000);
    let item = item(&recording, 4);
    let plan = augmenter(&Settings::off(), CLIP, Short::Pad);
    let start = plan.draw(9, 4, 5_000).start;
    assert!(start > 0);
    assert_eq!(waveforms(&plan, 1, &[item], 9), recording[start..start + CLIP]);

    let mut out = vec![0.0; CLIP];
    let plain = Treatment::Plain(&[3_000]);
    let destination = Destination::Waveforms(&mut out);
    augmenter(&always(), CLIP, Short::Pad)
        .batch(1, &[item], plain, destination, &mut || Ok(()))
        .unwrap();
    assert_eq!(out[..2_000], recording[3_000..]);
    assert!(out[2_000..].iter().all(|&x| x == 0.0));
}

#[test]
fn a_sample_that_is_not_finite_is_named() {
    let (mut bad, good) = (sine(CLIP), sine(CLIP));
    bad[17] = f32::NAN;
    let plan = augmenter(&Settings::off(), CLIP, Short::Pad);
    let items: Vec<Item> = (0..9).map(|i| item(if i == 6 { &bad } else { &good }, i)).collect();
    let n = items.len() * plan.extractor().n_frames(CLIP) * plan.extractor().n_features();
    let mut out = vec![0.0; n];
    let treatment = Treatment::Augment { epoch: 0, mix: None };
    let destination = Destination::Features(&mut out);
    let error = plan.batch(2, &items, treatment, destination, &mut || Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "sample 17 of clip 6 NaN is invalid: must be finite");
}

/// Every number within 1e-7 of the other: mathematical functions differ from system to system.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-7 * a.abs()
        }
        (a, b) => a == b,
    }
}

#[test]
fn draws_stay_the_same() {
    let drawn = augmenter(&always(), CLIP, Short::Pad).draw(3, 12345, 40_000);
    let golden = serde_json::from_str(include_str!("golden.json")).unwrap();
    let drawn = serde_json::to_value(&drawn).unwrap();
    assert!(same(&drawn, &golden), "{drawn:#}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_ever_not_a_number(
        kind in 0..6usize, len in 0..6_000usize, clip_len in 1..4_000usize, repeat: bool,
        at in 0..6_000usize, epoch: u64, index: u64,
    ) {
        let recording: Vec<f32> = (0..len)
            .map(|i| match kind {
                0 => 0.0,
                1 => 1.0,
                2 => if i % 100 < 50 { 1.0 } else { -1.0 },
                3 => if i == at % len { 1.0 } else { 0.0 },
                4 => f32::MIN_POSITIVE * (i % 7) as f32 / 9.0,
                _ => (0.3 * i as f32).sin(),
            })
            .collect();
        let short = if repeat { Short::Repeat } else { Short::Pad };
        let settings = Settings { reverb_rt60_s: [0.01, 0.1], ..always() };
        let spec = FeatureSpec { n_fft: 64, frame_length: 64, hop_length: 64, ..FeatureSpec::default() };
        let noise = vec![vec![1.0, -1.0, 0.5]];
        let plan = Augmenter::new(spec, &settings, clip_len, short, &[], noise).unwrap();
        let following = [Pcm::Float32(&recording); 2];
        let item = Item { following: &following, ..item(&recording, index) };
        let mut out = vec![f32::NAN; clip_len];
        let treatment = Treatment::Augment { epoch, mix: Some((&[item], &[0.4])) };
        plan.batch(1, &[item], treatment, Destination::Waveforms(&mut out), &mut || Ok(())).unwrap();
        prop_assert!(out.iter().all(|x| x.is_finite()));
    }
}
