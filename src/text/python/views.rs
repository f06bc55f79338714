//! Python objects that are visible to templates only: views of dicts, and methods that are referred to without a call.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, State, Value};

use super::repr::{is_namespace, repr};

/// The result of `dict.keys()`, `values()` and `items()`: iterable, but not a list.
#[derive(Debug)]
pub(crate) struct DictView {
    name: &'static str,
    items: Vec<Value>,
}

impl DictView {
    /// The view that a method returns; `None` for other methods.
    pub(super) fn of(dict: &Value, method: &str) -> Option<Result<Value, Error>> {
        let name = match method {
            "keys" => "dict_keys",
            "values" => "dict_values",
            "items" => "dict_items",
            _ => return None,
        };
        let item = |key: Value| match method {
            "keys" => Ok(key),
            "values" => dict.get_item(&key),
            _ => Ok(Value::from_object(Tuple::from([key.clone(), dict.get_item(&key)?]))),
        };
        let items = dict.try_iter().and_then(|keys| keys.map(item).collect::<Result<Vec<_>, _>>());
        Some(items.map(|items| Value::from_object(Self { name, items })))
    }
}

impl Object for DictView {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.items.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}([", self.name)?;
        for (i, item) in self.items.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, repr(item))?;
        }
        f.write_str("])")
    }
}

/// A method of a string, list or dict that was not called (`message.items`).
#[derive(Debug)]
pub(super) struct Method {
    of: Value,
    name: String,
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        super::method(state, &self.of, &self.name, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.of.kind() {
            ValueKind::String => "str",
            ValueKind::Map => "dict",
            _ if self.of.is_tuple() => "tuple",
            _ => "list",
        };
        // Python writes the object's address; a constant replaces it.
        write!(f, "<built-in method {} of {kind} object at 0x7f0000000000>", self.name)
    }
}

const DICT: &[&str] =
    &["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

/// `value.name` as in Jinja: Python's attributes take precedence over the items of a dict.
pub(super) fn attribute(value: &Value, name: &str) -> Result<Value, Error> {
    let is_method = match value.kind() {
        ValueKind::String => super::strings::METHODS.contains(&name),
        ValueKind::Map => DICT.contains(&name) && !is_namespace(value),
        ValueKind::Seq if value.is_tuple() => ["count", "index"].contains(&name),
        ValueKind::Seq => super::LIST.contains(&name),
        _ => false,
    };
    if is_method {
        return Ok(Value::from_object(Method { of: value.clone(), name: name.to_owned() }));
    }
    value.get_attr(name)
}
