//! `Cut` and `Cutter`: how recordings become clips. Cuts travel as JSON.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray3, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use super::{data_error, interruptible};
use crate::cut::{Batch, Cut, Cutter, Pace, Poll, Reason, Take};
use crate::error::{Error, Result};
use crate::extractor::Extractor;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(check_cut, module)?)?;
    module.add_function(wrap_pyfunction!(cut_lengths, module)?)?;
    module.add_function(wrap_pyfunction!(starts, module)?)?;
    module.add_class::<PyCutter>()
}

/// Checks a cut and returns it with every field.
#[pyfunction]
fn check_cut(json: &str) -> PyResult<String> {
    Ok(Cut::from_json(json)?.to_json())
}

/// Samples of a clip (0: whole recordings), and from clip to clip.
///
/// # Errors
/// SettingError where one has no sample.
#[pyfunction]
fn cut_lengths(json: &str, sample_rate: u32) -> PyResult<(usize, usize)> {
    let cut = at(json, sample_rate)?;
    Ok((cut.clip_len(sample_rate), cut.hop_len(sample_rate)))
}

/// The clips of recordings of so many samples: int64 [m] index of the recording, int64 [m] first
/// sample. Silence is not looked for.
#[pyfunction]
#[allow(clippy::type_complexity)]
fn starts<'py>(
    py: Python<'py>,
    json: &str,
    sample_rate: u32,
    lengths: PyReadonlyArray1<'py, i64>,
) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>)> {
    let cut = at(json, sample_rate)?;
    let (mut recordings, mut starts) = (Vec::new(), Vec::new());
    for (i, &n_samples) in lengths.as_slice()?.iter().enumerate() {
        let n_samples = usize::try_from(n_samples)
            .map_err(|_| Error::setting("n_samples", n_samples, "must be >= 0"))?;
        starts.extend(cut.starts(n_samples, sample_rate).map(|start| start as i64));
        recordings.resize(starts.len(), i as i64);
    }
    Ok((recordings.into_pyarray(py), starts.into_pyarray(py)))
}

fn at(json: &str, sample_rate: u32) -> Result<Cut> {
    let cut = Cut::from_json(json)?;
    cut.validate_at(sample_rate)?;
    Ok(cut)
}

/// Where clips start, int64 [n], and their features, float32 [n, frames, features].
type ClipArrays<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray3<f32>>);

/// Takes the samples of one recording, and gives its clips as they are complete.
#[pyclass(name = "Cutter", module = "audiocls._native")]
pub struct PyCutter {
    cutter: Cutter,
    n_features: usize,
}

impl PyCutter {
    pub fn new(
        extractor: Arc<Extractor>,
        cut: &str,
        at_once: usize,
        threads: usize,
    ) -> Result<Self> {
        let cut = at(cut, extractor.spec().sample_rate)?;
        let n_features = extractor.n_features();
        Ok(Self { cutter: Cutter::new(extractor, &cut, Pace::Soon(at_once), threads), n_features })
    }

    fn run<'py>(
        &mut self,
        py: Python<'py>,
        work: impl FnOnce(&mut Cutter, Take, Poll) -> Result<Option<Reason>> + Send,
    ) -> PyResult<Vec<ClipArrays<'py>>> {
        let mut batches = Vec::new();
        let mut take = |batch: Batch| {
            batches.push(batch);
            Ok(())
        };
        let reason = interruptible(py, |poll| work(&mut self.cutter, &mut take, poll))?;
        if let Some(reason) = reason {
            return Err(data_error(reason));
        }
        batches.into_iter().map(|batch| self.clips(py, batch)).collect()
    }

    fn clips<'py>(&self, py: Python<'py>, batch: Batch) -> PyResult<ClipArrays<'py>> {
        let Batch { mut starts, features } = batch;
        if starts.is_empty() {
            starts.push(0); // All frames of a whole recording.
        }
        let frames = features.len() / (starts.len() * self.n_features);
        let features =
            features.into_pyarray(py).reshape([starts.len(), frames, self.n_features])?;
        let starts: Vec<i64> = starts.into_iter().map(|start| start as i64).collect();
        Ok((starts.into_pyarray(py), features))
    }
}

#[pymethods]
impl PyCutter {
    /// Samples of the recording so far.
    #[getter]
    fn n_samples(&self) -> usize {
        self.cutter.n_samples()
    }

    /// The clips that are complete with these samples.
    ///
    /// # Errors
    /// DataError if nothing can come of the recording.
    fn push<'py>(
        &mut self,
        py: Python<'py>,
        samples: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Vec<ClipArrays<'py>>> {
        let samples = samples.as_slice()?;
        self.run(py, |cutter, take, poll| {
            cutter.pcm().extend_from_slice(samples);
            cutter.advance(take, poll)
        })
    }

    /// The rest.
    ///
    /// # Errors
    /// DataError if the recording gives no clip at all.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<ClipArrays<'py>>> {
        self.run(py, Cutter::finish)
    }
}
