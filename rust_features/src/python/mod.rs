//! The bindings: the only folder that names PyO3. Each function takes arguments, releases the GIL
//! around all work, and maps errors; nothing is computed here.

mod audio;

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::Error;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Setting { .. } => PyValueError::new_err(error.to_string()),
            Error::Decode { .. } | Error::Io { .. } => PyOSError::new_err(error.to_string()),
            Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        }
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    audio::register(module)?;
    Ok(())
}
