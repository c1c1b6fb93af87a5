//! The steps composed: an immutable plan that any number of threads share, and buffers that each
//! worker owns.

use std::ops::Range;

use crate::cepstrum::Cepstrum;
use crate::error::{Error, Result};
use crate::fft::{Fft, FftScratch, Output};
use crate::finite;
use crate::frame::{FrameSteps, Framing, Signal};
use crate::log::{self, LogScale};
use crate::mel::FilterBank;
use crate::second_pass;
use crate::simd::{Block, Isa, Kernel, MAX_LANES, Rows, RowsMut, Simd};
use crate::spec::{DeltaFit, Energy, FeatureSpec, Kind};
use crate::window::window;

/// Frames that are padded and transformed together: a whole number of vectors of every kind, few
/// enough to stay in the second-level cache.
const TILE: usize = 64;
/// Frames after which a group of clips gets its second pass, while it is still in the cache.
const GROUP: usize = 256;
/// `load4` may read up to three samples beyond a frame.
const SLACK: usize = 4;

/// Computes one feature. Immutable: share it between threads, with a [`Scratch`] for each.
pub struct Extractor {
    spec: FeatureSpec,
    isa: Isa,
    framing: Framing,
    frame_steps: Option<FrameSteps>,
    fft: Fft,
    /// Cells of the spectrum, and where each bin lies.
    spectrum_len: usize,
    positions: Vec<usize>,
    /// Spectrum scale that no filter bank has taken on.
    spectrum_scale: f32,
    filters: Option<FilterBank>,
    log: Option<LogScale>,
    dynamic_range: Option<f32>,
    cepstrum: Option<Cepstrum>,
}

/// Buffers of one worker.
pub struct Scratch {
    padded: Vec<f32>,
    starts: Vec<usize>,
    frames: Vec<f32>,
    centred: Vec<f32>,
    fft: FftScratch,
    spectrum: Vec<Block>,
    bands: Vec<Block>,
    group: Group,
}

/// The frames between the first and the second pass.
#[derive(Default)]
pub(crate) struct Group {
    /// `[frames][row_width]`; empty where the first pass can write to the output.
    rows: Vec<f32>,
    /// Log energy of each frame, if asked for.
    energy: Vec<f32>,
    /// Greatest value of each frame, if asked for.
    max: Vec<f32>,
}

impl Group {
    /// Greatest value of all frames, if asked for.
    pub fn max(&self) -> Option<f32> {
        (!self.max.is_empty()).then(|| greatest(&self.max))
    }

    /// The part of the second pass that needs only the clip's maximum, for all frames, all of one clip.
    pub fn finish(&mut self, plan: &Extractor, max: Option<f32>, out: &mut [f32]) {
        if plan.rows_are_output() && !self.rows.is_empty() {
            out.copy_from_slice(&self.rows);
        }
        self.finish_frames(plan, 0..out.len() / plan.n_features(), max, out);
    }

    /// The same for some of the frames.
    fn finish_frames(
        &mut self,
        plan: &Extractor,
        frames: Range<usize>,
        max: Option<f32>,
        out: &mut [f32],
    ) {
        let width = plan.row_width();
        let rows = if plan.rows_are_output() {
            None
        } else {
            Some(&mut self.rows[frames.start * width..frames.end * width])
        };
        let energy = self.energy.get(frames).unwrap_or_default();
        let floor =
            max.zip(plan.dynamic_range).map_or(f32::NEG_INFINITY, |(max, range)| max - range);
        plan.isa.dispatch(FinishFrames { plan, rows, energy, floor, out });
    }

    /// Appends the frames of another group, whose rows may already be in `out`.
    pub fn extend(&mut self, other: &Self, out: &[f32]) {
        self.rows.extend_from_slice(if other.rows.is_empty() { out } else { &other.rows });
        self.energy.extend_from_slice(&other.energy);
        self.max.extend_from_slice(&other.max);
    }
}

impl Extractor {
    /// Plans the computation of a spec, for the fastest instruction set of this machine.
    ///
    /// # Errors
    /// As [`FeatureSpec::validate`].
    pub fn new(spec: FeatureSpec) -> Result<Self> {
        Self::with_isa(spec, Isa::best())
    }

