//! Bindings of the data-set engine.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;

use crate::dataset::{self, Decoded, Dtype, Outside, Settings, Short, Source};
use crate::spec::FeatureSpec;
use crate::{Error, Result};

/// What a recording's samples come from: file, size, mtime_ns, why it is unusable.
type SourceTuple = (Option<PathBuf>, u64, i64, Option<String>);

/// The Python functions that supply what the engine cannot reach or decode.
struct Callbacks {
    read: Option<Py<PyAny>>,
    decode: Option<Py<PyAny>>,
}

impl Outside for Callbacks {
    fn bytes(&self, id: usize) -> std::result::Result<(Vec<u8>, String), String> {
        let Some(read) = &self.read else { return Err("no reader for its bytes".into()) };
        Python::attach(|py| {
            let bytes = read.bind(py).call1((id,)).and_then(|answer| answer.extract());
            bytes.map_err(|error| error.value(py).to_string())
        })
    }

    fn decode(&self, id: usize) -> Option<Decoded> {
        let decode = self.decode.as_ref()?;
        Python::attach(|py| {
            // A second decoder that fails says no more than the first has said already.
            let answer = decode.bind(py).call1((id,)).ok()?;
            let (samples, sample_rate) =
                answer.extract::<(Bound<'_, PyArray1<f32>>, u32)>().ok()?;
            Some(Decoded { samples: samples.to_vec().ok()?, sample_rate })
        })
    }
}

pub(super) fn short(name: &str) -> Result<Short> {
    Ok(match name {
        "pad" => Short::Pad,
        "repeat" => Short::Repeat,
        "drop" => Short::Drop,
        _ => return Err(Error::setting("short", name, "must be pad, repeat or drop")),
    })
}

fn settings(clip_s: f64, hop_s: f64, short: &str, min_rms: f32, dtype: &str) -> Result<Settings> {
    let short = self::short(short)?;
    let dtype = match dtype {
        "float32" => Dtype::Float32,
        "float16" => Dtype::Float16,
        "int16" => Dtype::Int16,
        _ => return Err(Error::setting("dtype", dtype, "must be float32, float16 or int16")),
    };
    Ok(Settings { clip_s, hop_s, short, min_rms, dtype })
}

fn spec(json: &str) -> Result<FeatureSpec> {
    serde_json::from_str(json).map_err(|error| Error::setting("spec", json, error.to_string()))
}

/// A running extraction; see `audiocls.store`.
#[pyclass]
struct Extraction(Option<dataset::Extraction>);

#[pymethods]
impl Extraction {
    #[new]
    #[pyo3(signature = (spec_json, *, clip_s, hop_s, short, min_rms, dtype, sources, folder, shards, threads, read=None, decode=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        spec_json: &str,
        clip_s: f64,
        hop_s: f64,
        short: &str,
        min_rms: f32,
        dtype: &str,
        sources: Vec<SourceTuple>,
        folder: PathBuf,
        shards: Vec<(usize, usize, usize)>,
        threads: usize,
        read: Option<Py<PyAny>>,
        decode: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let settings = settings(clip_s, hop_s, short, min_rms, dtype)?;
        let spec = spec(spec_json)?;
        let sources = sources.into_iter().map(source).collect();
        let shards: Vec<(usize, Range<usize>)> =
            shards.into_iter().map(|(number, start, end)| (number, start..end)).collect();
        let outside = Box::new(Callbacks { read, decode });
        let extraction = py.detach(|| {
            dataset::Extraction::start(spec, settings, sources, outside, &folder, shards, threads)
        })?;
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

    /// Waits for the end. Raises OSError if a shard could not be written, KeyboardInterrupt after
    /// `cancel`.
    fn join(&mut self, py: Python<'_>) -> PyResult<()> {
        match self.0.take() {
            Some(mut extraction) => Ok(py.detach(move || extraction.join())?),
            None => Ok(()),
        }
    }
}

impl Drop for Extraction {
    fn drop(&mut self) {
        if let Some(extraction) = self.0.take() {
            // Its threads may be waiting for the GIL that this thread holds.
            Python::attach(|py| py.detach(move || drop(extraction)));
        }
    }
}

fn source((path, n_bytes, mtime_ns, unusable): SourceTuple) -> Source {
    match (unusable, path) {
        (Some(reason), _) => Source::Unusable(reason),
        (None, Some(path)) => Source::File { path, n_bytes, mtime_ns },
        (None, None) => Source::Bytes,
    }
}

/// The shape of a clip [frames, features], or of a frame [features] for clips of variable length.
/// Raises ValueError for a spec or setting that no extraction could honour.
#[pyfunction]
#[pyo3(signature = (spec_json, *, clip_s, hop_s, short, min_rms, dtype))]
fn clip_shape(
    spec_json: &str,
    clip_s: f64,
    hop_s: f64,
    short: &str,
    min_rms: f32,
    dtype: &str,
) -> PyResult<Vec<usize>> {
    let settings = settings(clip_s, hop_s, short, min_rms, dtype)?;
    let extractor = dataset::check(spec(spec_json)?, &settings)?;
    Ok(dataset::row_shape(&extractor, &settings))
}

/// An exclusive lock on a file, held until the object is dropped or the process ends.
#[pyclass]
struct FileLock(#[allow(dead_code)] File);

#[pymethods]
impl FileLock {
    /// Raises BlockingIOError if another process holds the lock, OSError if the file cannot be made.
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
    module.add_class::<Extraction>()?;
    module.add_class::<FileLock>()?;
    module.add_function(wrap_pyfunction!(clip_shape, module)?)
}
