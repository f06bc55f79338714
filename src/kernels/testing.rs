//! The bench on which kernels are compared with their references, on whatever Vulkan, Metal or D3D12 device there is.

use std::cell::OnceCell;
use std::rc::Rc;

use half::{bf16, f16};

use super::variants::Tolerance;
use super::{Control, CpuMemory, KvFormat, Router, State, Variants, interpret, run, suited};
use crate::gpu::{DeviceOptions, Gpu};
use crate::plan::layout::SUPER_BLOCK;
use crate::plan::{
    Activation, Allocation, BufferId, Buffers, Executor, GROUP, Layout, Matrix, Plan, Role, Scales, Shader, Units,
    Vector,
};

pub(crate) use pollster::block_on;

/// The GPU of this test thread.
pub(crate) fn device() -> &'static Gpu {
    // Leaked: wgpu cannot drop a device while a thread's locals are being torn down.
    thread_local!(static GPU: OnceCell<&'static Gpu> = const { OnceCell::new() });
    let open = || block_on(Gpu::open(DeviceOptions::default())).expect("tests need a GPU or lavapipe");
    GPU.with(|cell| *cell.get_or_init(|| Box::leak(Box::new(open()))))
}

/// Layouts for shapes of any kind: unquantised, with minima, in super-blocks; all of them with `MINKE_ALL`. Each pairing of a layout
/// and a shape is a pipeline to compile, and how weights are read does not depend on the shape.
pub(crate) fn some_layouts() -> &'static [Layout] {
    let all = std::env::var_os("MINKE_ALL").is_some();
    if all { &Layout::ALL } else { &[Layout::Bf16, Layout::Q4Min, Layout::Q6K] }
}

/// A small generator with good enough bits (SplitMix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, of variance one: a sum of twelve uniforms.
    pub(crate) fn normal(&mut self) -> f32 {
        ((0..12).map(|_| self.unit()).sum::<f64>() - 6.0) as f32
    }
}

/// `n` values of variance one.
pub(crate) fn normals(seed: u64, n: usize) -> Vec<f32> {
    let mut r = Random(seed);
    (0..n).map(|_| r.normal()).collect()
}

pub(crate) fn argmax(v: &[f32]) -> u32 {
    (0..v.len()).fold(0, |best, i| if v[i] > v[best] { i } else { best }) as u32
}

/// What random codes of a layout are worth where its scale is 1 (its minimum 0; 8 in a super-block).
#[derive(Clone, Copy)]
struct Codes {
    mean: f32,
    deviation: f32,
}

impl Codes {
    fn of(layout: Layout) -> Self {
        const COUNT: usize = 16 * SUPER_BLOCK;
        let mut random = Random(1);
        let mut bytes = |n: usize| -> Vec<u8> { (0..n).map(|_| random.next() as u8).collect() };
        let codes = bytes(layout.code_row_bytes(COUNT));
        let [one, eight] = [1.0, 8.0].map(|v| f16::from_f32(v).to_le_bytes());
        let scales = match layout.spec().scales {
            Scales::None => return Self { mean: 0.0, deviation: 1.0 },
            Scales::Halves(1) => one.repeat(COUNT / GROUP),
            Scales::Halves(_) => [one, [0; 2]].concat().repeat(COUNT / GROUP),
            Scales::Exponents => vec![127; COUNT / GROUP],
            Scales::SuperBlocks(size) => (0..16).flat_map(|_| [&one[..], &eight, &bytes(size - 4)].concat()).collect(),
        };
        let values = layout.dequantize_row(COUNT, &codes, &scales);
        let mean = values.iter().sum::<f32>() / COUNT as f32;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>();
        Self { mean, deviation: (squares / COUNT as f32).sqrt() }
    }
}

/// How far the results of processors are off together, in relation to their length as a vector: inputs have 16 bits.
const CPU_ERROR: f64 = 1e-4;

/// Bytes of buffers: on the GPU, by the references.
type Found = Vec<(Vec<u8>, Vec<u8>)>;

/// Buffers with contents, and a plan to run over them on both sides.
pub(crate) struct Bench {
    pub buffers: Buffers,
    pub control: Control,
    pub plan: Plan,
    contents: Vec<(BufferId, Vec<u8>)>,
    state: State,
    random: Random,
}

