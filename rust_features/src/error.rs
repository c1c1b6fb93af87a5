//! The one error type: every message says what, its value, and the rule it broke.

use std::path::PathBuf;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting or an argument that no computation could honour (Python: `ValueError`).
    #[error("{name} {value} is invalid: {rule}")]
    Setting {
        /// The field or argument, as the user spells it.
        name: String,
        /// Its value, as the user gave it.
        value: String,
        /// What holds for every valid value: "must be >= 1".
        rule: String,
    },
    /// A recording that cannot be decoded (Python: `OSError`).
    #[error("{}: {reason}", path.display())]
    Decode {
        /// The recording.
        path: PathBuf,
        /// Why, in the words of the format.
        reason: String,
    },
    /// The operating system refused (Python: `OSError`).
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's own error.
        source: std::io::Error,
    },
    /// Asked to stop, by Ctrl-C or by the caller (Python: `KeyboardInterrupt`).
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// A [`Error::Setting`]; `value` is anything that prints.
    pub fn setting(name: &str, value: impl std::fmt::Display, rule: impl Into<String>) -> Self {
        Self::Setting { name: name.into(), value: value.to_string(), rule: rule.into() }
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
