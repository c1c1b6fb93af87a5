//! Clips against their definition: in one piece or many, for a writer or for someone who waits.

use std::sync::Arc;

use proptest::prelude::*;
use rust_features::{Batch, Cut, Cutter, Extractor, FeatureSpec, Pace, Short};

/// First sample and samples of each clip; half a sample is rounded up.
fn clips_by_definition(y: &[f32], cut: &Cut, rate: u32) -> Vec<(usize, Vec<f32>)> {
    let half_up = |seconds: f64| (seconds * f64::from(rate) + 0.5).floor() as usize;
    let (clip, hop) = (half_up(cut.clip_s), half_up(cut.hop_s));
    if y.len() < clip {
        let at = |i: usize| match cut.short {
            Short::Repeat => y[i % y.len()],
            _ => y.get(i).copied().unwrap_or(0.0),
        };
        let filled = (0..clip).map(at).collect();
        return if cut.short == Short::Drop { vec![] } else { vec![(0, filled)] };
    }
    let starts = (0..).map(|i| i * hop).take_while(|start| start + clip <= y.len());
    starts.map(|start| (start, y[start..start + clip].to_vec())).collect()
}

/// What a cutter hands on of a recording that comes in pieces.
fn clips_of(cutter: &mut Cutter, y: &[f32], piece: usize) -> Vec<(usize, Vec<f32>)> {
    let mut clips = Vec::new();
    let mut take = |Batch { starts, features }| {
        let clip_len = features.len() / starts.len();
        clips.extend(starts.into_iter().zip(features.chunks(clip_len).map(<[f32]>::to_vec)));
        Ok(())
    };
    cutter.begin(None);
    for piece in y.chunks(piece) {
        cutter.pcm().extend_from_slice(piece);
        assert_eq!(cutter.advance(&mut take, &mut || Ok(())).unwrap(), None);
    }
    let reason = cutter.finish(&mut take, &mut || Ok(())).unwrap();
    assert_eq!(reason.is_some(), clips.is_empty());
    assert_eq!((cutter.n_samples(), cutter.n_clips()), (y.len(), (clips.len(), 0)));
    clips
}

proptest! {
    #[test]
    fn clips_are_those_of_the_definition(
        // In half samples, which rounding to the even number would place elsewhere.
        halves in (1..200u32, 1..200u32),
        lengths in prop::collection::vec(1..2000usize, 1..4),
        (piece, at_once, threads) in (1..500usize, 1..20usize, 1..3usize),
        short in prop::sample::select(vec![Short::Pad, Short::Repeat, Short::Drop]),
    ) {
        let rate = 8000;
        let seconds = |halves: u32| f64::from(halves) / 2.0 / f64::from(rate);
        let cut = Cut { clip_s: seconds(halves.0), hop_s: seconds(halves.1), short, min_rms: 0.0 };
        cut.validate_at(rate).unwrap();
        let mut spec = FeatureSpec::preset("samples").unwrap();
        spec.sample_rate = rate;
        let extractor = Arc::new(Extractor::new(spec).unwrap());
        for (pace, threads) in [(Pace::Pieces, 1), (Pace::Soon(at_once), threads)] {
            let mut cutter = Cutter::new(extractor.clone(), &cut, pace, threads);
            for &n in &lengths {
                let y: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
                let expected = clips_by_definition(&y, &cut, rate);
                let starts: Vec<usize> = expected.iter().map(|(start, _)| *start).collect();
                prop_assert_eq!(cut.starts(n, rate).collect::<Vec<_>>(), starts);
                prop_assert_eq!(clips_of(&mut cutter, &y, piece), expected);
            }
        }
    }
}

#[test]
fn a_whole_recording_is_one_clip_and_has_a_limit_for_someone_who_waits() {
    let mut spec = FeatureSpec::preset("samples").unwrap();
    spec.sample_rate = 10;
    let extractor = Arc::new(Extractor::new(spec).unwrap());
    let cut = Cut { clip_s: 0.0, ..Cut::default() };
    let mut values = Vec::new();
    for (pace, n, reason) in [
        (Pace::Pieces, 6001, None),
        (Pace::Soon(1), 6000, None),
        (
            Pace::Soon(1),
            6001,
            Some("is longer than 600 s; a model of whole recordings takes no more"),
        ),
        (Pace::Soon(1), 0, Some("holds no samples")),
    ] {
        let mut cutter = Cutter::new(extractor.clone(), &cut, pace, 1);
        let mut take = |batch: Batch| {
            values.extend(batch.features);
            Ok(())
        };
        cutter.pcm().extend(vec![0.5; n]);
        assert_eq!(cutter.finish(&mut take, &mut || Ok(())).unwrap(), reason);
        assert_eq!(values.len(), if reason.is_none() { n } else { 0 });
        values.clear();
    }
}
