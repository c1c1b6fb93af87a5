//! The bindings: the only folder that names PyO3. Each function takes arguments, releases the GIL
//! around all work, and maps errors; nothing is computed here.

mod audio;
mod augment;
mod cut;
mod dataset;
mod features;

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError};
use pyo3::prelude::*;

use crate::error::{Error, Result, Value};

/// Does `work` without the GIL. It calls `poll` now and then, and stops with the error of that:
/// what a signal's handler raised, which need not be `KeyboardInterrupt`.
fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<T> + Send,
) -> PyResult<T> {
    let mut raised = None;
    let result = py.detach(|| {
        work(&mut || {
            Python::attach(|py| py.check_signals()).map_err(|error| {
                raised = Some(error);
                Error::Interrupted
            })
        })
    });
    raised.map_or_else(|| Ok(result?), Err)
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Setting { name, value, rule } => setting_error(&name, &value, &rule),
            // Of these three Python makes FileNotFoundError, PermissionError and so on.
            Error::Io { path, source } if source.raw_os_error().is_some() => {
                let code = source.raw_os_error();
                let text = source.to_string();
                let reason = text.split(" (os error").next().unwrap_or_default().to_owned();
                PyOSError::new_err((code, reason, path.into_os_string()))
            }
            Error::Decode { .. } | Error::Io { .. } => PyOSError::new_err(error.to_string()),
            Error::Unusable { .. } => python_error("UnusableError", &error.to_string()),
            Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        }
    }
}

/// `audiocls.errors.DataError`.
fn data_error(reason: &str) -> PyErr {
    python_error("DataError", reason)
}

/// An error of the module `audiocls.errors`.
fn python_error(name: &str, reason: &str) -> PyErr {
    Python::attach(|py| {
        let error = py.import("audiocls.errors")?.getattr(name)?;
        Ok(PyErr::from_value(error.call1((reason,))?))
    })
    .unwrap_or_else(|error: PyErr| error)
}

/// `audiocls.errors.SettingError`.
fn setting_error(name: &str, value: &Value, rule: &str) -> PyErr {
    Python::attach(|py| {
        let value = match value {
            Value::Whole(value) => value.into_pyobject(py)?.into_any(),
            Value::Real(value) => value.into_pyobject(py)?.into_any(),
            Value::Text(value) => value.into_pyobject(py)?.into_any(),
        };
        let error = py.import("audiocls.errors")?.getattr("SettingError")?;
        Ok(PyErr::from_value(error.call1((name, value, rule))?))
    })
    .unwrap_or_else(|error: PyErr| error)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::simd::Isa::check_environment()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    audio::register(module)?;
    features::register(module)?;
    cut::register(module)?;
    dataset::register(module)?;
    augment::register(module)?;
    Ok(())
}
