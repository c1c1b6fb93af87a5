//! The one error type: every message says what, its value, and the rule it broke.

use std::fmt;
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
        value: Value,
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
    /// A recording that decodes, and that nobody can use: another decoder would find the same
    /// (Python: `audiocls.errors.UnusableError`, an `OSError`).
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The recording.
        path: PathBuf,
        /// Why.
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
    /// A [`Error::Setting`].
    pub fn setting(name: &str, value: impl Into<Value>, rule: impl Into<String>) -> Self {
        Self::Setting { name: name.into(), value: value.into(), rule: rule.into() }
    }
}

/// A value that was refused. What was given as a number stays one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number, of whatever type.
    Whole(i128),
    /// Any other number.
    Real(f64),
    /// All else.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

macro_rules! whole {
    ($($integer:ty),+) => {
        $(impl From<$integer> for Value {
            fn from(value: $integer) -> Self {
                Self::Whole(value as i128)
            }
        })+
    };
}
whole!(i32, i64, u32, u64, usize);

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        // A number that a file or a command line gave as 16000 is printed like that.
        let whole = value.fract() == 0.0 && value.abs() < 1e15;
        if whole { Self::Whole(value as i128) } else { Self::Real(value) }
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        // The shortest decimal that means it: 0.1, not 0.10000000149011612.
        value.to_string().parse().map_or(Self::Real(value.into()), |value: f64| value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::String(text) => Self::Text(text.clone()),
            value => match (value.as_i64(), value.as_f64()) {
                (Some(whole), _) => whole.into(),
                (None, Some(real)) => real.into(),
                (None, None) => Self::Text(value.to_string()),
            },
        }
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