    /// The same with a given instruction set; results agree within float32 rounding.
    ///
    /// # Errors
    /// As [`FeatureSpec::validate`].
    pub fn with_isa(spec: FeatureSpec, isa: Isa) -> Result<Self> {
        spec.validate()?;
        let framing = Framing::new(&spec);
        let mut weights = vec![0.0; framing.span];
        weights[framing.inset..][..spec.frame_length].copy_from_slice(&window(
            spec.window,
            spec.frame_length,
            spec.window_periodic,
        ));
        let scaled = spec.scale_by_n_fft;
        let fft = Fft::new(spec.n_fft, &weights, spec.precision);
        let (rows, columns) = fft.shape();
        Ok(Self {
            isa,
            frame_steps: FrameSteps::new(&spec),
            spectrum_len: rows * columns,
            positions: (0..spec.n_bins()).map(|k| fft.position(k)).collect(),
            spectrum_scale: if scaled { 1.0 / spec.n_fft as f32 } else { 1.0 },
            filters: spec.has_filters().then(|| FilterBank::new(&spec, |k| fft.position(k))),
            log: LogScale::new(&spec),
            dynamic_range: log::dynamic_range(&spec),
            cepstrum: (spec.kind == Kind::Mfcc).then(|| Cepstrum::new(&spec)),
            fft,
            framing,
            spec,
        })
    }

    /// What it computes.
    pub fn spec(&self) -> &FeatureSpec {
        &self.spec
    }

