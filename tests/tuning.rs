//! Tests the choice of variants by timing: on an executor whose clock says what each form takes, over the real one of the adapter, which
//! computes self-tests and models; and by the real clock.
#![allow(missing_docs)]

mod common;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use async_trait::async_trait;
use common::golden::greedy;
use common::{HOST, block_on, data, load, on_gpu};
use minke::engine::{Choices, Engine, Host, LoadOptions, Source};
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::Variants;
use minke::model::Quantization;
use minke::plan::{
    Access, BufferCopy, BufferId, Buffers, Bytes, Counts, DeviceFacts, Executor, MemoryUse, Plan, Prepared, Read,
    Readback, Variant,
};
use minke::weights::DiskFolder;
use minke::{Cancel, Error, Result};

/// Milliseconds that a plan takes, by the form that its products have, and how often it ran.
type Cost = fn(Option<Variant>, usize) -> f64;

thread_local! {
    static NOW: Cell<f64> = const { Cell::new(0.0) };
    static TICK: Cell<f64> = const { Cell::new(0.0) };
    /// Those of this test.
    static KEPT: Cell<&'static Choices> = Cell::new(Box::leak(Box::default()));
}

/// A clock that a look at it takes forward a little, and that shows whole ticks.
fn clock() -> f64 {
    NOW.set(NOW.get() + 1e-3);
    match TICK.get() {
        0.0 => NOW.get(),
        tick => (NOW.get() / tick).floor() * tick,
    }
}

fn real_clock() -> f64 {
    (HOST.clock)()
}

/// An adapter that claims to be a GPU.
struct Claimed {
    gpu: Gpu,
    facts: DeviceFacts,
    /// None: time passes by itself, and plans run.
    cost: Option<Cost>,
    /// A form whose self-test goes wrong.
    wrong: Option<Variant>,
    /// What that form writes there.
    spoilt: RefCell<Vec<BufferId>>,
    /// The forms that were timed, in order.
    timed: RefCell<Vec<Option<Variant>>>,
}

struct Claim {
    label: String,
    form: Option<Variant>,
    /// What a wrong form writes in a self-test.
    spoilt: Vec<BufferId>,
    prepared: Prepared,
}

impl Claimed {
    fn new(cost: Option<Cost>) -> Self {
        let gpu = block_on(Gpu::open(DeviceOptions::default())).expect("an adapter");
        let facts = DeviceFacts { software: false, vendor: "some".into(), ..gpu.facts().clone() };
        assert!(facts.shader_f16 && facts.subgroups && facts.packed_int8, "lavapipe runs every variant");
        NOW.set(0.0);
        TICK.set(0.0);
        keep(&[]);
        Self { gpu, facts, cost, wrong: None, spoilt: RefCell::default(), timed: RefCell::default() }
    }

    /// How often forms were timed.
    fn runs(&self, form: Option<Variant>) -> usize {
        self.timed.borrow().iter().filter(|timed| **timed == form).count()
    }
}

#[async_trait(?Send)]
impl Executor for Claimed {
    fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    fn memory(&self) -> MemoryUse {
        self.gpu.memory()
    }

    fn counts(&self) -> Counts {
        self.gpu.counts()
    }

    async fn allocate(&self, buffers: &Buffers) -> Result<BufferId> {
        self.gpu.allocate(buffers).await
    }

    fn release(&self, buffers: &[BufferId]) {
        self.gpu.release(buffers);
    }

    fn write(&self, to: BufferId, offset: u64, bytes: &[u8]) {
        self.gpu.write(to, offset, bytes);
    }

    fn upload(&self, to: BufferId, offset: u64, bytes: Bytes) {
        self.gpu.upload(to, offset, bytes);
    }

    fn copy(&self, copies: &[BufferCopy]) -> Result<()> {
        self.gpu.copy(copies)
    }

    async fn prepare(&self, plan: &Plan) -> Result<Prepared> {
        let wrong = |form: Option<Variant>| plan.label == "self-test" && form.is_some() && form == self.wrong;
        let steps = plan.steps.iter().filter(|step| wrong(step.shader.id.variant)).flat_map(|step| &step.bindings);
        let spoilt =
            steps.filter(|binding| binding.access == Access::ReadWrite).map(|binding| binding.buffer).collect();
        let form = plan.steps.first().and_then(|step| step.shader.id.variant);
        let prepared = self.gpu.prepare(plan).await?;
        Ok(Prepared::new(Claim { label: plan.label.clone(), form, spoilt, prepared }))
    }

    async fn readback(&self, bytes: u64) -> Result<Readback> {
        self.gpu.readback(bytes).await
    }

