//! Converts values between Rust and JavaScript.

use js_sys::{Array, Object, Reflect, Uint32Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};

use crate::engine::{GenerateResult, Input};
use crate::text::Message;
use crate::{Error, Result};

/// Converts a value to plain objects, arrays and numbers.
pub(super) fn to_js(value: &impl Serialize) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).expect("our own types have JavaScript values")
}

/// Converts a value from JavaScript; `undefined` and `null` become the default.
pub(super) fn from_js<T: DeserializeOwned + Default>(name: &str, value: JsValue) -> Result<T> {
    if value.is_undefined() || value.is_null() {
        return Ok(T::default());
    }
    serde_wasm_bindgen::from_value(value).map_err(|e| Error::invalid(name, e.to_string()))
}

/// Converts an error to `{ code, message, retryable, detail }`.
pub(super) fn failure(error: &Error) -> JsValue {
    object(&[
        ("code", error.code().into()),
        ("message", error.to_string().into()),
        ("retryable", error.retryable().into()),
        ("detail", to_js(&error.detail())),
    ])
}

/// Converts a value that JavaScript threw while reading a file.
pub(super) fn from_failure(thrown: &JsValue) -> Error {
    let text = |name: &str| get(thrown, name).ok().and_then(|v| v.as_string());
    let message = text("message").unwrap_or_else(|| format!("{thrown:?}"));
    if text("code").as_deref() == Some("abort") {
        return Error::Aborted;
    }
    if text("code").as_deref() == Some("invalid-argument") {
        return Error::invalid("source", message);
    }
    let detail = get(thrown, "detail").unwrap_or(JsValue::UNDEFINED);
    if text("code").as_deref() == Some("integrity") {
        let size = |name: &str| get(&detail, name).ok().and_then(|v| v.as_f64()).map(|n| n as u64);
        if let (Some(expected), Some(found)) = (size("expected"), size("found")) {
            return Error::FileSize { file: string(&detail, "file").unwrap_or_default(), expected, found };
        }
        let [file, expected, found] =
            ["file", "expected", "found"].map(|name| string(&detail, name).unwrap_or_default());
        return Error::Integrity { file, expected, found };
    }
    let url = string(&detail, "url").unwrap_or_default();
    let status = get(&detail, "status").ok().and_then(|v| v.as_f64()).map(|n| n as u16);
    let retryable = get(thrown, "retryable").ok().and_then(|v| v.as_bool()).unwrap_or(true);
    let message = text("reason").unwrap_or(message); // without the URL, which `Error::Network` names itself
    Error::Network { url, status, message, retryable }
}

/// A property; `undefined` if `of` is not an object.
pub(super) fn get(of: &JsValue, name: &str) -> Result<JsValue> {
    if !of.is_object() {
        return Ok(JsValue::UNDEFINED);
    }
    Reflect::get(of, &name.into()).map_err(|_| Error::invalid(name, "it cannot be read"))
}

/// A string property.
pub(super) fn string(of: &JsValue, name: &str) -> Result<String> {
    get(of, name)?.as_string().ok_or_else(|| Error::invalid(name, "it is not a string"))
}

/// Creates a plain object.
pub(super) fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        Reflect::set(&object, &(*name).into(), value).expect("a new object takes properties");
    }
    object.into()
}

/// Parses messages; an unknown role is an error.
pub(super) fn messages(value: JsValue) -> Result<Vec<Message>> {
    let messages: Vec<Message> = from_js("messages", value)?;
    for (i, m) in messages.iter().enumerate() {
        if !["system", "developer", "user", "assistant", "tool"].contains(&m.role.as_str()) {
            return Err(Error::invalid("messages", format!("message {i} has the role {:?}", m.role)));
        }
    }
    Ok(messages)
}

/// `Input` of the API.
pub(super) fn input(value: JsValue) -> Result<Input> {
    if let Some(text) = value.as_string() {
        return Ok(Input::Text(text));
    }
    if let Some(ids) = value.dyn_ref::<Uint32Array>() {
        return Ok(Input::Ids(ids.to_vec()));
    }
    if Array::is_array(&value) {
        return Ok(Input::Messages(messages(value)?));
    }
    Err(Error::invalid("input", "a string, an array of messages or a Uint32Array is expected"))
}

/// `GenerateResult` of the API.
pub(super) fn result(r: &GenerateResult) -> JsValue {
    let mut properties = vec![
        ("text", r.text.as_str().into()),
        ("reasoning", r.reasoning.as_str().into()),
        ("toolCalls", to_js(&r.tool_calls)),
        ("finishReason", to_js(&r.finish_reason)),
        ("usage", to_js(&r.usage)),
        ("messages", to_js(&r.messages)),
        ("ids", Uint32Array::from(r.ids.as_slice()).into()),
    ];
    if let Some(call) = &r.incomplete_tool_call {
        properties.push(("incompleteToolCall", to_js(call)));
    }
    if let Some(logprobs) = &r.logprobs {
        properties.push(("logprobs", to_js(logprobs)));
    }
    object(&properties)
}
