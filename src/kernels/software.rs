//! What kernels have in common on software adapters (SwiftShader, lavapipe, WARP), where a visitor without a usable GPU ends up.
//! The forms of the kernels that dominate there stand in the kernels' files. They compute what the kernels do, from the same
//! bindings and parameters, in another grid. A GPU never runs them.
//!
//! What they are shaped by, from the code that SwiftShader generates in Chromium: four invocations run as one vector. A
//! 32-bit load is some forty instructions, so a product keeps a group of inputs while 48 (decode) or 64 (prefill) rows pass
//! it. Unrolled code runs at half the speed of a loop that stays in the processor's cache of decoded instructions, so rows
//! pass in a loop. Shifting a vector by different amounts is done lane by lane, so codes become numbers where they lie in
//! their words. Every four invocations that can stop at a barrier need a stack, and workgroups that return at once are not
//! free, so norms and reductions use four invocations, and decode's attention four splits. An array that is declared inside
//! a loop keeps its values from the iteration before, so arrays are declared outside and cleared.
//!
//! Heads of more than 128 values use the base kernel. The variants of prefill's product and prompt attention are withheld
//! from lavapipe, whose compiler takes a second or more for each. `benches/steps.mjs` measures single steps.

use super::kernel_of;
use crate::plan::{DeviceFacts, Shader, Step};

/// Threads of a workgroup, which run as one: with more, each four take a stack at a barrier.
const THREADS: u32 = 4;
/// Rounds of loops that lavapipe runs in a thread before it leaves them: 65,535 in all.
pub const MAX_ROUNDS: u32 = 60_000;

/// The shader, in the layout of a step's weights, of a kernel that has one for software adapters.
pub fn software_shader(step: &Step) -> Shader {
    let software = kernel_of(step).software.as_ref().expect("the kernel has a form for software adapters");
    software.shaders[0].of(step.layout())
}

/// A kernel of which no more than the threads of a workgroup differ.
pub fn few_threads(step: &mut Step, _: &DeviceFacts) {
    set(step, "THREADS", THREADS);
}

/// Sets an `override`.
pub fn set(step: &mut Step, name: &'static str, value: u32) {
    step.constants.retain(|(other, _)| *other != name);
    step.constants.push((name, value.into()));
}
