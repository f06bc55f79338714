//! Python's `pprint`: values over several lines where one does not hold them.

use minijinja::Value;
use minijinja::value::ValueKind;

use super::repr;

/// `pprint.pformat`: 80 columns, dicts sorted by key. Long strings are not wrapped.
pub(super) fn pretty(value: &Value, column: usize, after: usize) -> String {
    const WIDTH: usize = 80;
    let sorted = sorted(value);
    let line = repr::repr(&sorted);
    if line.chars().count() <= WIDTH.saturating_sub(column + after) {
        return line;
    }
    let inner = format!(",\n{}", " ".repeat(column + 1));
    let items: Vec<Value> = sorted.try_iter().into_iter().flatten().collect();
    let after_item = |i: usize| if i + 1 == items.len() { after + 1 } else { 1 };
    match sorted.kind() {
        ValueKind::Map if !items.is_empty() => {
            let item = |(i, key): (usize, &Value)| {
                let name = repr::repr(key);
                let value = sorted.get_item(key).unwrap_or_default();
                format!("{name}: {}", pretty(&value, column + name.chars().count() + 3, after_item(i)))
            };
            format!("{{{}}}", items.iter().enumerate().map(item).collect::<Vec<_>>().join(&inner))
        }
        ValueKind::Seq if !items.is_empty() => {
            let parts: Vec<String> =
                items.iter().enumerate().map(|(i, item)| pretty(item, column + 1, after_item(i))).collect();
            match (sorted.is_tuple(), parts.len()) {
                (true, 1) => format!("({},)", parts[0]),
                (true, _) => format!("({})", parts.join(&inner)),
                _ => format!("[{}]", parts.join(&inner)),
            }
        }
        _ => line,
    }
}

/// A value with the keys of all dicts sorted.
fn sorted(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Map if !repr::is_namespace(value) => {
            let mut keys: Vec<Value> = value.try_iter().into_iter().flatten().collect();
            keys.sort();
            Value::from_pairs(keys.into_iter().map(|key| {
                let item = sorted(&value.get_item(&key).unwrap_or_default());
                (key, item)
            }))
        }
        ValueKind::Seq => {
            let items: Vec<Value> = value.try_iter().into_iter().flatten().map(|item| sorted(&item)).collect();
            if value.is_tuple() { Value::from_object(minijinja::value::Tuple::from(items)) } else { Value::from(items) }
        }
        _ => value.clone(),
    }
}
