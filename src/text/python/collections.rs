//! Jinja's filters and functions that take and make lists and dicts: `join`, `unique`, `dictsort`, `random` and `dict`.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, State, Value};

use super::{Arguments, charge, limit, repr, together, wrong};

/// `join(d, attribute)`
pub(super) fn join(state: &State<'_, '_>, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("join", &all)?;
    args.most(2)?;
    if value.is_undefined() {
        return Ok(Value::from(""));
    }
    let between = args.get(0, "d")?.map(|d| repr::str(&d)).unwrap_or_default();
    let attribute = args.get(1, "attribute")?;
    let mut out = String::new();
    for (i, item) in value.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(&between);
        }
        let item = match &attribute {
            Some(attribute) => path(&item, attribute)?,
            None => item,
        };
        match item.as_str() {
            Some(text) => out.push_str(text),
            None => out.push_str(&repr::str(&item)),
        }
        if out.len() > super::MAX_MADE {
            return Err(limit("the result of join is too long"));
        }
    }
    charge(state, out.len())?;
    Ok(Value::from(out))
}

/// The value at a path such as `a.b.0`.
fn path(value: &Value, attribute: &Value) -> Result<Value, Error> {
    let Some(path) = attribute.as_str() else { return value.get_item(attribute) };
    path.split('.').try_fold(value.clone(), |value, part| match part.parse::<i64>() {
        Ok(index) => value.get_item(&Value::from(index)),
        Err(_) => value.get_attr(part),
    })
}

/// `unique(case_sensitive, attribute)`
pub(super) fn unique(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("unique", &all)?;
    args.most(2)?;
    let sensitive = args.get(0, "case_sensitive")?.is_some_and(|value| value.is_true());
    let attribute = args.get(1, "attribute")?;
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for item in value.try_iter()? {
        let key = match &attribute {
            Some(attribute) => path(&item, attribute)?,
            None => item.clone(),
        };
        let key = match key.as_str() {
            Some(text) if !sensitive => Value::from(text.to_lowercase()),
            _ => key,
        };
        if seen.insert(key) {
            kept.push(item);
        }
    }
    Ok(Value::from(kept))
}

/// `dictsort(case_sensitive, by, reverse)`
pub(super) fn dictsort(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("dictsort", &all)?;
    args.most(3)?;
    let on = |i, name| Ok::<_, Error>(args.get(i, name)?.is_some_and(|value| value.is_true()));
    let (sensitive, reverse) = (on(0, "case_sensitive")?, on(2, "reverse")?);
    let by = match args.text(1, "by")?.as_deref() {
        None | Some("key") => 0,
        Some("value") => 1,
        Some(_) => return Err(wrong("dictsort: by is \"key\" or \"value\"")),
    };
    let pair = |key: Value| value.get_item(&key).map(|item| [key, item]);
    let mut pairs: Vec<[Value; 2]> = value.try_iter()?.map(pair).collect::<Result<_, _>>()?;
    let order = |value: &Value| match value.as_str() {
        Some(text) if !sensitive => Value::from(text.to_lowercase()),
        _ => value.clone(),
    };
    pairs.sort_by_cached_key(|pair| order(&pair[by]));
    if reverse {
        pairs.reverse();
    }
    Ok(pairs.into_iter().map(|pair| Value::from_object(minijinja::value::Tuple::from(pair))).collect())
}

/// `random`: always the first item, because the KV cache could not be reused for a prompt that changes between
/// renderings.
pub(super) fn random(value: &Value) -> Result<Value, Error> {
    Ok(value.try_iter()?.next().unwrap_or_default())
}

/// `dict(mapping_or_pairs, **named)`
pub(super) fn dict(given: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    match given {
        Some(map) if map.kind() == ValueKind::Map => {
            for key in map.try_iter()? {
                pairs.push((key.clone(), map.get_item(&key)?));
            }
        }
        Some(list) => {
            for pair in list.try_iter()? {
                pairs.push((pair.get_item_by_index(0)?, pair.get_item_by_index(1)?));
            }
        }
        None => {}
    }
    for name in named.args() {
        pairs.push((Value::from(name), named.get(name)?));
    }
    named.assert_all_used()?;
    Ok(Value::from_pairs(pairs))
}