    /// The instruction set it uses.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Frames of a clip of `n_samples`.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        self.framing.n_frames(n_samples)
    }

    /// Floats a frame: bins, filters or coefficients, with their slopes; for kind stft real and
    /// imaginary part of each bin in turn.
    pub fn n_features(&self) -> usize {
        self.n_static() * (1 + self.spec.deltas)
    }

    /// Features without their slopes.
    fn n_static(&self) -> usize {
        if self.cepstrum.is_some() { self.spec.n_mfcc } else { self.row_width() }
    }

    /// Mel filters that lie between two bins, so that their output is constant.
    pub fn empty_filters(&self) -> Vec<usize> {
        self.filters.as_ref().map_or_else(Vec::new, FilterBank::empty_filters)
    }

    /// Refuses clip lengths that the spec cannot serve.
    ///
    /// # Errors
    /// [`Error::Setting`] for 0 samples, or too few to be mirrored or for a slope.
    pub fn check_length(&self, n_samples: usize) -> Result<()> {
        self.framing.check(n_samples)?;
        let (frames, width) = (self.n_frames(n_samples), self.spec.delta_width);
        if self.spec.delta_fit == DeltaFit::Polynomial && frames < width {
            let rule = format!("gives {frames} frames; delta_fit polynomial needs {width}");
            return Err(Error::setting("n_samples", n_samples, rule));
        }
        Ok(())
    }

    pub(crate) fn framing(&self) -> &Framing {
        &self.framing
    }

    /// Floats a frame between the first and the second pass.
    fn row_width(&self) -> usize {
        match (&self.filters, self.spec.kind) {
            (Some(filters), _) => filters.n_filters(),
            (None, Kind::Stft) => 2 * self.spec.n_bins(),
            (None, Kind::Samples) => 1,
            (None, _) => self.spec.n_bins(),
        }
    }

    /// Whether rows of the first pass are already laid out like the output.
    pub(crate) fn rows_are_output(&self) -> bool {
        self.cepstrum.is_none() && self.spec.deltas == 0
    }

    /// Buffers for one worker.
    pub fn scratch(&self) -> Scratch {
        let stft = self.spec.kind == Kind::Stft;
        Scratch {
            padded: Vec::new(),
            starts: Vec::with_capacity(TILE),
            frames: vec![0.0; MAX_LANES * (self.framing.span + SLACK)],
            centred: vec![0.0; self.spec.frame_length],
            fft: self.fft.scratch(),
            spectrum: Block::zeros(2 * self.spectrum_len, MAX_LANES),
            bands: Block::zeros(if stft { 0 } else { self.row_width() }, MAX_LANES),
            group: Group::default(),
        }
    }

    /// Features of many clips of equal length, on the calling thread.
    ///
    /// `clips` is `[n_clips][clip_len]`, `out` is `[n_clips][n_frames][n_features]`. Values of one
    /// clip do not depend on the clips around it.
    ///
    /// # Errors
    /// [`Error::Setting`] for buffers of another length, a sample that is not finite (named), or as
    /// [`Extractor::check_length`].
    pub fn extract_into(
        &self,
        scratch: &mut Scratch,
        clips: &[f32],
        clip_len: usize,
        out: &mut [f32],
    ) -> Result<()> {
        self.check_length(clip_len)?;
        let n_frames = self.n_frames(clip_len);
        let n_clips = clips.len() / clip_len;
        if n_clips * clip_len != clips.len() {
            let rule = format!("must be a multiple of the clip length {clip_len}");
            return Err(Error::setting("n_samples", clips.len(), rule));
        }
        let clip_out = n_frames * self.n_features();
        if out.len() != n_clips * clip_out {
            let rule = format!("{n_clips} clips need {}", n_clips * clip_out);
            return Err(Error::setting("out.len()", out.len(), rule));
        }
        finite::check(clips, 0, clip_len, n_clips)?;
        self.extract_finite(scratch, clips, clip_len, out);
        Ok(())
    }

    /// [`Extractor::extract_into`] once all is checked.
    pub(crate) fn extract_finite(
        &self,
        scratch: &mut Scratch,
        clips: &[f32],
        clip_len: usize,
        out: &mut [f32],
    ) {
        let n_frames = self.n_frames(clip_len);
        let clip_out = n_frames * self.n_features();
        if clip_out == 0 {
            return;
        }
        let group_clips = (GROUP / n_frames).max(1);
        for (clips, out) in
            clips.chunks(group_clips * clip_len).zip(out.chunks_mut(group_clips * clip_out))
        {
            let signal = |clip: usize| Signal::whole(&clips[clip * clip_len..][..clip_len]);
            let frames = clips.len() / clip_len * n_frames;
            let mut group = std::mem::take(&mut scratch.group);
            self.first_pass(scratch, signal, n_frames, 0..frames, &mut group, out);
            self.second_pass(&mut group, n_frames, out);
            scratch.group = group;
        }
    }

    /// Frames `range` of the clips, counted through: into `out` if rows are laid out like the
    /// output, else into `group.rows`; with `group.energy` and `group.max`.
    pub(crate) fn first_pass<'s>(
        &self,
        scratch: &mut Scratch,
        signal: impl Fn(usize) -> Signal<'s>,
        n_frames: usize,
        range: Range<usize>,
        group: &mut Group,
        out: &mut [f32],
    ) {
        let width = self.row_width();
        let count = range.len();
        let direct = self.rows_are_output();
        group.rows.resize(if direct { 0 } else { count * width }, 0.0);
        group.energy.resize(if self.spec.energy == Energy::None { 0 } else { count }, 0.0);
        group.max.resize(if self.dynamic_range.is_some() { count } else { 0 }, 0.0);
        let rows = if direct { out } else { &mut group.rows[..] };
        if self.spec.kind == Kind::Samples {
            return self.copy_samples(signal, n_frames, range, rows);
        }

        let (span, hop) = (self.framing.span, self.framing.hop);
        for (i, rows) in rows.chunks_mut(TILE * width).enumerate() {
            let tile = i * TILE..(i * TILE + TILE).min(count);
            // The tile's part of every clip, padded, one after another.
            scratch.starts.clear();
            let (mut frame, end) = (range.start + tile.start, range.start + tile.end);
            let mut used = 0;
            while frame < end {
                let (clip, first) = (frame / n_frames, frame % n_frames);
                let n = (n_frames - first).min(end - frame);
                let samples = (n - 1) * hop + span;
                if scratch.padded.len() < used + samples + SLACK {
                    scratch.padded.resize(used + samples + SLACK, 0.0);
                }
                let padded = &mut scratch.padded[used..used + samples];
                self.framing.copy(signal(clip), first * hop, padded);
                scratch.starts.extend((0..n).map(|f| used + f * hop));
                used += samples;
                frame += n;
            }
            let energy = group.energy.get_mut(tile.clone()).unwrap_or_default();
            let max = group.max.get_mut(tile).unwrap_or_default();
            self.isa.dispatch(Tile { plan: self, scratch, rows, energy, max });
        }
    }

    /// The first pass of kind samples, whose frames are samples.
    fn copy_samples<'s>(
        &self,
        signal: impl Fn(usize) -> Signal<'s>,
        n_frames: usize,
        range: Range<usize>,
        mut rows: &mut [f32],
    ) {
        let mut frame = range.start;
        while frame < range.end {
            let (clip, first) = (frame / n_frames, frame % n_frames);
            let n = (n_frames - first).min(range.end - frame);
            let (now, later) = rows.split_at_mut(n);
            self.framing.copy(signal(clip), first, now);
            (rows, frame) = (later, frame + n);
        }
    }

    /// From the rows of whole clips to the output.
    fn second_pass(&self, group: &mut Group, n_frames: usize, out: &mut [f32]) {
        for (clip, out) in out.chunks_mut(n_frames * self.n_features()).enumerate() {
            let frames = clip * n_frames..(clip + 1) * n_frames;
            let max = group.max.get(frames.clone()).map(greatest);
            group.finish_frames(self, frames, max, out);
            self.finish_clip(out);
        }
    }

    /// The part of the second pass that needs all frames of a clip.
    pub(crate) fn finish_clip(&self, out: &mut [f32]) {
        let (n, width) = (self.n_static(), self.n_features());
        let FeatureSpec { deltas, delta_width, delta_fit, .. } = self.spec;
        for order in 1..=deltas {
            second_pass::append_deltas(out, width, n, order, delta_width, delta_fit);
        }
        second_pass::normalize(out, width, self.spec.normalize);
    }
}

