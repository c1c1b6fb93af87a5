//! What every setting means, said once more: slow, in float64, straight from the definitions. Nothing
//! here is shared with the crate but the names of the settings.

use std::f64::consts::{LN_10, PI, TAU};

use rust_features::FeatureSpec;
use rust_features::spec::{
    Energy, Kind, Log, LogFloorRule, MelNorm, MelScale, MelShape, Normalize, Padding,
    PreemphasisOn, Window,
};

pub type Matrix = Vec<Vec<f64>>;

/// `[frames][features]` of one clip.
pub fn features(spec: &FeatureSpec, clip: &[f32]) -> Matrix {
    if spec.kind == Kind::Samples {
        return clip.iter().map(|&x| vec![x.into()]).collect();
    }
    let raw = frames(spec, clip);
    let spectra: Vec<Vec<[f64; 2]>> = raw.iter().map(|frame| transform(spec, frame)).collect();
    if spec.kind == Kind::Stft {
        return spectra.iter().map(|bins| bins.concat()).collect();
    }
    let unit = if spec.scale_by_n_fft { spec.n_fft as f64 } else { 1.0 };
    let bin = |&[re, im]: &[f64; 2]| re.hypot(im).powi(spec.power as i32) / unit;
    let power: Matrix = spectra.iter().map(|bins| bins.iter().map(bin).collect()).collect();
    let mut rows = power.clone();
    if matches!(spec.kind, Kind::Mel | Kind::Mfcc) {
        let bank = filters(spec);
        rows = power
            .iter()
            .map(|bins| bank.iter().map(|filter| dot(filter, bins)).collect())
            .collect();
    }
    if spec.log != Log::None {
        let per_bel = if spec.power == 2 { 1.0 } else { 2.0 };
        each(&mut rows, |x| per_bel * floored(spec, x).log10());
        let top = rows.iter().flatten().copied().fold(f64::MIN, f64::max);
        each(&mut rows, |x| x.max(top - spec.top_db.map_or(f64::INFINITY, |db| db / 10.0)));
        // `log10` is of the value itself, decibels are always of its power.
        each(&mut rows, |x| x * in_unit(spec.log, 1.0 / per_bel));
    }
    each(&mut rows, |x| x * spec.scale + spec.offset);
    if spec.kind == Kind::Mfcc {
        rows = rows
            .iter()
            .map(|row| (0..spec.n_mfcc).map(|k| coefficient(spec, row, k)).collect())
            .collect();
        for ((row, power), raw) in rows.iter_mut().zip(&power).zip(&raw) {
            let energy = match spec.energy {
                Energy::None => continue,
                Energy::Spectrum => power.iter().sum(),
                Energy::Raw => dot(raw, raw),
            };
            row[0] = floored(spec, energy).log10() * in_unit(spec.log, 1.0);
        }
    }
    for order in 0..spec.deltas {
        rows = with_slopes(&rows, order, spec.delta_width);
    }
    normalized(rows, spec.normalize)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn each(rows: &mut Matrix, f: impl Fn(f64) -> f64) {
    rows.iter_mut().flatten().for_each(|x| *x = f(*x));
}

/// Frames without their mean, before the frame's own pre-emphasis.
fn frames(spec: &FeatureSpec, clip: &[f32]) -> Matrix {
    let mut x: Vec<f64> = clip.iter().map(|&x| x.into()).collect();
    if spec.preemphasis_on == PreemphasisOn::Signal {
        x = emphasised(spec.preemphasis, &x, 0.0);
    }
    let [n, hop, length, n_fft] =
        [x.len(), spec.hop_length, spec.frame_length, spec.n_fft].map(|n| n as isize);
    let at = |i: isize| match spec.padding {
        _ if (0..n).contains(&i) => x[i as usize],
        Padding::Reflect => x[if i < 0 { -i } else { 2 * (n - 1) - i } as usize],
        Padding::Symmetric => {
            let mut i = i;
            while !(0..n).contains(&i) {
                i = if i < 0 { -i - 1 } else { 2 * n - 1 - i };
            }
            x[i as usize]
        }
        _ => 0.0,
    };
    let (count, first) = match spec.padding {
        Padding::None => ((n - length + hop) / hop, 0),
        Padding::Tail => (1 + (n - length + hop - 1).max(0) / hop, 0),
        Padding::Symmetric => ((n + hop / 2) / hop, hop / 2 - length / 2),
        // Centred on sample f · hop, and a short frame in the middle of n_fft points.
        Padding::Zero | Padding::Reflect => {
            (1 + (n + n_fft / 2 * 2 - n_fft) / hop, (n_fft - length) / 2 - n_fft / 2)
        }
    };
    let count = count - isize::from(spec.drop_last_frame);
    let frame = |f| (0..length).map(|i| at(f * hop + first + i)).collect();
    let mut frames: Matrix = (0..count).map(frame).collect();
    for frame in frames.iter_mut().filter(|_| spec.remove_dc) {
        let mean = frame.iter().sum::<f64>() / frame.len() as f64;
        frame.iter_mut().for_each(|x| *x -= mean);
    }
    frames
}

/// y\[i\] = x\[i\] − c · x\[i − 1\]; `before` stands before the first.
fn emphasised(c: f64, x: &[f64], before: f64) -> Vec<f64> {
    let last = std::iter::once(&before).chain(x);
    x.iter().zip(last).map(|(x, last)| x - c * last).collect()
}

fn window(spec: &FeatureSpec, i: usize) -> f64 {
    if spec.frame_length == 1 {
        return 1.0;
    }
    let span = spec.frame_length - usize::from(!spec.window_periodic);
    let x = TAU * i as f64 / span as f64;
    match spec.window {
        Window::Hann => (x / 2.0).sin().powi(2),
        Window::Hamming => 0.54 - 0.46 * x.cos(),
        Window::Blackman => 0.42 - 0.5 * x.cos() + 0.08 * (2.0 * x).cos(),
        Window::BlackmanHarris => {
            0.35875 - 0.48829 * x.cos() + 0.14128 * (2.0 * x).cos() - 0.01168 * (3.0 * x).cos()
        }
        Window::Bartlett => 1.0 - (x / PI - 1.0).abs(),
        Window::Povey => (x / 2.0).sin().abs().powf(1.7),
        Window::Rectangular => 1.0,
    }
}

/// The bins 0..=n_fft / 2 of a frame: Σ w\[i\] · x\[i\] · e^(−2πi·ik/n).
fn transform(spec: &FeatureSpec, frame: &[f64]) -> Vec<[f64; 2]> {
    let mut x = frame.to_vec();
    if spec.preemphasis_on == PreemphasisOn::Frame {
        x = emphasised(spec.preemphasis, &x, x[0]);
    }
    let centred = matches!(spec.padding, Padding::Zero | Padding::Reflect);
    let (n, from) = (spec.n_fft, if centred { (spec.n_fft - x.len()) / 2 } else { 0 });
    x.iter_mut().enumerate().for_each(|(i, x)| *x *= window(spec, i));
    let circle: Vec<(f64, f64)> = (0..n).map(|i| (TAU * i as f64 / n as f64).sin_cos()).collect();
    let bin = |k| {
        x.iter().enumerate().fold([0.0, 0.0], |[re, im], (i, x)| {
            let (sin, cos) = circle[(from + i) * k % n];
            [re + x * cos, im - x * sin]
        })
    };
    (0..=n / 2).map(bin).collect()
}

fn hz_to_mel(scale: MelScale, hz: f64) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hz / 700.0).log10(),
        MelScale::Slaney if hz < 1000.0 => 3.0 * hz / 200.0,
        MelScale::Slaney => 15.0 + 27.0 * (hz / 1000.0).log(6.4),
    }
}

