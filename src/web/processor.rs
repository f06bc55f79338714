//! Workers on the processor, which `pkg/src/processor` starts.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::value::{from_failure, get};
use crate::Error;
use crate::cpu::{Answer, Arithmetic, Starting, Workers};
use crate::plan::{BufferId, BytesRef};

#[wasm_bindgen]
extern "C" {
    /// `Workers` of `pkg/src/wasm.ts`.
    #[derive(Debug)]
    type JsWorkers;

    #[wasm_bindgen(method, getter)]
    fn count(this: &JsWorkers) -> usize;
    #[wasm_bindgen(method)]
    fn tell(this: &JsWorkers, worker: usize, command: Uint8Array);
    #[wasm_bindgen(method)]
    fn write(this: &JsWorkers, worker: usize, buffer: u32, offset: f64, bytes: &Uint8Array);
    #[wasm_bindgen(method)]
    fn ask(this: &JsWorkers, worker: usize, command: Uint8Array) -> Promise;
    #[wasm_bindgen(method, getter)]
    fn lost(this: &JsWorkers) -> Promise;
    #[wasm_bindgen(method)]
    fn stop(this: &JsWorkers);
}

/// Bytes that a worker can hold: WebAssembly's 4 GiB without what a step needs besides.
pub(super) const MEMORY: u64 = (4 << 30) - (192 << 20);

thread_local! {
    /// Starts workers; set by each load, as an instance has one model.
    static START: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Sets what starts workers.
pub(super) fn set_start(start: Function) {
    START.set(Some(start));
}

/// Starts workers.
pub(super) fn start(arithmetic: Arithmetic, count: Option<usize>) -> Starting {
    Box::pin(async move {
        let start = START.with_borrow(Clone::clone).ok_or_else(|| Error::Internal { message: "no workers".into() })?;
        let exact = (arithmetic == Arithmetic::Exact).into();
        let started = start.call2(&JsValue::NULL, &exact, &count.map_or(JsValue::UNDEFINED, JsValue::from));
        let promise: Promise = started.map_err(|thrown| from_failure(&thrown))?.unchecked_into();
        let workers = JsFuture::from(promise).await.map_err(|thrown| from_failure(&thrown))?;
        Ok(Rc::new(workers.unchecked_into::<JsWorkers>()) as Rc<dyn Workers>)
    })
}

fn lost(thrown: &JsValue) -> Error {
    let message = get(thrown, "message").ok().and_then(|message| message.as_string());
    Error::DeviceLost { message: message.unwrap_or_else(|| "a worker has stopped".into()) }
}

impl Workers for JsWorkers {
    fn count(&self) -> usize {
        self.count()
    }

    fn memory(&self) -> u64 {
        MEMORY
    }

    fn tell(&self, worker: usize, command: &[u8]) {
        self.tell(worker, command.into());
    }

    fn write(&self, worker: usize, to: BufferId, offset: u64, bytes: BytesRef<'_>) {
        let bytes = match bytes {
            BytesRef::Here(bytes) => bytes.into(),
            BytesRef::Outside(bytes) => bytes,
        };
        self.write(worker, to.0, offset as f64, &bytes);
    }

    fn ask(&self, worker: usize, command: &[u8]) -> Answer {
        let answer = JsFuture::from(self.ask(worker, command.into()));
        Box::pin(async { answer.await.map(|bytes| Uint8Array::from(bytes).to_vec()).map_err(|thrown| lost(&thrown)) })
    }

    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>> {
        let stopped = JsFuture::from(self.lost());
        Box::pin(async { stopped.await.map_or_else(|thrown| lost(&thrown), |why| lost(&why)) })
    }

    fn stop(&self) {
        self.stop();
    }
}