    fn submit(&self, plans: &[&Prepared], reads: &[Read<'_>]) -> Result<()> {
        let claims: Vec<&Claim> = plans.iter().map(|plan| plan.inner()).collect();
        let tuning = claims.iter().all(|claim| claim.label == "tuning") && !claims.is_empty();
        if tuning {
            self.timed.borrow_mut().push(claims[0].form);
            if let Some(cost) = self.cost {
                let runs = self.runs(claims[0].form);
                NOW.set(NOW.get() + 0.2 + claims.len() as f64 * cost(claims[0].form, runs));
                return Ok(());
            }
        }
        self.spoilt.replace(claims.iter().flat_map(|claim| claim.spoilt.clone()).collect());
        let plans: Vec<&Prepared> = claims.iter().map(|claim| &claim.prepared).collect();
        self.gpu.submit(&plans, reads)
    }

    async fn fetch(&self, from: &Readback) -> Result<Vec<u8>> {
        self.gpu.fetch(from).await
    }

    async fn idle(&self) -> Result<()> {
        self.gpu.idle().await
    }

    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>> {
        self.gpu.lost()
    }

    fn destroy(&self) {
        self.gpu.destroy();
    }

    async fn read(&self, ranges: &[(BufferId, std::ops::Range<u64>)]) -> Result<Vec<u8>> {
        let mut bytes = self.gpu.read(ranges).await?;
        let mut rest = bytes.as_mut_slice();
        for (buffer, range) in ranges {
            let (read, after) = rest.split_at_mut((range.end - range.start) as usize);
            if self.spoilt.borrow().contains(buffer) {
                read.iter_mut().for_each(|byte| *byte ^= 0x55);
            }
            rest = after;
        }
        Ok(bytes)
    }
}

fn folder(case: &str) -> Option<PathBuf> {
    Some(data("MINKE_GOLDEN", ".cache/golden")?.join("models").join(case))
}

/// Loads a case on an adapter that claims to be a GPU, and lets the load choose.
fn tuned(executor: &Rc<Claimed>, case: &str, options: LoadOptions) -> Option<Engine> {
    let options = LoadOptions { tuning: Some(KEPT.get()), quantization: Some(Quantization::Q8), ..options };
    let host = Host { clock: if executor.cost.is_some() { clock } else { real_clock }, ..HOST };
    let folder = DiskFolder::new(folder(case)?);
    let executor: Rc<dyn Executor> = executor.clone();
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    Some(block_on(async {
        let checkpoint = Source::Folder(&folder, None).open().await.expect("it opens");
        Engine::load_on(executor, &checkpoint, options, host, &cancel, &mut quiet).await.expect("it loads")
    }))
}

/// The variants that a model's products run in.
fn used(engine: &Engine) -> Variants {
    let steps = engine.plans().all().map(|plan| plan.steps.as_slice()).concat();
    let has = |variant| steps.iter().any(|step| step.shader.id.variant == Some(variant));
    Variants { subgroups: has(Variant::Subgroups), f16: has(Variant::F16), int8: has(Variant::Int8) }
}

fn kept() -> Vec<u32> {
    KEPT.get().all()
}

/// What earlier loads found out.
fn keep(choices: &[u32]) {
    KEPT.set(Box::leak(Box::default()));
    KEPT.get().restore(choices);
}

const USUAL: Variants = Variants { subgroups: true, f16: true, int8: false };

#[test]
fn the_fastest_forms_are_chosen_and_kept() {
    let cost: Cost = |form, _| match form {
        None => 1.0,
        Some(Variant::Subgroups) => 1.3,
        Some(Variant::F16) => 0.9,
        Some(Variant::Int8) => 0.5,
    };
    let executor = Rc::new(Claimed::new(Some(cost)));
    let Some(engine) = tuned(&executor, "llama", LoadOptions::default()) else { return };
    assert_eq!(used(&engine), Variants { int8: true, ..Variants::default() });
    assert!(NOW.get() < 300.0, "{} ms", NOW.get());
    assert!(engine.info().warnings.is_empty(), "{:?}", engine.info().warnings);
    // What was chosen computes what the base forms do, as far as rounding lets it.
    let prompt: Vec<u32> = (5..60).collect();
    let base = LoadOptions { quantization: Some(Quantization::Q8), ..on_gpu() };
    let base = load(&folder("llama").expect("it is there"), base).expect("it loads");
    assert_eq!(greedy(&engine, &prompt, 4), greedy(&base, &prompt, 4));
    let text = kept();
    assert_eq!(text.len(), 1, "{text:?}");

    // Another load of the same shapes times nothing.
    let again = Rc::new(Claimed::new(Some(cost)));
    keep(&text);
    let engine = tuned(&again, "llama", LoadOptions::default()).expect("it is there");
    assert_eq!(used(&engine), Variants { int8: true, ..Variants::default() });
    assert!(again.timed.borrow().is_empty());
    assert_eq!(kept(), text);

    // Other shapes are timed, and so is another device.
    let other = Rc::new(Claimed::new(Some(cost)));
    keep(&text);
    tuned(&other, "qwen3", LoadOptions::default());
    assert!(!other.timed.borrow().is_empty());
    assert_eq!(kept().len(), 2);
    let mut device = Claimed::new(Some(cost));
    device.facts.architecture = "another driver".into();
    keep(&text);
    let device = Rc::new(device);
    tuned(&device, "llama", LoadOptions::default());
    assert!(!device.timed.borrow().is_empty());
}

#[test]
fn what_is_hardly_faster_or_not_each_time_changes_nothing() {
    let hardly: Cost = |form, _| if form == Some(Variant::Int8) { 0.95 } else { 1.0 };
    let sometimes: Cost = |form, runs| match form {
        Some(Variant::Int8) if runs % 3 == 0 => 1.5,
        Some(Variant::Int8) => 0.2,
        _ => 1.0,
    };
    for cost in [hardly, sometimes] {
        let executor = Rc::new(Claimed::new(Some(cost)));
        let Some(engine) = tuned(&executor, "llama", LoadOptions::default()) else { return };
        assert_eq!(used(&engine), USUAL);
        assert_eq!(kept().len(), 1, "it is not timed again");
    }
}

#[test]
fn a_wrong_form_is_never_timed() {
    let cost: Cost = |form, _| if form == Some(Variant::Int8) { 0.1 } else { 1.0 };
    let executor = Rc::new(Claimed { wrong: Some(Variant::Int8), ..Claimed::new(Some(cost)) });
    let Some(engine) = tuned(&executor, "llama", LoadOptions::default()) else { return };
    assert_eq!(used(&engine), USUAL);
    assert_eq!(executor.runs(Some(Variant::Int8)), 0);
    assert!(executor.runs(Some(Variant::F16)) > 0);
    // If what is usual here fails the load's own test, nothing else is tried.
    let executor = Rc::new(Claimed { wrong: Some(Variant::F16), ..Claimed::new(Some(cost)) });
    let engine = tuned(&executor, "llama", LoadOptions::default()).expect("it is there");
    assert_eq!(used(&engine), Variants { f16: false, ..USUAL });
    assert_eq!(engine.info().warnings.len(), 1);
    assert!(executor.timed.borrow().is_empty());
    assert!(kept().is_empty());
}

#[test]
fn slow_devices_are_timed_within_the_budget() {
    let costs: [Cost; 4] = [|_, _| 3.0, |_, _| 40.0, |_, _| 110.0, |_, _| 290.0];
    for cost in costs {
        let executor = Rc::new(Claimed::new(Some(cost)));
        if tuned(&executor, "llama", LoadOptions::default()).is_none() {
            return;
        }
        assert!(NOW.get() < 300.0, "{} ms for {}", NOW.get(), cost(None, 0));
        assert_eq!(kept().len(), 1);
    }
}

#[test]
fn a_coarse_clock_decides_nothing() {
    let cost: Cost = |form, _| if form == Some(Variant::Int8) { 0.1 } else { 1.0 };
    for (tick, fine) in [(0.1, true), (1.0, false), (1e9, false)] {
        let executor = Rc::new(Claimed::new(Some(cost)));
        TICK.set(tick);
        let Some(engine) = tuned(&executor, "llama", LoadOptions::default()) else { return };
        assert_eq!(used(&engine).int8, fine, "ticks of {tick} ms");
        assert_eq!(kept().is_empty(), !fine);
    }
}

#[test]
fn loads_that_say_otherwise_are_not_timed() {
    let cost: Cost = |_, _| 1.0;
    let none = Variants::default();
    for options in [
        LoadOptions { variants: Some(none), ..LoadOptions::default() },
        LoadOptions { without_self_test: true, ..LoadOptions::default() },
        LoadOptions { f32: true, ..LoadOptions::default() },
    ] {
        let executor = Rc::new(Claimed::new(Some(cost)));
        if tuned(&executor, "llama", options).is_none() {
            return;
        }
        assert!(executor.timed.borrow().is_empty());
    }
    // A software adapter ranks forms otherwise than GPUs.
    let mut software = Claimed::new(Some(cost));
    software.facts.software = true;
    let software = Rc::new(software);
    let engine = tuned(&software, "llama", LoadOptions::default()).expect("it is there");
    assert!(software.timed.borrow().is_empty());
    assert_eq!((used(&engine), kept()), (none, Vec::new()));
}

/// By the real clock, on whatever adapter there is: which form wins there says nothing, but one does, and the model runs in it.
#[test]
fn forms_run_on_the_adapter() {
    for case in ["llama", "qwen3", "gpt_oss"] {
        let executor = Rc::new(Claimed::new(None));
        let began = Instant::now();
        let Some(engine) = tuned(&executor, case, LoadOptions::default()) else { return };
        let (forms, runs) = (used(&engine), executor.timed.borrow().len());
        println!("{case}: {forms:?} after {runs} runs, in a load of {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
        assert!(runs > 0);
        let prompt: Vec<u32> = (5..60).collect();
        let first = greedy(&engine, &prompt, 4);
        drop(engine);
        let text = kept();
        let again = Rc::new(Claimed::new(None));
        keep(&text);
        let engine = tuned(&again, case, LoadOptions::default()).expect("it is there");
        assert!(again.timed.borrow().is_empty(), "{:?}", kept());
        assert_eq!((used(&engine), greedy(&engine, &prompt, 4)), (forms, first));
    }
}