fn mel_to_hz(scale: MelScale, mel: f64) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (10_f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < 15.0 => 200.0 * mel / 3.0,
        MelScale::Slaney => 1000.0 * 6.4_f64.powf((mel - 15.0) / 27.0),
    }
}

/// `[n_mels][n_bins]`: triangles over corners that are equally spaced in mel.
fn filters(spec: &FeatureSpec) -> Matrix {
    let (rate, n) = (f64::from(spec.sample_rate), spec.n_fft as f64);
    let (low, high) = (spec.fmin_hz, spec.fmax_hz.unwrap_or(rate / 2.0));
    let [low, high] = [low, high].map(|hz| hz_to_mel(spec.mel_scale, hz));
    let mel = |i: usize| low + (high - low) * i as f64 / (spec.n_mels + 1) as f64;
    let hz = |i| mel_to_hz(spec.mel_scale, mel(i));
    let filter = |m: usize| -> Vec<f64> {
        let weight = |bin: usize| {
            let bin_hz = bin as f64 * rate / n;
            let corner = |i| match spec.mel_shape {
                MelShape::Hz => hz(i),
                MelShape::Mel => mel(i),
                MelShape::Bins => ((n + 1.0) * hz(i) / rate).floor(),
            };
            let x = match spec.mel_shape {
                MelShape::Hz => bin_hz,
                MelShape::Mel if bin == spec.n_fft / 2 => return 0.0,
                MelShape::Mel => hz_to_mel(spec.mel_scale, bin_hz),
                MelShape::Bins => bin as f64,
            };
            let [left, centre, right] = [corner(m), corner(m + 1), corner(m + 2)];
            let height = match spec.mel_norm {
                MelNorm::None => 1.0,
                MelNorm::Slaney => 2.0 / (hz(m + 2) - hz(m)),
            };
            height
                * if (left..centre).contains(&x) {
                    (x - left) / (centre - left)
                } else if (centre..right).contains(&x) {
                    (right - x) / (right - centre)
                } else {
                    0.0
                }
        };
        (0..=spec.n_fft / 2).map(weight).collect()
    };
    (0..spec.n_mels).map(filter).collect()
}

