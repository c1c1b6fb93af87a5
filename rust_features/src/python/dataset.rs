//! Bindings of the data-set engine.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use crate::cut::Cut;
use crate::dataset::{
    self, Content, Dtype, Extraction, Fallback, Listed, ListedSource, PlannedShard,
};
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::spec::FeatureSpec;

/// A recording as Python lists it, a tuple of these.
#[derive(FromPyObject)]
struct ListedTuple {
    /// None: `read` supplies its bytes.
    #[pyo3(item(0))]
    file: Option<PathBuf>,
    #[pyo3(item(1))]
    n_bytes: u64,
    #[pyo3(item(2))]
    mtime_ns: i64,
    /// Why it cannot be used.
    #[pyo3(item(3))]
    unusable: Option<String>,
    /// Where its clips may start: first sample and one past the last.
    #[pyo3(item(4))]
    only: Option<Vec<(usize, usize)>>,
}

impl From<ListedTuple> for Listed {
    fn from(listed: ListedTuple) -> Self {
        let ListedTuple { file, n_bytes, mtime_ns, unusable, only } = listed;
        let source = match (unusable, file) {
            (Some(reason), _) => ListedSource::Unusable(reason),
            (None, Some(path)) => ListedSource::File { path, n_bytes, mtime_ns },
            (None, None) => ListedSource::Bytes,
        };
        let only = only.map(|ranges| ranges.into_iter().map(|(start, end)| start..end).collect());
        Self { source, only }
    }
}

/// The Python functions that supply what the engine cannot reach or decode.
struct Callbacks {
    read: Option<Py<PyAny>>,
    decode: Option<Py<PyAny>>,
}

impl Fallback for Callbacks {
    fn bytes(&self, id: usize) -> std::result::Result<(Vec<u8>, String), String> {
        let Some(read) = &self.read else { return Err("no reader for its bytes".into()) };
        Python::attach(|py| {
            let bytes = read.bind(py).call1((id,)).and_then(|answer| answer.extract());
            bytes.map_err(reason)
        })
    }

