//! Settings as they travel: JSON, read field by field, so that an error can name the field.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads `what` from JSON. Its type must have a default for each field that is left out.
///
/// # Errors
/// [`Error::Setting`] naming an unknown field, or one whose value is of another type.
pub fn parse<T: DeserializeOwned>(what: &str, json: &str) -> Result<T> {
    let whole = |e: serde_json::Error| Error::setting(what, json, e.to_string());
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(whole)?;
    for (name, value) in &fields {
        let alone = serde_json::json!({ name: value });
        if let Err(error) = serde_json::from_value::<T>(alone) {
            return Err(Error::setting(name, value, rule_of(&error)));
        }
    }
    serde_json::from_value(fields.into()).map_err(whole)
}

/// The rule in the words of serde: "unknown variant `x`, expected one of …" → "expected one of …".
fn rule_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let rule = text.rfind("expected ").map_or(text.as_str(), |at| &text[at..]);
    match rule {
        "expected usize" | "expected u32" => "must be a whole number >= 0".into(),
        "expected f64" => "must be a number".into(),
        rule => rule.replace('`', "").replace("expected ", "must be "),
    }
}
