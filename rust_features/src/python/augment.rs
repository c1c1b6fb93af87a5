//! Augmentation: from samples in memory to the features of augmented clips.

use numpy::{
    PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::interruptible;
use crate::augment::{self, Augmenter, Destination, Item, Pcm, Settings, Treatment};
use crate::cut::Short;
use crate::error::{Error, Result};
use crate::spec::FeatureSpec;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(check_augmentation, module)?)?;
    module.add("MOST_FOLLOWING", augment::MOST_FOLLOWING)?;
    module.add_class::<PyAugmenter>()
}

/// Checks the settings of augmentation (JSON) and returns them with every field.
#[pyfunction]
fn check_augmentation(json: &str) -> PyResult<String> {
    let settings = Settings::from_json(json)?;
    Ok(serde_json::to_string(&settings).expect("a plain struct always serialises"))
}

/// A plan for clips of one length.
#[pyclass(name = "Augmenter", frozen, module = "audiocls._native")]
struct PyAugmenter {
    plan: Augmenter,
    threads: usize,
}

/// int16 or float32.
#[derive(FromPyObject)]
enum Array<'py> {
    Int16(PyReadonlyArray1<'py, i16>),
    Float32(PyReadonlyArray1<'py, f32>),
}

impl Array<'_> {
    fn samples(&self) -> PyResult<Pcm<'_>> {
        Ok(match self {
            Self::Int16(array) => Pcm::Int16(array.as_slice()?),
            Self::Float32(array) => Pcm::Float32(array.as_slice()?),
        })
    }
}

#[pymethods]
impl PyAugmenter {
    #[new]
    #[pyo3(signature = (spec, settings, clip_samples, *, short, threads, impulses, noises))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        spec: &str,
        settings: &str,
        clip_samples: usize,
        short: &str,
        threads: usize,
        impulses: Vec<PyReadonlyArray1<'_, f32>>,
        noises: Vec<PyReadonlyArray1<'_, f32>>,
    ) -> PyResult<Self> {
        if threads == 0 {
            return Err(Error::setting("threads", threads, "must be >= 1").into());
        }
        let (spec, settings) = (FeatureSpec::from_json(spec)?, Settings::from_json(settings)?);
        let short = Short::named(short)?;
        let copies = |arrays: Vec<PyReadonlyArray1<'_, f32>>| {
            arrays.iter().map(|array| Ok(array.as_slice()?.to_vec())).collect::<PyResult<Vec<_>>>()
        };
        let (impulses, noises) = (copies(impulses)?, copies(noises)?);
        let plan =
            py.detach(|| Augmenter::new(spec, &settings, clip_samples, short, &impulses, noises))?;
        Ok(Self { plan, threads })
    }

    /// Frames of a clip.
    #[getter]
    fn n_frames(&self) -> usize {
        self.plan.extractor().n_frames(self.plan.clip_len())
    }

    /// Floats a frame.
    #[getter]
    fn n_features(&self) -> usize {
        self.plan.extractor().n_features()
    }

    /// All that is drawn for clip `index` of an epoch, from a recording of `n_samples`, as JSON.
    fn drawn(&self, epoch: u64, index: u64, n_samples: usize) -> String {
        let drawn = self.plan.draw(epoch, index, n_samples);
        serde_json::to_string(&drawn).expect("a plain struct always serialises")
    }

    /// Fills `out`, features `[n, n_frames, n_features]` or waveforms `[n, clip_samples]`, with
    /// augmented clips. Clip i is of the recording `arrays[a][first:end]`, (a, first, end) =
    /// `spans[i]`, and drawn for (`epoch`, `indices[i]`). With `mix`, (spans, indices, weights), each
    /// is mixed with another. `following`, spans `[n, k, 3]`: what may follow each in a phrase.
    #[pyo3(signature = (arrays, spans, indices, epoch, out, mix=None, following=None))]
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn batch(
        &self,
        py: Python<'_>,
        arrays: Vec<Array<'_>>,
        spans: PyReadonlyArray2<'_, i64>,
        indices: PyReadonlyArray1<'_, i64>,
        epoch: u64,
        out: PyReadwriteArrayDyn<'_, f32>,
        mix: Option<(
            PyReadonlyArray2<'_, i64>,
            PyReadonlyArray1<'_, i64>,
            PyReadonlyArray1<'_, f32>,
        )>,
        following: Option<PyReadonlyArray3<'_, i64>>,
    ) -> PyResult<()> {
        let arrays = arrays.iter().map(Array::samples).collect::<PyResult<Vec<_>>>()?;
        let mut items = items(&arrays, &spans, Some(indices.as_slice()?))?;
        let notes;
        if let Some(spans) = &following {
            let &[n, each, width] = spans.shape() else { unreachable!("it has three axes") };
            if (n, width) != (items.len(), 3) {
                let rule = format!("must be [n, k, 3], n the clips, {}", items.len());
                return Err(Error::setting("following", n * each, rule).into());
            }
            notes = recordings(&arrays, spans.as_slice()?)?;
            for (i, item) in items.iter_mut().enumerate() {
                item.following = &notes[i * each..(i + 1) * each];
            }
        }
        let others = match &mix {
            Some((spans, indices, weights)) => {
                Some((self::items(&arrays, spans, Some(indices.as_slice()?))?, weights.as_slice()?))
            }
            None => None,
        };
        let mix = others.as_ref().map(|(items, weights)| (&items[..], *weights));
        self.run(py, &items, Treatment::Augment { epoch, mix }, out)
    }

    /// The same without augmentation, from clips that start `starts[i]` samples into their recording.
    fn plain(
        &self,
        py: Python<'_>,
        arrays: Vec<Array<'_>>,
        spans: PyReadonlyArray2<'_, i64>,
        starts: PyReadonlyArray1<'_, i64>,
        out: PyReadwriteArrayDyn<'_, f32>,
    ) -> PyResult<()> {
        let arrays = arrays.iter().map(Array::samples).collect::<PyResult<Vec<_>>>()?;
        let items = items(&arrays, &spans, None)?;
        let starts = starts.as_slice()?.iter().map(|&start| {
            usize::try_from(start).map_err(|_| Error::setting("start", start, "must be >= 0"))
        });
        let starts = starts.collect::<Result<Vec<_>>>()?;
        self.run(py, &items, Treatment::Plain(&starts), out)
    }
}

