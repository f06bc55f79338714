//! Subgroups on the web. wgpu asks a device for the features that it has names for, and on the web it has none for them (wgpu 30);
//! the device can use what it was opened with all the same, because WGSL passes through as it is.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Proxy, Reflect};
use wasm_bindgen::prelude::*;

/// What wgpu does not tell of an adapter.
#[derive(Default)]
pub(super) struct Adapter {
    /// Whether `subgroups` were asked for.
    pub subgroups: bool,
    /// `GPUAdapterInfo.vendor`
    pub vendor: String,
    /// `GPUAdapterInfo.architecture`
    pub architecture: String,
}

/// Calls `request`, in which wgpu asks an adapter for a device, and has `subgroups` asked for too where the adapter has them. The
/// adapter's method is replaced for as long as the call takes.
pub(super) fn asked_for<T>(request: impl FnOnce() -> T) -> (T, Adapter) {
    let asked = Rc::new(RefCell::new(Adapter::default()));
    let seen = asked.clone();
    let apply = Closure::<dyn FnMut(Function, JsValue, Array) -> Result<JsValue, JsValue>>::new(
        move |original: Function, adapter: JsValue, arguments: Array| {
            *seen.borrow_mut() = Adapter {
                subgroups: add_subgroups(&adapter, &arguments.get(0)).unwrap_or(false),
                vendor: info(&adapter, "vendor"),
                architecture: info(&adapter, "architecture"),
            };
            original.apply(&adapter, &arguments)
        },
    );
    let Ok((prototype, original)) = method() else { return (request(), Adapter::default()) };
    let handler = Object::new();
    let proxy = Reflect::set(&handler, &"apply".into(), apply.as_ref()).map(|_| Proxy::new(&original, &handler));
    let replaced = proxy.and_then(|proxy| Reflect::set(&prototype, &NAME.into(), &proxy));
    let result = request();
    if replaced.is_ok() {
        let _ = Reflect::set(&prototype, &NAME.into(), &original); // it was writable a moment ago
    }
    (result, asked.take())
}

/// A text of the adapter's info; empty where a platform keeps it to itself.
fn info(adapter: &JsValue, name: &str) -> String {
    let info = Reflect::get(adapter, &"info".into()).and_then(|info| Reflect::get(&info, &name.into()));
    info.ok().and_then(|text| text.as_string()).unwrap_or_default()
}

const NAME: &str = "requestDevice";

/// The prototype of adapters, and its method.
fn method() -> Result<(JsValue, Function), JsValue> {
    let class = Reflect::get(&js_sys::global(), &"GPUAdapter".into())?;
    let prototype = Reflect::get(&class, &"prototype".into())?;
    let original = Reflect::get(&prototype, &NAME.into())?.dyn_into()?;
    Ok((prototype, original))
}

fn add_subgroups(adapter: &JsValue, descriptor: &JsValue) -> Result<bool, JsValue> {
    let features = Reflect::get(adapter, &"features".into())?;
    let has: Function = Reflect::get(&features, &"has".into())?.dyn_into()?;
    let there = has.call1(&features, &"subgroups".into())?.is_truthy();
    if there {
        let wanted: Array = Reflect::get(descriptor, &"requiredFeatures".into())?.dyn_into()?;
        wanted.push(&"subgroups".into());
    }
    Ok(there)
}
