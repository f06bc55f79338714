//! The keys of config.json, each fetched with its type checked, and the errors that name them.

use serde_json::{Map, Value};

use super::limits::size;
use crate::{Error, FormatKind, Result};

pub(super) const FILE: &str = "config.json";

pub(super) fn bad(message: String) -> Error {
    Error::format(FormatKind::BadConfig, FILE, message)
}

pub(super) fn unsupported(message: String) -> Error {
    Error::format(FormatKind::UnsupportedFeature, FILE, message)
}

/// An object whose values are fetched with their types checked. `null` counts as absent, as Python's writers mean it.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub file: &'a str,
    pub object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn get(self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub fn wrong(self, key: &str, expected: &str) -> Error {
        let found: String = self.object.get(key).map(Value::to_string).unwrap_or_default().chars().take(60).collect();
        Error::format(FormatKind::BadConfig, self.file, format!("{key} is {found}; {expected} is expected"))
    }

    pub fn missing(self, key: &str) -> Error {
        Error::format(FormatKind::BadConfig, self.file, format!("{key} is missing"))
    }

    /// A whole number that is not negative; `1e9` is one, too.
    pub fn unsigned(self, key: &str) -> Result<Option<u64>> {
        let whole = |f: &f64| f.fract() == 0.0 && (0.0..1.8e19).contains(f);
        self.get(key)
            .map(|value| value.as_u64().or_else(|| value.as_f64().filter(whole).map(|f| f as u64)))
            .map(|number| number.ok_or_else(|| self.wrong(key, "a whole number")))
            .transpose()
    }

    pub fn number(self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|value| value.as_f64().ok_or_else(|| self.wrong(key, "a number"))).transpose()
    }

    pub fn bool(self, key: &str) -> Result<Option<bool>> {
        self.get(key).map(|value| value.as_bool().ok_or_else(|| self.wrong(key, "true or false"))).transpose()
    }

    /// A truth value as Python takes it: some configs write a number.
    pub fn switch(self, key: &str) -> Result<Option<bool>> {
        match self.get(key).and_then(Value::as_f64) {
            Some(number) => Ok(Some(number != 0.0)),
            None => self.bool(key),
        }
    }

    pub fn string(self, key: &str) -> Result<Option<&'a str>> {
        self.get(key).map(|value| value.as_str().ok_or_else(|| self.wrong(key, "a string"))).transpose()
    }

    /// One token id or a list of them.
    pub fn token_ids(self, key: &str) -> Result<Vec<u32>> {
        let items = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        items.iter().map(id).collect::<Option<_>>().ok_or_else(|| self.wrong(key, "a token id or a list of them"))
    }

    pub fn size(self, key: &str, most: u64) -> Result<Option<usize>> {
        self.unsigned(key)?.map(|value| size(self.file, key, value, most)).transpose()
    }
}