/// The greatest of some numbers.
fn greatest(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// First pass over the frames of a tile, LANES at a time.
struct Tile<'a> {
    plan: &'a Extractor,
    scratch: &'a mut Scratch,
    rows: &'a mut [f32],
    energy: &'a mut [f32],
    max: &'a mut [f32],
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { plan, scratch, rows, energy, max } = self;
        let (span, width) = (plan.framing.span, plan.row_width());
        let (inset, length) = (plan.framing.inset, plan.spec.frame_length);
        let bands = s.cast_mut(&mut scratch.bands);
        let stft = plan.spec.kind == Kind::Stft;
        let blocks = scratch.starts.chunks(S::LANES).zip(rows.chunks_mut(S::LANES * width));
        for (block, (starts, rows)) in blocks.enumerate() {
            let mut block_energy = [s.splat(0.0)];
            let treated_starts: [usize; MAX_LANES] =
                std::array::from_fn(|lane| lane * (span + SLACK));
            let frames = if let Some(steps) = &plan.frame_steps {
                for (lane, &start) in starts.iter().enumerate() {
                    let frame = &scratch.padded[start + inset..][..length];
                    let treated = &mut scratch.frames[treated_starts[lane] + inset..][..length];
                    s.floats_mut(&mut block_energy)[lane] =
                        steps.apply(s, frame, &mut scratch.centred, treated);
                }
                Rows::new(&scratch.frames, &treated_starts[..starts.len()], span + SLACK)
            } else {
                Rows::new(&scratch.padded, starts, span + SLACK)
            };
            let output = if stft { Output::Complex } else { Output::Power };
            plan.fft.run(s, &frames, &mut scratch.fft, output, &mut scratch.spectrum);
            let spectrum = s.cast_mut(&mut scratch.spectrum);
            if stft {
                let cells = spectrum.as_chunks::<2>().0;
                store_complex(s, cells, &plan.positions, &mut RowsMut::new(rows, width));
                continue;
            }
            if plan.spec.power == 1 {
                for cell in &mut spectrum[..plan.spectrum_len] {
                    *cell = s.sqrt(*cell);
                }
            }
            if plan.spec.energy == Energy::Spectrum {
                // Cells without a bin are zero.
                let mut sum = s.splat(0.0);
                for &cell in &spectrum[..plan.spectrum_len] {
                    sum = s.add(sum, cell);
                }
                block_energy = [s.mul(sum, s.splat(plan.spectrum_scale))];
            }
            if let Some(filters) = &plan.filters {
                filters.apply(s, spectrum, bands);
            } else {
                let scale = s.splat(plan.spectrum_scale);
                for (band, &at) in bands.iter_mut().zip(&plan.positions) {
                    *band = s.mul(spectrum[at], scale);
                }
            }
            let values = &mut bands[..width];
            if let Some(log) = &plan.log {
                for value in &mut *values {
                    *value = log.apply(s, *value);
                }
                block_energy = [log.apply_to_energy(s, block_energy[0])];
            }
            let here = block * S::LANES;
            if let Some(max) = max.get_mut(here..here + starts.len()) {
                let mut greatest = values[0];
                for &value in &values[1..] {
                    greatest = s.max(greatest, value);
                }
                max.copy_from_slice(&s.floats(&[greatest])[..starts.len()]);
            }
            if let Some(energy) = energy.get_mut(here..here + starts.len()) {
                energy.copy_from_slice(&s.floats(&block_energy)[..starts.len()]);
            }
            store_rows(s, values, &mut RowsMut::new(rows, width));
        }
    }
}