impl Bench {
    /// For a step of `count` tokens below `vocabulary`.
    pub(crate) fn new(count: usize, vocabulary: usize) -> Self {
        let mut buffers = Buffers::default();
        let control = Control::declare(&mut buffers, count, vocabulary);
        let state = State { count: count as u32, ..State::default() };
        let mut random = Random(count as u64);
        let tokens: Vec<u32> = (0..count).map(|_| (random.next() % vocabulary as u64) as u32).collect();
        let contents = vec![(control.tokens, bytemuck::cast_slice(&tokens).to_vec())];
        Self { buffers, control, plan: Plan::new("test"), contents, state, random }
    }

    /// The bench at a position of the context.
    pub(crate) fn at(mut self, position: usize) -> Self {
        self.state.position = position as u32;
        self
    }

    pub(crate) fn set(&mut self, buffer: BufferId, bytes: &[u8]) {
        self.contents.push((buffer, bytes.to_vec()));
    }

    /// Random values in the rows, zeros in their padding.
    pub(crate) fn activation(&mut self, label: &str, rows: usize, width: usize) -> Activation {
        let a = self.scratch(label, rows, width);
        let mut values = vec![0.0f32; rows * a.stride()];
        for row in values.chunks_mut(a.stride()) {
            row[..width].iter_mut().for_each(|v| *v = self.random.normal());
        }
        self.set(a.buffer, bytemuck::cast_slice(&values));
        a
    }

    /// An activation of zeros.
    pub(crate) fn scratch(&mut self, label: &str, rows: usize, width: usize) -> Activation {
        Activation::declare(&mut self.buffers, label, rows, width)
    }

    pub(crate) fn vector(&mut self, label: &str, len: usize) -> Vector {
        let v = Vector::declare(&mut self.buffers, label, len);
        let values: Vec<f32> = (0..len).map(|_| self.random.normal()).collect();
        self.set(v.buffer, bytemuck::cast_slice(&values));
        v
    }

    /// A KV cache of `rows` rows of `dim` random values.
    pub(crate) fn cache(&mut self, label: &str, rows: usize, dim: usize, format: KvFormat) -> BufferId {
        let id = self.buffers.add(label, format.bytes(rows, dim), Role::Kv);
        let mut words = vec![0; rows * format.row_words(dim)];
        for row in words.chunks_mut(format.row_words(dim)) {
            let values: Vec<f64> = (0..dim).map(|_| self.random.normal().into()).collect();
            format.store(row, &values);
        }
        self.set(id, bytemuck::cast_slice(&words));
        id
    }

    /// Makes words of a buffer that was set no numbers, in whatever format.
    pub(crate) fn spoil(&mut self, buffer: BufferId, words: impl Iterator<Item = std::ops::Range<usize>>) {
        let (_, contents) = self.contents.iter_mut().rev().find(|(id, _)| *id == buffer).expect("it was set");
        words.for_each(|range| contents[range.start * 4..range.end * 4].fill(0xff));
    }

    /// What splits of attention leave: values, the maximum of the scores, and the sum of their exponentials.
    pub(crate) fn partials(&mut self, heads: usize, splits: usize, value_dim: usize) -> BufferId {
        let id = super::Attention::declare_partials(&mut self.buffers, heads, splits, value_dim);
        let row = value_dim + 2;
        let mut values: Vec<f32> = (0..heads * splits * row).map(|_| self.random.normal()).collect();
        values.iter_mut().skip(value_dim + 1).step_by(row).for_each(|v| *v = v.abs() + 0.5);
        self.set(id, bytemuck::cast_slice(&values));
        id
    }

    /// The step is of one token from here on.
    pub(crate) fn one_token(&mut self) {
        self.state.count = 1;
    }

    /// A random matrix whose products with random inputs are of order one.
    pub(crate) fn matrix(&mut self, label: &str, rows: usize, k: usize, layout: Layout, max_binding: u64) -> Matrix {
        assert!(k.is_multiple_of(layout.row_multiple()), "rows of {k} weights in {layout:?}");
        let m = Matrix::declare(&mut self.buffers, label, k, &[(rows, layout)], max_binding.min(1 << 40)).unwrap();
        self.fill(m, layout)
    }

    /// A random matrix of experts; its parts hold whole experts.
    pub(crate) fn experts(
        &mut self,
        label: &str,
        experts: usize,
        rows: usize,
        k: usize,
        layout: Layout,
        max_binding: u64,
    ) -> Matrix {
        let (segments, limit) = ([(experts * rows, layout)], max_binding.min(1 << 40));
        let units = Units { rows, interleaved: 0, divided: false };
        let m = Matrix::declare_in_units(&mut self.buffers, label, k, &segments, units, limit).unwrap();
        self.fill(m, layout)
    }