impl PyAugmenter {
    fn run(
        &self,
        py: Python<'_>,
        items: &[Item],
        treatment: Treatment,
        mut out: PyReadwriteArrayDyn<'_, f32>,
    ) -> PyResult<()> {
        let waveforms = out.shape().len() == 2;
        let out = out.as_slice_mut()?;
        interruptible(py, |poll| {
            let out =
                if waveforms { Destination::Waveforms(out) } else { Destination::Features(out) };
            self.plan.batch(self.threads, items, treatment, out, poll)
        })
    }
}

/// The recordings that `spans` `[n, 3]` name, with their numbers.
fn items<'a>(
    arrays: &[Pcm<'a>],
    spans: &PyReadonlyArray2<'_, i64>,
    indices: Option<&[i64]>,
) -> PyResult<Vec<Item<'a>>> {
    let recordings = recordings(arrays, spans.as_slice()?)?;
    if indices.is_some_and(|indices| indices.len() != recordings.len()) {
        let rule = "must be [n, 3], with as many indices";
        return Err(Error::setting("spans", recordings.len(), rule).into());
    }
    let item = |(i, recording)| {
        let index = indices.map_or(0, |indices| indices[i] as u64);
        Item { recording, following: &[], index }
    };
    Ok(recordings.into_iter().enumerate().map(item).collect())
}

/// The recordings that `spans`, (array, first, end) one after another, name.
fn recordings<'a>(arrays: &[Pcm<'a>], spans: &[i64]) -> PyResult<Vec<Pcm<'a>>> {
    let (spans, rest) = spans.as_chunks::<3>();
    if !rest.is_empty() {
        return Err(Error::setting("spans", rest.len(), "must be [n, 3]").into());
    }
    let recording = |&[array, first, end]: &[i64; 3]| {
        let place = |at: i64| usize::try_from(at).ok();
        let found = place(array)
            .and_then(|array| arrays.get(array))
            .and_then(|samples| samples.get(place(first)?, place(end)?));
        let name =
            || Error::setting("span", &*format!("{array}, {first}, {end}"), "lies in no array");
        Ok(found.ok_or_else(name)?)
    };
    spans.iter().map(recording).collect()
}
