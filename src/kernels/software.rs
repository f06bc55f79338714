//! What kernels have in common on software adapters (SwiftShader, lavapipe, WARP), where a visitor without a usable GPU ends up. The
//! forms of the kernels that dominate there are in the kernels' files: the same bindings and parameters, another grid.

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
