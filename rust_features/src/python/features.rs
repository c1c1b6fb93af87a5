//! `audiocls.engine.features`: specs, extractors, streams.

use std::sync::Arc;

use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray3,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::cut::PyCutter;
use super::interruptible;
use crate::error::Error;
use crate::extractor::Extractor;
use crate::parallel::{ScratchPool, extract_batch};
use crate::simd::Isa;
use crate::spec::FeatureSpec;
use crate::stream::Stream;

/// Adds this file's classes and functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(presets, module)?)?;
    module.add_function(wrap_pyfunction!(check_spec, module)?)?;
    module.add_function(wrap_pyfunction!(instruction_sets, module)?)?;
    module.add_class::<PyExtractor>()?;
    module.add_class::<StreamingExtractor>()
}

/// Names and specs (JSON) of all presets.
#[pyfunction]
fn presets() -> Vec<(&'static str, String)> {
    FeatureSpec::presets().into_iter().map(|(name, spec)| (name, spec.to_json())).collect()
}

/// Checks a spec (JSON) and returns it with every field.
#[pyfunction]
fn check_spec(json: &str) -> PyResult<String> {
    Ok(FeatureSpec::from_json(json)?.to_json())
}

/// Names of the instruction sets that this machine can run, fastest first.
#[pyfunction]
fn instruction_sets() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// A plan for one spec (JSON).
#[pyclass(name = "Extractor", frozen, module = "audiocls._native")]
struct PyExtractor {
    plan: Arc<Extractor>,
    pool: ScratchPool,
    threads: usize,
}

#[pymethods]
impl PyExtractor {
    #[new]
    #[pyo3(signature = (spec, threads, isa=None))]
    fn new(spec: &str, threads: usize, isa: Option<&str>) -> PyResult<Self> {
        if threads == 0 {
            return Err(Error::setting("threads", threads, "must be >= 1").into());
        }
        let isa = isa.map_or_else(|| Ok(Isa::best()), Isa::named)?;
        let plan = Extractor::with_isa(FeatureSpec::from_json(spec)?, isa)?;
        Ok(Self { plan: Arc::new(plan), pool: ScratchPool::default(), threads })
    }

    /// Frames of a clip of `n_samples`.
    fn n_frames(&self, n_samples: usize) -> usize {
        self.plan.n_frames(n_samples)
    }

    /// Floats a frame.
    #[getter]
    fn n_features(&self) -> usize {
        self.plan.n_features()
    }

    /// Name of the instruction set in use.
    #[getter]
    fn isa(&self) -> &'static str {
        self.plan.isa().name()
    }

    /// Mel filters whose output is constant because they lie between two bins.
    fn empty_filters(&self) -> Vec<usize> {
        self.plan.empty_filters()
    }

    /// Refuses clip lengths that the spec cannot serve.
    fn check_length(&self, n_samples: usize) -> PyResult<()> {
        Ok(self.plan.check_length(n_samples)?)
    }

    /// Fills `out` `[n_clips, n_frames, n_features]` with the features of `clips`
    /// `[n_clips, n_samples]`, both C-contiguous.
    fn batch(
        &self,
        py: Python<'_>,
        clips: PyReadonlyArray2<'_, f32>,
        mut out: PyReadwriteArray3<'_, f32>,
    ) -> PyResult<()> {
        let clip_len = clips.shape()[1];
        let clips = clips.as_slice()?;
        let out = out.as_slice_mut()?;
        interruptible(py, |poll| {
            extract_batch(&self.plan, &self.pool, self.threads, clips, clip_len, out, poll)
        })
    }

    /// What cuts a recording into clips as `cut` (JSON) says, and extracts `at_once` of them at most at
    /// a time.
    fn cutter(&self, cut: &str, at_once: usize) -> PyResult<PyCutter> {
        Ok(PyCutter::new(Arc::clone(&self.plan), cut, at_once, self.threads)?)
    }

    /// A stream over the same plan.
    fn stream(&self) -> StreamingExtractor {
        let stream = Stream::new(&self.plan);
        StreamingExtractor { plan: Arc::clone(&self.plan), stream }
    }
}

/// A signal that arrives in pieces.
#[pyclass(module = "audiocls._native")]
struct StreamingExtractor {
    plan: Arc<Extractor>,
    stream: Stream,
}

#[pymethods]
impl StreamingExtractor {
    /// Features, one after another, of the frames that `chunk` completes.
    fn push<'py>(
        &mut self,
        py: Python<'py>,
        chunk: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let chunk = chunk.as_slice()?;
        let mut out = Vec::new();
        py.detach(|| self.stream.push(&self.plan, chunk, &mut out))?;
        Ok(out.into_pyarray(py))
    }

    /// Features of the remaining frames.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let mut out = Vec::new();
        py.detach(|| self.stream.finish(&self.plan, &mut out))?;
        Ok(out.into_pyarray(py))
    }
}
