use proptest::prelude::*;

use super::*;

/// Pairs that take every way: down, up, by blocks, by table, equal.
const PAIRS: [(u32, u32); 9] = [
    (44100, 16000),
    (44100, 12000),
    (44100, 22050),
    (16000, 44100),
    (11025, 16000),
    (44101, 16000),
    (16000, 44101),
    (768_000, 16000),
    (16000, 16000),
];

#[test]
fn an_impulse_stays_in_place() {
    for (from, to) in PAIRS {
        let mut samples = vec![0.0f32; 40_000];
        // A place that falls on an output sample for every pair that is tried here, or near one.
        let place = 20_000usize;
        samples[place] = 1.0;
        let out = resample(&samples, from, to).unwrap();
        let peak = (0..out.len()).max_by(|&a, &b| out[a].total_cmp(&out[b])).unwrap();
        let expected = place as f64 * f64::from(to) / f64::from(from);
        assert!((peak as f64 - expected).abs() <= 0.51, "{from} -> {to}: {peak} for {expected}");
    }
}

#[test]
fn a_tone_keeps_its_amplitude_and_phase() {
    for (from, to) in PAIRS {
        let n = from as usize / 2;
        let hz = 0.45 * f64::from(from.min(to)) * 0.91 / 0.9;
        let tone = |rate: u32, i: usize| {
            (2.0 * std::f64::consts::PI * hz * i as f64 / f64::from(rate)).sin()
        };
        let samples: Vec<f32> = (0..n).map(|i| tone(from, i) as f32).collect();
        let out = resample(&samples, from, to).unwrap();
        // The filter reaches 100 samples of the lower rate over the edges.
        let edge = 100 * (to as usize).div_ceil(from.min(to) as usize);
        let worst = (edge..out.len() - edge)
            .map(|i| (f64::from(out[i]) - tone(to, i)).abs())
            .fold(0.0, f64::max);
        assert!(worst < 1e-5, "{from} -> {to}: off by {worst:e}");
    }
}

#[test]
fn a_tone_above_the_new_nyquist_vanishes() {
    for (from, to) in [(44100u32, 16000u32), (44101, 16000), (48000, 44100), (768_000, 16000)] {
        let hz = f64::from(to) * 0.505;
        let samples: Vec<f32> = (0..from as usize / 2)
            .map(|i| (2.0 * std::f64::consts::PI * hz * i as f64 / f64::from(from)).sin() as f32)
            .collect();
        let out = resample(&samples, from, to).unwrap();
        let worst = out[200..out.len() - 200].iter().fold(0.0f32, |w, x| w.max(x.abs()));
        assert!(worst < 1e-5, "{from} -> {to}: {worst:e} is left");
    }
}

#[test]
fn rates_that_no_filter_fits_are_refused() {
    for (from, to) in [(0, 16000), (16000, 0), (u32::MAX, 16000), (1, 16000)] {
        assert!(matches!(Resampler::new(from, to), Err(Error::Setting { .. })), "{from} -> {to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunks_do_not_change_a_bit(
        pair in prop::sample::select(&PAIRS[..]),
        samples in prop::collection::vec(-1.0f32..1.0, 0..12_000),
        cuts in prop::collection::vec(0..12_000usize, 0..6),
    ) {
        let (from, to) = pair;
        let whole = resample(&samples, from, to).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(samples.len())).collect();
        cuts.extend([0, samples.len()]);
        cuts.sort_unstable();
        let mut resampler = Resampler::new(from, to).unwrap();
        // Twice: a finished resampler begins anew.
        for _ in 0..2 {
            let mut out = Vec::new();
            for pair in cuts.windows(2) {
                resampler.process(&samples[pair[0]..pair[1]], &mut out);
            }
            resampler.finish(&mut out);
            prop_assert!(out == whole);
        }
    }

    #[test]
    fn the_length_is_exact(from in 1u32..100_000, to in 1u32..100_000, n in 0usize..3000) {
        prop_assume!(from.max(to) <= from.min(to).saturating_mul(50));
        let expected = (n as u64 * u64::from(to)).div_ceil(u64::from(from));
        prop_assert_eq!(resample(&vec![0.5; n], from, to).unwrap().len() as u64, expected);
    }
}