fn floored(spec: &FeatureSpec, x: f64) -> f64 {
    match spec.log_floor_rule {
        LogFloorRule::Max => x.max(spec.log_floor),
        LogFloorRule::ReplaceZeros if x == 0.0 => spec.log_floor,
        LogFloorRule::ReplaceZeros => x,
    }
}

/// What a decade (of power, as `of_value` has it of the value) is in the unit of a logarithm.
fn in_unit(log: Log, of_value: f64) -> f64 {
    match log {
        Log::Db => 10.0,
        Log::Natural => LN_10 * of_value,
        Log::Log10 | Log::None => of_value,
    }
}

/// Coefficient k of the orthonormal DCT-II, liftered.
fn coefficient(spec: &FeatureSpec, log_mel: &[f64], k: usize) -> f64 {
    let (n, k) = (log_mel.len() as f64, k as f64);
    let cosines = |m: usize| (PI * k * (2 * m + 1) as f64 / (2.0 * n)).cos();
    let sum: f64 = log_mel.iter().enumerate().map(|(m, x)| x * cosines(m)).sum();
    let lift = if spec.lifter == 0.0 {
        0.0
    } else {
        (PI * (k + spec.lifter_first as f64) / spec.lifter).sin()
    };
    sum * (if k == 0.0 { 1.0 } else { 2.0 } / n).sqrt() * (1.0 + spec.lifter / 2.0 * lift)
}

/// Appends the slopes of the last block of columns, of which there are `order + 1`: the least-squares
/// line through `width` frames, the first and the last standing for those beyond the ends.
fn with_slopes(rows: &Matrix, order: usize, width: usize) -> Matrix {
    let reach = (width / 2) as isize;
    let squares: isize = (-reach..=reach).map(|i| i * i).sum();
    let slope = |t: usize, column: usize| {
        let at =
            |i: isize| rows[(t as isize + i).clamp(0, rows.len() as isize - 1) as usize][column];
        (-reach..=reach).map(|i| i as f64 * at(i)).sum::<f64>() / squares as f64
    };
    let row = |(t, row): (usize, &Vec<f64>)| {
        let from = row.len() / (order + 1) * order;
        row.iter().copied().chain((from..row.len()).map(|column| slope(t, column))).collect()
    };
    rows.iter().enumerate().map(row).collect()
}

fn normalized(mut rows: Matrix, how: Normalize) -> Matrix {
    let (n, width) = (rows.len() as f64, rows.first().map_or(0, Vec::len));
    for column in (0..width).filter(|_| how != Normalize::None) {
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / n;
        let variance = rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / n;
        // A constant feature becomes zero.
        let deviation = if how == Normalize::Mean { 1.0 } else { variance.sqrt().max(1e-6) };
        rows.iter_mut().for_each(|row| row[column] = (row[column] - mean) / deviation);
    }
    rows
}
