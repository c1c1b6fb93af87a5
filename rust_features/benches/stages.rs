//! Time of each stage and of each preset, on one core.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rust_features::bench::{
    Block, Cepstrum, Fft, FftScratch, FilterBank, Kernel, MAX_LANES, Output, Rows, Simd, ln,
};
use rust_features::spec::Precision;
use rust_features::{Extractor, FeatureSpec, Isa};

fn noise(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + i * i % 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
}

/// Windowed transform and power of a vector full of frames.
struct TransformRows<'a>(&'a Fft, &'a Rows<'a>, &'a mut FftScratch, &'a mut [Block]);

impl Kernel for TransformRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.run(s, self.1, self.2, Output::Power, self.3);
    }
}

struct SumBands<'a>(&'a FilterBank, &'a [Block], &'a mut [Block]);

impl Kernel for SumBands<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.apply(s, s.cast(self.1), s.cast_mut(self.2));
    }
}

struct Logarithm<'a>(&'a mut [Block]);

impl Kernel for Logarithm<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for v in s.cast_mut(self.0) {
            *v = ln(s, *v);
        }
    }
}

struct Coefficients<'a>(&'a Cepstrum, &'a [f32], &'a mut [f32]);

impl Kernel for Coefficients<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.apply(s, self.1, self.2);
    }
}

fn stages(c: &mut Criterion) {
    let isas = Isa::available();
    let mut group = c.benchmark_group("fft");
    for n in [400, 512, 1024, 2048, 1000] {
        let fft = Fft::new(n, &vec![0.5; n], Precision::Single);
        let samples = noise(n * MAX_LANES + 4);
        let (rows, columns) = fft.shape();
        let mut out = Block::zeros(rows * columns, MAX_LANES);
        for &isa in &isas {
            let starts: Vec<usize> = (0..isa.lanes()).map(|lane| lane * n).collect();
            let frames = Rows::new(&samples, &starts, n + 4);
            let mut scratch = fft.scratch();
            group.throughput(Throughput::Elements(isa.lanes() as u64));
            group.bench_function(BenchmarkId::new(isa.name(), n), |b| {
                b.iter(|| isa.dispatch(TransformRows(&fft, &frames, &mut scratch, &mut out)));
            });
        }
    }
    group.finish();

    let spec = FeatureSpec::preset("mfcc-librosa").expect("a preset");
    let filters = FilterBank::new(&spec, |bin| bin);
    let cepstrum = Cepstrum::new(&spec);
    let spectrum = vec![Block([1.5; MAX_LANES]); spec.n_bins()];
    let mut bands = vec![Block([0.0; MAX_LANES]); spec.n_mels];
    let (log_mel, mut mfcc) = (noise(spec.n_mels), vec![0.0; spec.n_mfcc]);
    let mut group = c.benchmark_group("stages");
    for &isa in &isas {
        // A vector full of frames at a time, so that the figures are per frame.
        group.throughput(Throughput::Elements(MAX_LANES as u64));
        group.bench_function(BenchmarkId::new("filter bank", isa.name()), |b| {
            b.iter(|| isa.dispatch(SumBands(&filters, black_box(&spectrum), &mut bands)));
        });
        group.bench_function(BenchmarkId::new("logarithm", isa.name()), |b| {
            b.iter(|| {
                bands.fill(Block([1.5; MAX_LANES]));
                isa.dispatch(Logarithm(&mut bands));
            });
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("dct", isa.name()), |b| {
            b.iter(|| isa.dispatch(Coefficients(&cepstrum, black_box(&log_mel), &mut mfcc)));
        });
    }
    group.finish();
}

fn presets(c: &mut Criterion) {
    let mut group = c.benchmark_group("presets");
    for (name, spec) in FeatureSpec::presets() {
        let clip_len = spec.sample_rate as usize / 2;
        let clips = noise(32 * clip_len);
        for isa in Isa::available() {
            let extractor = Extractor::with_isa(spec.clone(), isa).expect("a preset");
            let mut scratch = extractor.scratch();
            let frames = 32 * extractor.n_frames(clip_len);
            let mut out = vec![0.0; frames * extractor.n_features()];
            group.throughput(Throughput::Elements(32));
            group.bench_function(BenchmarkId::new(name, isa.name()), |b| {
                b.iter(|| {
                    extractor
                        .extract_into(&mut scratch, black_box(&clips), clip_len, &mut out)
                        .expect("finite samples")
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, stages, presets);
criterion_main!(benches);
