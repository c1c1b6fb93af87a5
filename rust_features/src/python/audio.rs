//! `load`, `load_bytes`, `Blocks`, `resample` and `Resampler`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::interruptible;
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::load::Samples;
use crate::resample::Resampler;

/// How long Ctrl-C may wait.
const SIGNAL_PERIOD: Duration = Duration::from_millis(100);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(load, module)?)?;
    module.add_function(wrap_pyfunction!(load_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(probe, module)?)?;
    module.add_function(wrap_pyfunction!(probe_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(resample, module)?)?;
    module.add_class::<Blocks>()?;
    module.add_class::<PyResampler>()
}

/// Mono float32 samples of a recording and their rate.
#[pyfunction]
#[pyo3(signature = (path, sample_rate=None))]
fn load(
    py: Python<'_>,
    path: PathBuf,
    sample_rate: Option<u32>,
) -> PyResult<(Bound<'_, PyArray1<f32>>, u32)> {
    let (samples, rate) = interruptible(py, |poll| read(Samples::open(path, sample_rate)?, poll))?;
    Ok((samples.into_pyarray(py), rate))
}

/// The same from the bytes of a file; `name` stands for the path in errors.
#[pyfunction]
#[pyo3(signature = (data, name, sample_rate=None))]
fn load_bytes<'py>(
    py: Python<'py>,
    data: &[u8],
    name: PathBuf,
    sample_rate: Option<u32>,
) -> PyResult<(Bound<'py, PyArray1<f32>>, u32)> {
    let data = data.to_vec();
    let (samples, rate) =
        interruptible(py, |poll| read(Samples::from_bytes(data, name, sample_rate)?, poll))?;
    Ok((samples.into_pyarray(py), rate))
}

/// A recording that is read piece by piece, so that its length costs no memory.
#[pyclass(frozen, module = "audiocls._native")]
struct Blocks {
    samples: Mutex<Samples>,
}

#[pymethods]
impl Blocks {
    #[new]
    #[pyo3(signature = (path, sample_rate=None))]
    fn new(py: Python<'_>, path: PathBuf, sample_rate: Option<u32>) -> PyResult<Self> {
        let samples = py.detach(|| Samples::open(path, sample_rate))?;
        Ok(Self { samples: Mutex::new(samples) })
    }

    /// The same from the bytes of a file; `name` stands for the path in errors.
    #[staticmethod]
    #[pyo3(signature = (data, name, sample_rate=None))]
    fn from_bytes(
        py: Python<'_>,
        data: &[u8],
        name: PathBuf,
        sample_rate: Option<u32>,
    ) -> PyResult<Self> {
        let data = data.to_vec();
        let samples = py.detach(|| Samples::from_bytes(data, name, sample_rate))?;
        Ok(Self { samples: Mutex::new(samples) })
    }

    /// Samples per second.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).sample_rate()
    }

    /// At least `n_samples` mono float32 samples, fewer at the end of the recording, then none.
    fn read<'py>(&self, py: Python<'py>, n_samples: usize) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let block = py.detach(|| {
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            let mut block = Vec::new();
            while block.len() < n_samples && samples.read(&mut block, |_| ())? {}
            Ok::<_, Error>(block)
        })?;
        Ok(block.into_pyarray(py))
    }
}

/// Samples, rate in Hz and channels of a recording, from its header where that tells.
#[pyfunction]
fn probe(py: Python<'_>, path: PathBuf) -> PyResult<(u64, u32, usize)> {
    Ok(py.detach(|| measure(Decoder::open(path)?))?)
}

/// The same from the bytes of a file; `name` stands for the path in errors.
#[pyfunction]
fn probe_bytes(py: Python<'_>, data: &[u8], name: PathBuf) -> PyResult<(u64, u32, usize)> {
    let data = data.to_vec();
    Ok(py.detach(|| measure(Decoder::from_bytes(data, name)?))?)
}

fn measure(decoder: Decoder) -> Result<(u64, u32, usize)> {
    let (rate, channels) = (decoder.sample_rate(), decoder.channels());
    Ok((decoder.count()?, rate, channels))
}

/// float32 samples at `from_hz` → float32 samples at `to_hz`.
#[pyfunction]
fn resample<'py>(
    py: Python<'py>,
    samples: PyReadonlyArray1<'py, f32>,
    from_hz: u32,
    to_hz: u32,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let samples = samples.as_slice()?;
    let out = py.detach(|| crate::resample::resample(samples, from_hz, to_hz))?;
    Ok(out.into_pyarray(py))
}

/// The same for a signal that arrives in pieces.
#[pyclass(name = "Resampler", module = "audiocls._native")]
struct PyResampler {
    inner: Resampler,
}

#[pymethods]
impl PyResampler {
    #[new]
    fn new(py: Python<'_>, from_hz: u32, to_hz: u32) -> PyResult<Self> {
        Ok(Self { inner: py.detach(|| Resampler::new(from_hz, to_hz))? })
    }

    /// The samples that are complete with these.
    fn push<'py>(
        &mut self,
        py: Python<'py>,
        samples: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let samples = samples.as_slice()?;
        let mut out = Vec::new();
        py.detach(|| self.inner.process(samples, &mut out));
        Ok(out.into_pyarray(py))
    }

    /// The rest; the next samples begin another signal.
    fn finish<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        let mut out = Vec::new();
        py.detach(|| self.inner.finish(&mut out));
        out.into_pyarray(py)
    }
}

fn read(mut samples: Samples, poll: &mut dyn FnMut() -> Result<()>) -> Result<(Vec<f32>, u32)> {
    let mut checked = Instant::now();
    let all = samples.read_all(|| {
        if checked.elapsed() < SIGNAL_PERIOD {
            return Ok(());
        }
        checked = Instant::now();
        poll()
    })?;
    Ok((all, samples.sample_rate()))
}
