//! The exports of the module. Its counterpart is `pkg/src/host/constraints.ts`.

use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::{Refusal, Vocabulary};

/// Runs when the module is instantiated: installs a panic hook that logs to the console before the instance traps.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&format!("minke: {panic}").into())));
}

/// Compiles grammars for a vocabulary.
#[wasm_bindgen]
pub struct Grammars(crate::Grammars);

#[wasm_bindgen]
impl Grammars {
    /// As [`Vocabulary`] says.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: Vec<u8>, lengths: Vec<u32>, ends: Vec<u32>) -> Result<Self, JsValue> {
        crate::Grammars::new(&Vocabulary { bytes, lengths, ends }).map(Self).map_err(failure)
    }

    /// Begins a match of a constraint.
    pub fn compile(&self, constraint: &str) -> Result<Matcher, JsValue> {
        self.0.compile(constraint).map(Matcher).map_err(failure)
    }
}

/// A match in progress.
#[wasm_bindgen]
pub struct Matcher(crate::Matcher);

#[wasm_bindgen]
impl Matcher {
    /// The tokens that may come next.
    pub fn mask(&mut self) -> Result<Vec<u32>, JsValue> {
        self.0.mask().map_err(failure)
    }

    /// Takes the next token.
    pub fn consume(&mut self, id: u32) -> Result<(), JsValue> {
        self.0.consume(id).map_err(failure)
    }

    /// The bytes that must come next.
    pub fn forced(&mut self) -> Vec<u8> {
        self.0.forced()
    }

    /// Of tokens of forced bytes, how many are certain.
    pub fn settled(&mut self, ids: &[u32]) -> usize {
        self.0.settled(ids)
    }

    /// Whether the grammar may end here.
    #[wasm_bindgen(js_name = mayEnd)]
    pub fn may_end(&mut self) -> bool {
        self.0.may_end()
    }

    /// Whether nothing but the end is possible.
    #[wasm_bindgen(js_name = mustEnd)]
    pub fn must_end(&self) -> bool {
        self.0.must_end()
    }
}

/// `{ code, message, detail: { keyword, path } }`
fn failure(refusal: Refusal) -> JsValue {
    let object = |properties: &[(&str, JsValue)]| -> JsValue {
        let object = Object::new();
        for (name, value) in properties {
            Reflect::set(&object, &(*name).into(), value).expect("a new object takes properties");
        }
        object.into()
    };
    let text = |text: Option<String>| text.map_or(JsValue::UNDEFINED, JsValue::from);
    object(&[
        ("code", "constraint".into()),
        ("message", refusal.message.into()),
        ("detail", object(&[("keyword", text(refusal.keyword)), ("path", text(refusal.path))])),
    ])
}
