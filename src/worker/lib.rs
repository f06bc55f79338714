//! A worker of the processor's executor in an instance of WebAssembly of its own. Its counterpart is the TypeScript of
//! `pkg/src/processor`.
#![cfg(target_arch = "wasm32")]
#![forbid(unsafe_code)]

use std::ops::Range;
use std::rc::Rc;

use js_sys::Uint8Array;
use minke::cpu::Arithmetic;
use minke::kernels::Peers;
use minke::plan::{BufferId, Share};
use wasm_bindgen::prelude::*;

/// Runs when the module is instantiated: installs a panic hook that logs to the console before the instance traps.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&format!("minke: {panic}").into())));
}

#[wasm_bindgen]
extern "C" {
    /// Where workers meet (`pkg/src/processor/meeting.ts`).
    #[derive(Debug)]
    pub type Meeting;

    /// Exchanges blocks of bytes, of which those from `from` to `to` are this worker's.
    #[wasm_bindgen(method)]
    fn exchange(this: &Meeting, values: &mut [u8], from: usize, to: usize);
}

impl Peers for Meeting {
    fn exchange(&self, values: &mut [u8], own: Range<usize>) {
        Meeting::exchange(self, values, own.start, own.end);
    }
}

/// A worker with a share of every matrix.
#[wasm_bindgen]
pub struct Worker(minke::cpu::Worker);

#[wasm_bindgen]
impl Worker {
    /// Worker `index` of `count`; `exact` has everything computed in f64.
    #[wasm_bindgen(constructor)]
    pub fn new(index: usize, count: usize, meeting: Meeting, exact: bool) -> Self {
        let arithmetic = if exact { Arithmetic::Exact } else { Arithmetic::Fast };
        Self(minke::cpu::Worker::new(Share { index, count }, Rc::new(meeting), arithmetic))
    }

    /// Carries out a command and returns its answer.
    #[wasm_bindgen(js_name = carryOut)]
    pub fn carry_out(&mut self, command: &[u8]) -> Vec<u8> {
        self.0.carry_out(command)
    }

    /// Writes to a buffer.
    pub fn write(&mut self, buffer: u32, offset: f64, bytes: &Uint8Array) {
        bytes.copy_to(self.0.bytes_mut(BufferId(buffer), offset as u64, bytes.length() as usize));
    }
}