    fn decode(&self, id: usize) -> std::result::Result<Option<Decoder>, String> {
        let Some(decode) = &self.decode else { return Ok(None) };
        Python::attach(|py| {
            let answer = decode.bind(py).call1((id,))?;
            let Some((sample_rate, channels, blocks)) =
                answer.extract::<Option<(u32, usize, Bound<'_, PyAny>)>>()?
            else {
                return Ok(None);
            };
            let blocks = blocks.try_iter()?.unbind();
            let read =
                Box::new(move |out: &mut Vec<f32>| Python::attach(|py| next(py, &blocks, out)));
            Ok(Some(Decoder::foreign("recording", sample_rate, channels, read)?))
        })
        .map_err(reason)
    }
}

/// Appends the next block of an iterator over arrays; false at its end.
fn next(
    py: Python<'_>,
    blocks: &Py<PyIterator>,
    out: &mut Vec<f32>,
) -> std::result::Result<bool, String> {
    let mut block = || {
        let Some(block) = blocks.bind(py).clone().next() else { return Ok(false) };
        out.extend_from_slice(block?.extract::<PyReadonlyArray1<'_, f32>>()?.as_slice()?);
        Ok(true)
    };
    block().map_err(reason)
}

fn reason(error: PyErr) -> String {
    Python::attach(|py| error.value(py).to_string())
}

fn content(spec: &str, cut: &str, dtype: &str) -> Result<Content> {
    let (spec, cut) = (FeatureSpec::from_json(spec)?, Cut::from_json(cut)?);
    Ok(Content { spec, cut, dtype: Dtype::named(dtype)? })
}

/// A running extraction; see `audiocls.store.extraction`.
#[pyclass(name = "Extraction")]
struct PyExtraction(Option<Extraction>);

#[pymethods]
impl PyExtraction {
    #[new]
    #[pyo3(signature = (spec, cut, dtype, *, sources, folder, shards, threads, read=None, decode=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        spec: &str,
        cut: &str,
        dtype: &str,
        sources: Vec<ListedTuple>,
        folder: PathBuf,
        shards: Vec<(usize, usize, usize)>,
        threads: usize,
        read: Option<Py<PyAny>>,
        decode: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let content = content(spec, cut, dtype)?;
        let listed = sources.into_iter().map(Listed::from).collect();
        let shard = |(number, start, end)| PlannedShard { number, recordings: start..end };
        let shards = shards.into_iter().map(shard).collect();
        let fallback = Box::new(Callbacks { read, decode });
        let extraction =
            py.detach(|| Extraction::start(content, listed, fallback, &folder, shards, threads))?;
        Ok(Self(Some(extraction)))
    }

    /// Waits at most `timeout_s`; whether the work has ended.
    fn wait(&self, py: Python<'_>, timeout_s: f64) -> bool {
        let timeout = Duration::from_secs_f64(timeout_s.max(0.0));
        self.0.as_ref().is_none_or(|extraction| py.detach(|| extraction.wait(timeout)))
    }

    /// (recordings, failed, clips, seconds of audio) so far.
    fn progress(&self) -> (usize, usize, usize, f64) {
        self.0.as_ref().map_or((0, 0, 0, 0.0), |extraction| {
            let progress = extraction.progress();
            (progress.recordings, progress.failed, progress.clips, progress.audio_s)
        })
    }

    /// Asks all threads to stop.
    fn cancel(&self) {
        if let Some(extraction) = &self.0 {
            extraction.cancel();
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// OSError if a shard could not be written, KeyboardInterrupt after `cancel`.
    fn join(&mut self, py: Python<'_>) -> PyResult<()> {
        match self.0.take() {
            Some(mut extraction) => Ok(py.detach(move || extraction.join())?),
            None => Ok(()),
        }
    }
}

impl Drop for PyExtraction {
    fn drop(&mut self) {
        if let Some(extraction) = self.0.take() {
            // Its threads may be waiting for the GIL that this thread holds.
            Python::attach(|py| py.detach(move || drop(extraction)));
        }
    }
}

/// The shape of a clip [frames, features], or of a frame [features] for clips of variable length.
///
/// # Errors
/// SettingError for a spec or setting that no extraction could honour.
#[pyfunction]
fn clip_shape(spec: &str, cut: &str, dtype: &str) -> PyResult<Vec<usize>> {
    let content = content(spec, cut, dtype)?;
    let extractor = dataset::check(&content)?;
    Ok(dataset::row_shape(&extractor, &content.cut))
}

/// Length in bytes and XXH3 (128 bit, hexadecimal) of a file.
#[pyfunction]
fn checksum(py: Python<'_>, path: PathBuf) -> PyResult<(u64, String)> {
    Ok(py.detach(|| crate::checksum::checksum(&path))?)
}

/// What recordings.csv calls `audio_hash`, of the mono samples of a recording at its own rate.
#[pyfunction]
fn audio_hash(samples: PyReadonlyArray1<'_, f32>) -> PyResult<String> {
    let digest = xxhash_rust::xxh3::xxh3_128(bytemuck::cast_slice(samples.as_slice()?));
    Ok(format!("{digest:032x}"))
}

/// An exclusive lock on a file, held until the object is dropped or the process ends.
#[pyclass]
struct FileLock(#[allow(dead_code)] File);

#[pymethods]
impl FileLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// BlockingIOError if another process holds it, OSError if the file cannot be made.
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        let io = |source| Error::Io { path: path.clone(), source };
        let file = File::create(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(pyo3::exceptions::PyBlockingIOError::new_err("locked by another process"))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(io(error).into()),
        }
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyExtraction>()?;
    module.add_class::<FileLock>()?;
    module.add_function(wrap_pyfunction!(audio_hash, module)?)?;
    module.add_function(wrap_pyfunction!(checksum, module)?)?;
    module.add_function(wrap_pyfunction!(clip_shape, module)?)
}
