//! The source of masks, in an instance of WebAssembly of its own (`src/constraint/`), which `pkg/src/host/constraints.ts` starts.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Function, Promise, Uint8Array, Uint32Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::value::{from_failure, get, string};
use crate::engine::{Constraint, Grammars, Matcher, StartGrammars};
use crate::{Error, Result};

#[wasm_bindgen]
extern "C" {
    /// `Grammars` of `pkg/src/wasm.ts`.
    type JsGrammars;
    #[wasm_bindgen(method, catch)]
    fn compile(this: &JsGrammars, constraint: &str) -> Result<JsMatcher, JsValue>;

    /// `Matcher` of `pkg/src/wasm.ts`.
    type JsMatcher;
    #[wasm_bindgen(method, catch)]
    fn mask(this: &JsMatcher) -> Result<Uint32Array, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn consume(this: &JsMatcher, id: u32) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn forced(this: &JsMatcher) -> Result<Uint8Array, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn settled(this: &JsMatcher, ids: &[u32]) -> Result<usize, JsValue>;
    #[wasm_bindgen(method, catch, js_name = mayEnd)]
    fn may_end(this: &JsMatcher) -> Result<bool, JsValue>;
    #[wasm_bindgen(method, catch, js_name = mustEnd)]
    fn must_end(this: &JsMatcher) -> Result<bool, JsValue>;
    #[wasm_bindgen(method)]
    fn free(this: &JsMatcher);
}

/// Whether the instance has trapped. Its state may be broken then, so it is not called again.
type Trapped = Rc<Cell<bool>>;

/// Converts what a call threw: a refusal, or a trap.
fn thrown(trapped: &Trapped, thrown: &JsValue) -> Error {
    let text = |of: &JsValue, name: &str| string(of, name).ok();
    let message = text(thrown, "message").unwrap_or_else(|| format!("{thrown:?}"));
    if text(thrown, "code").as_deref() == Some("constraint") {
        let detail = get(thrown, "detail").unwrap_or(JsValue::UNDEFINED);
        return Error::Constraint { message, keyword: text(&detail, "keyword"), path: text(&detail, "path") };
    }
    trapped.set(true);
    Error::Internal { message: format!("the constraint's module stopped: {message}") }
}

/// A source that `start` starts: `StartGrammars` of `pkg/src/wasm.ts`.
pub(super) fn source(start: Function) -> StartGrammars {
    Rc::new(move |vocabulary| {
        let [lengths, ends] =
            [&vocabulary.lengths, &vocabulary.ends].map(|numbers| Uint32Array::from(numbers.as_slice()));
        let bytes = Uint8Array::from(vocabulary.bytes.as_slice());
        let starting = start.call3(&JsValue::NULL, &bytes, &lengths, &ends).map(Promise::from);
        Box::pin(async {
            let started = async { JsFuture::from(starting?).await };
            let grammars = started.await.map_err(|thrown| from_failure(&thrown))?.unchecked_into();
            Ok(Rc::new(Outside { grammars, trapped: Trapped::default() }) as Rc<dyn Grammars>)
        })
    })
}

struct Outside {
    grammars: JsGrammars,
    trapped: Trapped,
}

impl Grammars for Outside {
    fn usable(&self) -> bool {
        !self.trapped.get()
    }

    fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Matcher>> {
        let text = serde_json::to_string(constraint).expect("a constraint is JSON");
        let matcher = self.grammars.compile(&text).map_err(|error| thrown(&self.trapped, &error))?;
        Ok(Box::new(Running { matcher, trapped: self.trapped.clone() }))
    }
}

struct Running {
    matcher: JsMatcher,
    trapped: Trapped,
}

impl Running {
    /// The result of a call; the default after a trap, which the next mask reports.
    fn answer<T: Default>(&self, call: impl FnOnce(&JsMatcher) -> Result<T, JsValue>) -> T {
        self.call(call).unwrap_or_default()
    }

    fn call<T>(&self, call: impl FnOnce(&JsMatcher) -> Result<T, JsValue>) -> Result<T> {
        if self.trapped.get() {
            return Err(Error::Internal { message: "the constraint's module has stopped".into() });
        }
        call(&self.matcher).map_err(|error| thrown(&self.trapped, &error))
    }
}

impl Matcher for Running {
    fn mask(&mut self) -> Result<Vec<u32>> {
        self.call(JsMatcher::mask).map(|mask| mask.to_vec())
    }

    fn consume(&mut self, id: u32) -> Result<()> {
        self.call(|matcher| matcher.consume(id))
    }

    fn forced(&mut self) -> Vec<u8> {
        self.answer(|matcher| matcher.forced().map(|bytes| bytes.to_vec()))
    }

    fn settled(&mut self, ids: &[u32]) -> usize {
        self.answer(|matcher| matcher.settled(ids))
    }

    fn may_end(&mut self) -> bool {
        self.answer(JsMatcher::may_end)
    }

    fn must_end(&self) -> bool {
        self.answer(JsMatcher::must_end)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.trapped.get() {
            self.matcher.free();
        }
    }
}