    /// Random logits of a router, and room for its entries.
    pub(crate) fn router(&mut self, tokens: usize, experts: usize, entries: usize) -> Router {
        let router = Router::declare(&mut self.buffers, tokens, experts + 1, entries);
        let values: Vec<f32> = (0..tokens * router.logits.stride()).map(|_| self.random.normal()).collect();
        self.set(router.logits.buffer, bytemuck::cast_slice(&values));
        router
    }

    /// Random corrections, and the slots of experts.
    pub(crate) fn route_table(&mut self, experts: usize, slot: impl Fn(usize) -> usize) -> BufferId {
        let table = self.buffers.add("table", experts as u64 * 8, Role::Weights);
        let corrections: Vec<u32> = (0..experts).map(|_| self.random.normal().to_bits()).collect();
        let words: Vec<u32> = corrections.into_iter().chain((0..experts).map(|e| slot(e) as u32)).collect();
        self.set(table, bytemuck::cast_slice(&words));
        table
    }

    fn fill(&mut self, m: Matrix, layout: Layout) -> Matrix {
        let k = m.k;
        let gain = 1.0 / (k as f32).sqrt();
        let stored = Codes::of(layout);
        for part in m.parts.clone() {
            let mut codes = Vec::new();
            let mut scales = Vec::new();
            for _ in part.rows {
                let start = codes.len();
                let numbers = if layout.has_scales() { 0 } else { k };
                let weights: Vec<f32> = (0..numbers).map(|_| self.random.normal() * gain).collect();
                match layout {
                    Layout::F32 => codes.extend(weights.iter().flat_map(|w| w.to_le_bytes())),
                    Layout::F16 => codes.extend(weights.iter().flat_map(|&w| f16::from_f32(w).to_le_bytes())),
                    Layout::Bf16 => codes.extend(weights.iter().flat_map(|&w| bf16::from_f32(w).to_le_bytes())),
                    _ => codes.extend((0..layout.code_row_bytes(k) / 8).flat_map(|_| self.random.next().to_le_bytes())),
                }
                codes.resize(start + layout.code_row_bytes(k), 0);
                let start = scales.len();
                self.scales(layout, k, gain, stored, &mut scales);
                scales.resize(start + layout.scale_row_bytes(k), 0);
            }
            self.set(part.codes, &codes);
            if let Some(id) = part.scales {
                self.set(id, &scales);
            }
        }
        m
    }

    /// Scales of a row that make its weights of about `gain`, where codes are `codes`.
    fn scales(&mut self, layout: Layout, k: usize, gain: f32, codes: Codes, scales: &mut Vec<u8>) {
        let random = std::cell::RefCell::new(&mut self.random);
        let half = |unit: f32| f16::from_f32(unit * (1.0 + 0.3 * random.borrow_mut().normal())).to_le_bytes();
        let unit = gain / codes.deviation;
        let groups = Layout::groups(k);
        match layout.spec().scales {
            Scales::None => {}
            Scales::Halves(1) => scales.extend((0..groups).flat_map(|_| half(unit))),
            Scales::Halves(_) => {
                scales.extend((0..groups).flat_map(|_| [half(unit), half(-codes.mean * unit)].concat()))
            }
            Scales::Exponents => {
                let exponent = unit.log2().round() as i32 + 127;
                let near = |_| (exponent + (random.borrow_mut().next() % 3) as i32 - 1) as u8;
                scales.extend((0..groups).map(near));
            }
            Scales::SuperBlocks(bytes) => {
                for _ in 0..groups / 8 {
                    scales.extend([half(unit), half(8.0 * unit)].concat());
                    scales.extend((4..bytes).map(|_| random.borrow_mut().next() as u8));
                }
            }
        }
    }

    fn all_contents(&self) -> impl Iterator<Item = (BufferId, &[u8])> {
        let state = (self.control.state, bytemuck::bytes_of(&self.state));
        self.contents.iter().map(|(id, data)| (*id, data.as_slice())).chain([state])
    }

    /// The buffers with their contents, on an executor that holds nothing else.
    pub(crate) async fn executor(&self) -> Allocation {
        let executor: Rc<dyn Executor> = Rc::new(device().another());
        let allocation = Allocation::new(&executor, &self.buffers).await.unwrap();
        self.all_contents().for_each(|(id, data)| {
            let (words, rest) = data.split_at(data.len() / 4 * 4);
            executor.write(id, 0, words);
            if !rest.is_empty() {
                let mut last = [0; 4];
                last[..rest.len()].copy_from_slice(rest);
                executor.write(id, words.len() as u64, &last);
            }
        });
        allocation
    }