/// `[width][lane]` → `[lane][width]`.
#[inline(always)]
fn store_rows<S: Simd>(s: S, values: &[S::V], rows: &mut RowsMut) {
    let (quads, rest) = values.as_chunks::<4>();
    for (i, quad) in quads.iter().enumerate() {
        s.store4(rows, 4 * i, *quad);
    }
    let first = 4 * quads.len();
    for (i, value) in rest.iter().enumerate() {
        for lane in 0..rows.n_rows() {
            rows.row(lane)[first + i] = s.floats(&[*value])[lane];
        }
    }
}

/// `[cell][lane]` → `[lane][bin]`, real and imaginary part in turn.
#[inline(always)]
fn store_complex<S: Simd>(s: S, cells: &[[S::V; 2]], positions: &[usize], rows: &mut RowsMut) {
    let (pairs, last) = positions.as_chunks::<2>();
    for (i, &[a, b]) in pairs.iter().enumerate() {
        let ([a_re, a_im], [b_re, b_im]) = (cells[a], cells[b]);
        s.store4(rows, 4 * i, [a_re, a_im, b_re, b_im]);
    }
    for &position in last {
        for lane in 0..rows.n_rows().min(S::LANES) {
            let bin = cells[position].map(|part| s.floats(&[part])[lane]);
            rows.row(lane)[4 * pairs.len()..].copy_from_slice(&bin);
        }
    }
}

/// Clamp, scale and DCT of some frames of one clip.
struct FinishFrames<'a> {
    plan: &'a Extractor,
    rows: Option<&'a mut [f32]>,
    energy: &'a [f32],
    floor: f32,
    out: &'a mut [f32],
}

impl Kernel for FinishFrames<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let FinishFrames { plan, rows, energy, floor, out } = self;
        let (scale, offset) = (plan.spec.scale as f32, plan.spec.offset as f32);
        let shaped = floor > f32::NEG_INFINITY || scale != 1.0 || offset != 0.0;
        let Some(rows) = rows else {
            if shaped {
                second_pass::clamp_and_scale(out, floor, scale, offset);
            }
            return;
        };
        if shaped {
            second_pass::clamp_and_scale(rows, floor, scale, offset);
        }
        let n = plan.n_static();
        let rows = rows.chunks_exact(plan.row_width());
        for (i, (row, out)) in rows.zip(out.chunks_exact_mut(plan.n_features())).enumerate() {
            match &plan.cepstrum {
                Some(cepstrum) => cepstrum.apply(s, row, &mut out[..n]),
                None => out[..n].copy_from_slice(row),
            }
            if let Some(&energy) = energy.get(i) {
                out[0] = energy;
            }
        }
    }
}
