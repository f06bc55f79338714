//! Reads the fields of a request: every one is used, known to have no effect, or refused.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::reply::Refusal;

/// The fields of a request that were not read yet.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a body.
    pub fn of(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Refusal::request(None, "the body must be an object")),
            Err(error) => Err(Refusal::request(None, format!("the body is not JSON: {error}"))),
        }
    }

    /// The value of a field that was not read yet, if it is not null.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The value of a field, if it is there and not null.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        match self.0.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| Refusal::request(Some(name), format!("{name}: {error}"))),
        }
    }

    /// The value of a field that must be there.
    pub fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Refusal> {
        self.take(name)?.ok_or_else(|| Refusal::request(Some(name), format!("{name} is missing")))
    }

    /// Accepts a field only with some values, which are how the server behaves anyway.
    pub fn only(&mut self, name: &str, accepted: &[Value]) -> Result<(), Refusal> {
        match self.take::<Value>(name)? {
            Some(value) if !accepted.contains(&value) => {
                let accepted: Vec<String> = accepted.iter().map(Value::to_string).collect();
                let message = format!("{name}: {value} is not supported, only {}", accepted.join(" or "));
                Err(Refusal::request(Some(name), message))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what was not read, but for fields `without_effect`.
    pub fn end(self, without_effect: &[&str]) -> Result<(), Refusal> {
        let left = self.0.iter().find(|(name, value)| !value.is_null() && !without_effect.contains(&name.as_str()));
        match left {
            Some((name, _)) => Err(Refusal::request(Some(name), format!("{name} is not supported"))),
            None => Ok(()),
        }
    }
}