    /// The contents on the processor.
    pub(crate) fn filled(&self) -> CpuMemory {
        let mut memory = CpuMemory::new(&self.buffers);
        self.all_contents().for_each(|(id, data)| memory.write(id, 0, data));
        memory
    }

    /// What the references make of the contents.
    fn reference(&self) -> CpuMemory {
        let mut memory = self.filled();
        interpret(&self.plan, &mut memory);
        memory
    }

    /// What the kernels' forms for processors make of the contents.
    fn on_cpu(&self) -> CpuMemory {
        let mut memory = self.filled();
        run(&self.plan, &mut memory);
        memory
    }

    /// Runs the plan on both sides, and again in each of its variants that the device can run: the plan, and the bytes of
    /// `outs`: GPU, reference.
    fn run_all(&self, outs: &[BufferId]) -> Vec<(Plan, Found)> {
        let memory = self.reference();
        let device = device();
        let pipelines = |plan: &Plan| plan.steps.iter().map(|step| step.shader.id).collect::<Vec<_>>();
        let variants = Variants::each(device.facts()).map(|variant| suited(&self.plan, variant));
        let plans = variants.filter(|plan| pipelines(plan) != pipelines(&self.plan));
        std::iter::once(self.plan.clone())
            .chain(plans)
            .map(|plan| {
                let found = self.run_plan(&plan, outs, &memory);
                (plan, found)
            })
            .collect()
    }

    fn run_plan(&self, plan: &Plan, outs: &[BufferId], memory: &CpuMemory) -> Found {
        block_on(async {
            let allocation = self.executor().await;
            let executor = allocation.executor();
            let prepared = executor.prepare(plan).await.unwrap();
            executor.submit(&[&prepared], &[]).unwrap();
            let mut found = Vec::new();
            for &out in outs {
                let got = executor.read(&[(out, 0..self.buffers.get(out).bytes)]).await.unwrap();
                found.push((got, memory.bytes(out).to_vec()));
            }
            found
        })
    }

    pub(crate) fn run(&self, out: BufferId) -> (Vec<u8>, Vec<u8>) {
        self.run_plan(&self.plan, &[out], &self.reference()).remove(0)
    }

    /// The words of a buffer after the references ran.
    pub(crate) fn words(&self, out: BufferId) -> Vec<u32> {
        self.reference().words(out).to_vec()
    }

    /// The words of a buffer after the forms for processors ran.
    pub(crate) fn words_on_cpu(&self, out: BufferId) -> Vec<u32> {
        self.on_cpu().words(out).to_vec()
    }

    /// Asserts that the f32 buffer `out` is within `tolerance`, relative to the larger of 1 and the value.
    pub(crate) fn check(&self, out: BufferId, tolerance: f64, what: &str) {
        self.check_all(&[out], tolerance, what);
    }

    /// Asserts the same of several buffers after one run.
    pub(crate) fn check_all(&self, outs: &[BufferId], tolerance: f64, what: &str) {
        let (cpu, reference) = (self.on_cpu(), self.reference());
        for &out in outs {
            let values = |memory: &CpuMemory| memory.floats(out).iter().map(|&v| v.into()).collect::<Vec<f64>>();
            let tolerance = Tolerance { each: tolerance, all: CPU_ERROR };
            compare(
                values(&cpu).into_iter(),
                values(&reference).into_iter(),
                tolerance,
                &format!("{what}, on the CPU"),
            );
        }
        for (plan, found) in self.run_all(outs) {
            let mut shaders = plan.steps.iter().map(|step| &step.shader);
            let own = shaders.clone().map(|shader| Tolerance::of(shader, tolerance));
            let tolerance = own.reduce(Tolerance::looser).expect("a plan has steps");
            let what = format!("{what}, by {}", shaders.next_back().expect("a plan has steps").id);
            for (got, want) in found {
                let (got, want): (&[f32], &[f32]) = (bytemuck::cast_slice(&got), bytemuck::cast_slice(&want));
                compare(got.iter().map(|&v| v.into()), want.iter().map(|&v| v.into()), tolerance, &what);
            }
        }
    }

    /// Asserts that the buffer has the reference's bytes.
    pub(crate) fn check_exact(&self, out: BufferId, what: &str) {
        let (got, want) = self.run(out);
        assert!(self.on_cpu().bytes(out) == want, "{what}, on the CPU");
        let differ = (0..want.len()).find(|&i| got[i] != want[i]);
        if let Some(i) = differ {
            panic!("{what}: byte {i} is {}, expected {}", got[i], want[i]);
        }
        assert!(want.iter().any(|&v| v != 0), "{what}: the reference wrote nothing");
    }

