//! Bounds the nesting depth of values that a template stores in variables.
//!
//! A loop can wrap a value repeatedly (`{% set ns.x = [ns.x] %}`), or store a namespace in itself; printing,
//! comparing or dropping the result would overflow the stack. Values persist between steps of a template only
//! through `set`, so every `set` is rewritten to pass its value through [`bounded`].

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

/// Maximum nesting of a variable's value.
const MAX_DEPTH: usize = 40;
/// Items visited per unit of work.
const ITEMS_PER_FUEL: u64 = 2;

/// The function that every `set` of a variable calls.
pub(in crate::text) const VARIABLE: &str = "bounded_variable";
/// The function that every `set` of a namespace's attribute calls.
pub(in crate::text) const ATTRIBUTE: &str = "bounded_attribute";

/// Registers the two functions.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_function(VARIABLE, variable);
    environment.add_function(ATTRIBUTE, attribute);
}

/// Checks the value of `set x = …`; several values form a tuple to unpack.
fn variable(state: &State, values: Rest<Value>) -> Result<Value, Error> {
    bounded(state, values, 0)
}

/// Checks the value of `set ns.x = …`, which must not contain the namespace.
fn attribute(state: &State, values: Rest<Value>) -> Result<Value, Error> {
    bounded(state, values, 1)
}

fn bounded(state: &State, values: Rest<Value>, depth: usize) -> Result<Value, Error> {
    let mut walk = Walk { state, seen: 0 };
    let mut checked: Vec<Value> = Vec::with_capacity(values.0.len());
    for value in values.0 {
        checked.push(walk.plain(&value, depth)?.unwrap_or(value));
    }
    Ok(if checked.len() == 1 { checked.remove(0) } else { Value::from(checked) })
}

struct Walk<'a, 'env> {
    state: &'a State<'a, 'env>,
    seen: u64,
}

impl Walk<'_, '_> {
    /// Checks a value, and returns it with lazy parts evaluated if it has any: slices and sums of lists refer to
    /// their operands, and would grow into long chains.
    fn plain(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        self.seen += 1;
        if self.seen.is_multiple_of(ITEMS_PER_FUEL) {
            self.state.consume_fuel(1)?;
        }
        let kind = value.kind();
        if !matches!(kind, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
            return Ok(None);
        }
        let name = value.as_object().map_or("", |o| o.type_name());
        if depth > MAX_DEPTH || (depth > 0 && name.ends_with("::Namespace")) {
            let message = format!("limit: a variable holds a namespace or more than {MAX_DEPTH} levels");
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        let mut changed = kind == ValueKind::Iterable || name.contains("::Merge");
        if kind == ValueKind::Map {
            let mut entries = Vec::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                let plain = self.plain(&item, depth + 1)?;
                changed |= plain.is_some();
                entries.push((key, plain.unwrap_or(item)));
            }
            return Ok(changed.then(|| entries.into_iter().collect()));
        }
        let mut items = Vec::new();
        for item in value.try_iter()? {
            let plain = self.plain(&item, depth + 1)?;
            changed |= plain.is_some();
            items.push(plain.unwrap_or(item));
        }
        Ok(changed.then(|| Value::from(items)))
    }
}
