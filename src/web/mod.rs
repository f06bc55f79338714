//! The JavaScript bindings: the only module that uses `JsValue`. Its counterpart is the TypeScript of `pkg/src`;
//! `pkg/src/wasm.ts` declares the types of the exports.

mod constraint;
mod processor;
mod source;
mod value;

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Function, Promise, Uint8Array, Uint32Array};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;

use crate::engine::{
    Choices, Devices, Engine, EngineOptions, GenerateOptions, Host, Limits, LogitRows, Progress, ScoreOptions,
    StreamPart, estimate, logit_rows,
};
use crate::text::{ToolSpec, tools_by_name};
use crate::{Cancel, Error, Result};
use source::{JsReader, JsSource};
use value::{failure, from_failure, from_js, input, messages, object, result, to_js};

/// Runs when the module is instantiated: installs a panic hook that logs to the console before the instance traps.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&format!("minke: {panic}").into())));
}

/// Ends a call: `abort` discards, `stop` keeps what was generated.
#[wasm_bindgen]
#[derive(Default)]
pub struct Canceller(Cancel);

#[wasm_bindgen]
impl Canceller {
    /// Creates a canceller for one call.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the call reject with `{ code: "abort" }`.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Ends the generation with what it has produced.
    pub fn stop(&self) {
        self.0.stop();
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

const HOST: Host = Host {
    workers: processor::start,
    clock: performance_now,
    local_time: || {
        let now = js_sys::Date::new_0();
        (now.get_time() / 1000.0 - now.get_timezone_offset() * 60.0) as i64
    },
    // 53 bits, which a JavaScript number represents exactly.
    seed: || (js_sys::Math::random() * 9_007_199_254_740_992.0) as u64,
    warn: |message| web_sys::console::warn_1(&format!("minke: {message}").into()),
};

/// An incremental SHA-256.
#[wasm_bindgen]
#[derive(Default)]
pub struct Hasher(Sha256);

#[wasm_bindgen]
impl Hasher {
    /// Creates a hasher.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest, in hexadecimal.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Those of this instance's model.
static CHOICES: Choices = Choices::new();

/// Loads a model from a `Source` (`pkg/src/wasm.ts`). `choices` are those of earlier loads; without them, nothing is timed.
#[wasm_bindgen(js_name = loadModel)]
pub async fn load_model(
    source: JsValue,
    options: JsValue,
    on_progress: Function,
    start_workers: Function,
    canceller: &Canceller,
    choices: Option<Vec<u32>>,
) -> Result<WasmModel, JsValue> {
    processor::set_start(start_workers);
    let cancel = canceller.0.clone();
    load(source, options, on_progress, cancel, choices).await.map_err(|e| failure(&e))
}

async fn load(
    source: JsValue,
    options: JsValue,
    on_progress: Function,
    cancel: Cancel,
    choices: Option<Vec<u32>>,
) -> Result<WasmModel> {
    let options: EngineOptions = from_js("options", options)?;
    let mut options = options.load_options()?;
    if let Some(choices) = choices {
        CHOICES.restore(&choices);
        options.tuning = Some(&CHOICES);
    }
    let mut progress = reporter(on_progress);
    let source = JsSource::of(&source)?;
    let checkpoint = source.source().open().await?;
    let engine = Engine::load(&checkpoint, options, HOST, &cancel, &mut progress).await?;
    let id = source.id;
    Ok(WasmModel { id, engine: RefCell::new(Some(Rc::new(engine))) })
}

/// Passes progress to a listener.
fn reporter(listener: Function) -> impl FnMut(Progress) {
    move |progress| {
        let _ = listener.call1(&JsValue::NULL, &to_js(&progress)); // errors thrown by a listener are ignored
    }
}

/// Estimates what a model would cost: an `Estimate` without storage. `max_binding` is the adapter's limit, 0 without an
/// adapter; `threads` are those that the processor would run.
#[wasm_bindgen(js_name = estimateModel)]
pub async fn estimate_model(
    source: JsValue,
    options: JsValue,
    max_binding: f64,
    threads: usize,
) -> Result<JsValue, JsValue> {
    let run = async {
        let options: EngineOptions = from_js("options", options)?;
        let options = options.load_options()?;
        let gpu = (max_binding > 0.0).then(|| Limits {
            max_binding: options.device.max_binding.unwrap_or(u64::MAX).min(max_binding as u64),
            ..Limits::default()
        });
        let devices = Devices { gpu, threads, memory: processor::MEMORY };
        estimate(JsSource::of(&source)?.source(), options, devices).await
    };
    run.await.map(|estimate| to_js(&estimate)).map_err(|e| failure(&e))
}

/// A loaded model.
#[wasm_bindgen]
pub struct WasmModel {
    id: String,
    engine: RefCell<Option<Rc<Engine>>>,
}

/// Maximum bytes of logits that one call returns: browsers refuse arrays that are not much larger, and an error is
/// better than a trap.
const MAX_LOGITS: u64 = 1 << 30;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TemplateOptions {
    add_generation_prompt: Option<bool>,
    args: Map<String, Value>,
    #[serde(deserialize_with = "tools_by_name")]
    tools: Vec<ToolSpec>,
}

impl WasmModel {
    fn engine(&self) -> Result<Rc<Engine>> {
        self.engine.borrow().clone().ok_or_else(|| Error::invalid("model", "it has been unloaded"))
    }
}

#[wasm_bindgen]
impl WasmModel {
    /// The name of the loaded model.
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// `ModelInfo`
    pub fn info(&self) -> Result<JsValue, JsValue> {
        self.engine().map(|e| to_js(e.info())).map_err(|e| failure(&e))
    }

    /// `ModelInfo.device`, as it is now.
    pub fn device(&self) -> Result<JsValue, JsValue> {
        self.engine().map(|e| to_js(&e.device())).map_err(|e| failure(&e))
    }

    /// Sets what a call does that meets a lost device: `move` calls `moveToCpu`, and returns a promise of its end.
    #[wasm_bindgen(js_name = setFallback)]
    pub fn set_fallback(&self, fallback: Function) -> Result<(), JsValue> {
        let engine = self.engine().map_err(|e| failure(&e))?;
        engine.set_fallback(Rc::new(move || {
            let moving = fallback.call0(&JsValue::NULL).map(Promise::from);
            Box::pin(async {
                let moved = async { wasm_bindgen_futures::JsFuture::from(moving?).await };
                moved.await.map(drop).map_err(|thrown| from_failure(&thrown))
            })
        }));
        Ok(())
    }

    /// Sets what starts the source of the masks of constraints: `StartGrammars` (`pkg/src/wasm.ts`).
    #[wasm_bindgen(js_name = setGrammars)]
    pub fn set_grammars(&self, start: Function) -> Result<(), JsValue> {
        self.engine().map(|engine| engine.set_grammars(constraint::source(start))).map_err(|e| failure(&e))
    }

    /// Moves the model to the processor; the source and what follows it are as in `loadModel`.
    #[wasm_bindgen(js_name = moveToCpu)]
    pub async fn move_to_cpu(
        &self,
        source: JsValue,
        on_progress: Function,
        start_workers: Function,
        canceller: &Canceller,
    ) -> Result<(), JsValue> {
        processor::set_start(start_workers);
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let run = async {
            let mut progress = reporter(on_progress);
            let checkpoint = JsSource::of(&source)?.source().open().await?;
            engine?.move_to_cpu(&checkpoint, &cancel, &mut progress).await
        };
        run.await.map_err(|e| failure(&e))
    }

    /// The choices of variants of this load and of those before it.
    pub fn choices(&self) -> Vec<u32> {
        CHOICES.all()
    }

    /// Bytes held: `{ weights, kv, scratch }`.
    pub fn memory(&self) -> JsValue {
        let memory = self.engine().map(|e| e.memory()).unwrap_or_default();
        object(&[
            ("weights", (memory.weights as f64).into()),
            ("kv", (memory.kv as f64).into()),
            ("scratch", (memory.scratch as f64).into()),
        ])
    }

    /// Generates, with or without a conversation; `on_part`, if given, receives every `StreamPart`.
    pub async fn generate(
        &self,
        prompt: JsValue,
        options: JsValue,
        conversation: Option<u32>,
        on_part: Option<Function>,
        canceller: &Canceller,
    ) -> Result<JsValue, JsValue> {
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let run = async {
            let options: GenerateOptions = from_js("options", options)?;
            let mut emit = |part: StreamPart| {
                if let Some(on_part) = &on_part {
                    let _ = on_part.call1(&JsValue::NULL, &to_js(&part)); // errors thrown by a listener are ignored
                }
            };
            engine?.generate_in(conversation, input(prompt)?, &options, &cancel, &mut emit).await
        };
        run.await.map(|r| result(&r)).map_err(|e| failure(&e))
    }

    /// Prefills a conversation ahead of its next turn and returns how many tokens it then has.
    pub async fn append(
        &self,
        prompt: JsValue,
        options: JsValue,
        conversation: u32,
        canceller: &Canceller,
    ) -> Result<usize, JsValue> {
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let run = async {
            let options: GenerateOptions = from_js("options", options)?;
            engine?.append(Some(conversation), input(prompt)?, &options, &cancel).await
        };
        run.await.map_err(|e| failure(&e))
    }

    /// Opens a conversation and returns its id.
    #[wasm_bindgen(js_name = openConversation)]
    pub fn open_conversation(&self) -> Result<u32, JsValue> {
        self.engine().map(|e| e.open_conversation()).map_err(|e| failure(&e))
    }

    /// Closes a conversation.
    #[wasm_bindgen(js_name = closeConversation)]
    pub fn close_conversation(&self, conversation: u32) {
        if let Ok(engine) = self.engine() {
            engine.close_conversation(conversation);
        }
    }

    /// Opens a new conversation that continues from the keys and values of an existing one.
    #[wasm_bindgen(js_name = cloneConversation)]
    pub async fn clone_conversation(&self, conversation: u32, canceller: &Canceller) -> Result<u32, JsValue> {
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let run = async {
            cancel.check()?;
            engine?.clone_conversation(conversation).await
        };
        run.await.map_err(|e| failure(&e))
    }

    /// Saves a conversation's tokens, keys and values, and a note: returns the bytes of a file, in pieces.
    #[wasm_bindgen(js_name = saveConversation)]
    pub async fn save_conversation(
        &self,
        conversation: u32,
        note: String,
        canceller: &Canceller,
    ) -> Result<Array, JsValue> {
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let pieces = Array::new(); // in JavaScript's memory: wasm holds one at a time
        let mut sink = |bytes: &[u8]| {
            pieces.push(&Uint8Array::from(bytes));
        };
        let run = async { engine?.save_conversation(conversation, &note, &cancel, &mut sink).await };
        run.await.map_err(|e| failure(&e))?;
        Ok(pieces)
    }

    /// Opens a saved conversation from a `Reader`: `{ conversation, note }`.
    #[wasm_bindgen(js_name = restoreConversation)]
    pub async fn restore_conversation(&self, reader: JsValue, canceller: &Canceller) -> Result<JsValue, JsValue> {
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let run = async { engine?.restore_conversation(&JsReader::new(reader)?, &cancel).await };
        let (conversation, note) = run.await.map_err(|e| failure(&e))?;
        Ok(object(&[("conversation", conversation.into()), ("note", note.into())]))
    }

    /// Log probabilities of the input's tokens after the first.
    pub async fn score(&self, prompt: JsValue, options: JsValue, canceller: &Canceller) -> Result<JsValue, JsValue> {
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let run = async {
            let options: ScoreOptions = from_js("options", options)?;
            engine?.score(input(prompt)?, options.raw, options.top()?, &cancel).await
        };
        run.await.map(|scores| to_js(&scores)).map_err(|e| failure(&e))
    }

    /// Logits, `[rows, vocabulary]`.
    pub async fn forward(
        &self,
        ids: Uint32Array,
        rows: String,
        canceller: &Canceller,
    ) -> Result<Float32Array, JsValue> {
        let (engine, cancel) = (self.engine(), canceller.0.clone());
        let run = async {
            let engine = engine?;
            let rows = logit_rows(&rows)?;
            let count = match rows {
                LogitRows::Last => 1,
                LogitRows::All => ids.length(),
            };
            let ids = ids.to_vec();
            engine.check_input(&ids)?;
            let bytes = u64::from(count) * engine.info().vocab_size as u64 * 4;
            if bytes > MAX_LOGITS {
                let message = format!("{count} rows of logits take {bytes} bytes; at most {MAX_LOGITS} at once");
                return Err(Error::invalid("rows", message));
            }
            // Collected in JavaScript's memory: a long input has more logits than wasm should hold.
            let logits = Float32Array::new_with_length(count * engine.info().vocab_size as u32);
            let mut at = 0;
            let mut sink = |row: &[f32]| {
                logits.subarray(at, at + row.len() as u32).copy_from(row);
                at += row.len() as u32;
                Ok(())
            };
            engine.forward(&ids, rows, &cancel, &mut sink).await?;
            Ok(logits)
        };
        run.await.map_err(|e| failure(&e))
    }

    /// Encodes text to ids.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, JsValue> {
        self.engine().and_then(|e| e.tokenizer().encode(text, add_special_tokens)).map_err(|e| failure(&e))
    }

    /// Decodes ids to text.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, JsValue> {
        self.engine().map(|e| e.tokenizer().decode(ids, skip_special_tokens)).map_err(|e| failure(&e))
    }

    /// Renders a conversation with the chat template.
    #[wasm_bindgen(js_name = applyChatTemplate)]
    pub fn apply_chat_template(&self, turns: JsValue, options: JsValue) -> Result<String, JsValue> {
        let run = || {
            let o: TemplateOptions = from_js("options", options)?;
            let generate = o.add_generation_prompt.unwrap_or(false);
            self.engine()?.apply_chat_template(&messages(turns)?, &o.tools, generate, &o.args)
        };
        run().map_err(|e| failure(&e))
    }

    /// Encodes a conversation to ids.
    #[wasm_bindgen(js_name = encodeMessages)]
    pub fn encode_messages(&self, turns: JsValue, options: JsValue) -> Result<Vec<u32>, JsValue> {
        let run = || {
            let o: TemplateOptions = from_js("options", options)?;
            let generate = o.add_generation_prompt.unwrap_or(false);
            Ok(self.engine()?.encode_messages(&messages(turns)?, &o.tools, generate, &o.args)?.ids)
        };
        run().map_err(|e| failure(&e))
    }

    /// Resolves with the failure when the device is lost, otherwise never.
    pub fn lost(&self) -> Promise {
        let Ok(engine) = self.engine() else { return Promise::new(&mut |_, _| {}) };
        let lost = engine.executor().lost();
        drop(engine);
        wasm_bindgen_futures::future_to_promise(async move { Ok(failure(&lost.await)) })
    }

    /// Frees the GPU memory. Later calls fail.
    pub fn unload(&self) {
        if let Some(engine) = self.engine.borrow_mut().take() {
            engine.executor().destroy();
        }
    }
}