    /// Asserts that every `stride`-th word of the buffer, from `first`, is the reference's.
    pub(crate) fn check_words(&self, out: BufferId, stride: usize, first: usize, what: &str) {
        let (got, want) = self.run(out);
        let words = |bytes: &[u8]| -> Vec<u32> {
            bytemuck::cast_slice(bytes).iter().skip(first).step_by(stride).copied().collect()
        };
        assert_eq!(words(&got), words(&want), "{what}");
        assert_eq!(words(self.on_cpu().bytes(out)), words(&want), "{what}, on the CPU");
    }

    /// Asserts that rows of a KV cache hold the reference's values, but for what another rounding makes of them.
    pub(crate) fn check_kv(&self, out: BufferId, dim: usize, format: KvFormat, what: &str) {
        let (got, want) = self.run(out);
        let values = |bytes: &[u8]| -> Vec<f64> {
            let words: &[u32] = bytemuck::cast_slice(bytes);
            words.chunks(format.row_words(dim)).flat_map(|row| format.values(row, dim)).collect()
        };
        let (got, want, cpu) = (values(&got), values(&want), values(self.on_cpu().bytes(out)));
        // For values of at most 4: one rounding to f16; one step of 127 where two that are nearly halfway part.
        let tolerance = match format {
            KvFormat::F32 => 1e-5,
            KvFormat::F16 => 4e-3,
            KvFormat::Q8 => 4.0 / 127.0,
        };
        for (got, what) in [(got, what), (cpu, &format!("{what}, on the CPU"))] {
            let far = |(got, want): &(&f64, &f64)| (*got - *want).abs() > 4e-3 * want.abs().max(1.0);
            let apart = got.iter().zip(&want).filter(far).count();
            assert!(apart * 500 <= got.len(), "{what}: {apart} of {} values differ by more than f16", got.len());
            compare(got.into_iter(), want.iter().copied(), Tolerance { each: tolerance, all: f64::INFINITY }, what);
        }
    }
}

fn compare(got: impl Iterator<Item = f64>, want: impl Iterator<Item = f64>, tolerance: Tolerance, what: &str) {
    let (got, want): (Vec<f64>, Vec<f64>) = (got.collect(), want.collect());
    if let Some(i) = tolerance.first_beyond(&got, &want) {
        assert!(i == got.len(), "{what}: element {i} is {}, expected {}", got[i], want[i]);
        panic!("{what}: together, elements are further off than {}", tolerance.all);
    }
    assert!(want.iter().any(|&v| v != 0.0), "{what}: the reference wrote nothing");
}

fn parsed(shader: &Shader) -> naga::Module {
    let text = shader.text();
    naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}: {}", shader.id, e.emit_to_string(&text)))
}

/// Every shader of every variant compiles, and every `Params` struct has the fields of its Rust twin, each 4 bytes wide.
#[test]
fn params_match_the_shaders() {
    for kernel in super::KERNELS {
        for shader in kernel.modules() {
            let module = parsed(&shader);
            let members = module
                .types
                .iter()
                .find_map(|(_, t)| match &t.inner {
                    naga::TypeInner::Struct { members, .. } if t.name.as_deref() == Some("Params") => Some(members),
                    _ => None,
                })
                .unwrap_or_else(|| panic!("{} has no Params", shader.id));
            let fields: Vec<(&str, u32)> =
                members.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset)).collect();
            let want: Vec<(&str, u32)> = kernel.params.iter().zip(0..).map(|(f, i)| (*f, i * 4)).collect();
            assert_eq!(fields, want, "{}", shader.id);
        }
    }
}

/// No workgroup takes more memory than WebGPU promises on every device, in no variant either.
#[test]
fn workgroups_stay_within_16_kib() {
    for shader in super::KERNELS.iter().flat_map(|kernel| kernel.modules()) {
        let module = parsed(&shader);
        let variables = module.global_variables.iter().map(|(_, variable)| variable);
        let bytes: u32 = variables
            .filter(|variable| variable.space == naga::AddressSpace::WorkGroup)
            .map(|variable| match module.types[variable.ty].inner {
                // An array as long as an override says: of the workgroup's threads, 64 or fewer.
                naga::TypeInner::Array { size: naga::ArraySize::Pending(_), stride, .. } => 64 * stride,
                ref inner => inner.size(module.to_ctx()),
            })
            .sum();
        assert!(bytes <= 16 << 10, "{}: {bytes} bytes of workgroup memory", shader.id);
    }
}
