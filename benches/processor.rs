//! Measures the processor's kernels alone, beside what a core can read and multiply: products in every layout, and attention. It times
//! them natively, and writes what a worker is told in each case, so that `benches/processor.mjs` measures the same in WebAssembly.
//! `cargo run --release --example bench_processor -- [--quick]` writes `target/bench/processor.json`.
#![allow(missing_docs)]

use std::hint::black_box;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use minke::cpu::{Arithmetic, Command, Worker};
use minke::kernels::{Attention, Control, Epilogue, KvFormat, Matmul, Matvec, Peers, Span, State};
use minke::plan::{Activation, BufferId, Buffers, Layout, Matrix, Plan, Role, Share};
use serde_json::{Value, json};

/// Bytes of weights of a case at least: more than the caches of a core hold.
const WEIGHTS: usize = 64 << 20;
/// Tokens of a prefill chunk.
const CHUNK: usize = 64;

#[derive(Debug)]
struct Alone;

impl Peers for Alone {
    fn exchange(&self, _: &mut [u8], _: Range<usize>) {}
}

/// A kernel in a shape.
struct Case {
    name: String,
    buffers: Buffers,
    control: Control,
    plan: Plan,
    state: State,
    /// Bytes of weights, or of the cache, that it reads.
    bytes: usize,
    /// Multiplications.
    products: usize,
}

/// A product of a matrix in a layout with the inputs of so many tokens.
fn product(layout: Layout, k: usize, tokens: usize) -> Case {
    let row = layout.code_row_bytes(k) + layout.scale_row_bytes(k);
    // A prefill's matrix is as large as a layer's: the inputs of all tokens meet each row.
    let rows = if tokens == 1 { (WEIGHTS / row).next_multiple_of(64) } else { 1536 };
    let mut buffers = Buffers::default();
    let control = Control::declare(&mut buffers, tokens, 64);
    let w = Matrix::declare(&mut buffers, "w", k, &[(rows, layout)], 1 << 30).expect("a matrix");
    let x = Activation::declare(&mut buffers, "x", tokens, k);
    let y = Activation::declare(&mut buffers, "y", tokens, rows);
    let mut plan = Plan::new("product");
    let epilogue = Epilogue::default();
    if tokens == 1 {
        plan.push(Matvec { w: &w, x, from: 0, y, norm: None, epilogue }.steps("w", &control));
    } else {
        plan.push(Matmul { w: &w, x, y, epilogue }.steps("w", &control));
    }
    let name = format!("{} [{rows}, {k}] × {tokens}", layout.name());
    let state = State { position: 0, count: tokens as u32, ..State::default() };
    Case { name, buffers, control, plan, state, bytes: rows * row, products: rows * k * tokens }
}

/// Attention of 9 heads with 3 key and value heads of 64 values, as in SmolLM2.
fn attention(format: KvFormat, position: usize, tokens: usize) -> Case {
    let (heads, kv_heads, dim) = (9, 3, 64);
    let mut buffers = Buffers::default();
    let control = Control::declare(&mut buffers, tokens, 64);
    let capacity = position + tokens;
    let mut cache = |name: &str| buffers.add(name, format.bytes(capacity * kv_heads, dim), Role::Kv);
    let (k_cache, v_cache) = (cache("keys"), cache("values"));
    let q = Activation::declare(&mut buffers, "q", tokens, heads * dim);
    let out = Activation::declare(&mut buffers, "out", tokens, heads * dim);
    let attention = Attention {
        q,
        k_cache,
        v_cache,
        capacity,
        out,
        format,
        heads,
        kv_heads,
        key_dim: dim,
        value_dim: dim,
        value_row: dim,
        span: Span::All,
        scale: 0.125,
        sinks: None,
    };
    let mut plan = Plan::new("attention");
    plan.push([attention.whole("attention", &control)]);
    let state = State { position: position as u32, count: tokens as u32, ..State::default() };
    let name = format!("attention, {format:?}, {tokens} tokens at {position}");
    let bytes = 2 * format.bytes(capacity * kv_heads, dim) as usize;
    Case { name, buffers, control, plan, state, bytes, products: 2 * heads * dim * tokens * (position + tokens / 2) }
}

/// What a worker is told: commands, and writes to buffers; then the command to time.
struct Told {
    setup: Vec<Vec<u8>>,
    /// A buffer, and the bytes that it is filled with, over and over.
    fills: Vec<(BufferId, Vec<u8>, usize)>,
    run: Vec<u8>,
}

/// Numbers that are no subnormals, infinities or NaNs in any layout: a pattern of small codes, and scales of 1/1024.
fn contents(case: &Case) -> Vec<(BufferId, Vec<u8>, usize)> {
    let fill = |(id, spec): (u32, &minke::plan::BufferSpec)| {
        let pattern = match spec.role {
            // f16 of about 0.001, which is also a harmless code.
            Role::Weights | Role::Kv => vec![0x11, 0x14],
            Role::Scratch => 0.37f32.to_le_bytes().to_vec(),
        };
        (BufferId(id), pattern, spec.bytes as usize)
    };
    let mut fills: Vec<_> = (0..).zip(case.buffers.iter()).map(fill).collect();
    let state = bytemuck::bytes_of(&case.state).to_vec();
    fills.push((case.control.state, state.clone(), state.len()));
    fills
}

fn told(case: &Case) -> Told {
    let setup = vec![Command::allocate(&case.buffers).to_bytes(), Command::prepare(0, &case.plan).to_bytes()];
    Told { setup, fills: contents(case), run: Command::Run(vec![0]).to_bytes() }
}

/// The least seconds that `work` takes in some rounds of at least 50 ms together.
fn least(quick: bool, mut work: impl FnMut()) -> f64 {
    work();
    let (began, mut least) = (Instant::now(), f64::MAX);
    let (rounds, seconds) = if quick { (2, 0.02) } else { (5, 0.2) };
    let mut round = 0;
    while round < rounds || began.elapsed().as_secs_f64() < seconds {
        let began = Instant::now();
        work();
        least = least.min(began.elapsed().as_secs_f64());
        round += 1;
    }
    least
}

fn seconds(told: &Told, quick: bool) -> f64 {
    let mut worker = Worker::new(Share::WHOLE, Rc::new(Alone), Arithmetic::Fast);
    told.setup.iter().for_each(|command| drop(worker.carry_out(command)));
    for (buffer, pattern, len) in &told.fills {
        worker.bytes_mut(*buffer, 0, *len).iter_mut().zip(pattern.iter().cycle()).for_each(|(to, byte)| *to = *byte);
    }
    least(quick, || drop(worker.carry_out(&told.run)))
}

/// Gigabytes that this core reads a second.
fn reads(quick: bool) -> f64 {
    let words: Vec<u64> = (0..(WEIGHTS / 8) as u64).collect();
    let sum = || words.chunks_exact(8).fold([0u64; 8], |sums, words| std::array::from_fn(|i| sums[i] ^ words[i]));
    WEIGHTS as f64
        / least(quick, || {
            black_box(sum());
        })
        / 1e9
}

fn main() {
    let quick = std::env::args().any(|word| word == "--quick");
    let mut cases: Vec<Case> = Vec::new();
    for layout in Layout::ALL {
        cases.extend([product(layout, 1536, 1), product(layout, 1536, CHUNK)]);
    }
    cases.extend([product(Layout::Q4Min, 576, 1), product(Layout::Q4Min, 576, CHUNK)]);
    for format in [KvFormat::F16, KvFormat::Q8] {
        cases.extend([attention(format, 4096, 1), attention(format, 1024, CHUNK)]);
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder).expect("a folder");
    let read = reads(quick);
    println!("reads {read:.1} GB/s");
    let mut rows: Vec<Value> = Vec::new();
    for case in &cases {
        let told = told(case);
        let seconds = seconds(&told, quick);
        let (bytes, products) = (case.bytes as f64 / seconds / 1e9, case.products as f64 / seconds / 1e9);
        println!("{:<44} {bytes:6.2} GB/s {:4.0} %  {products:7.2} G products/s", case.name, 100.0 * bytes / read);
        let fills: Vec<_> = told.fills.iter().map(|(id, pattern, len)| json!([id.0, pattern, len])).collect();
        rows.push(json!({
            "name": case.name, "bytes": case.bytes, "products": case.products, "seconds": seconds,
            "setup": told.setup, "run": told.run, "fills": fills,
        }));
    }
    let result = json!({ "quick": quick, "reads": read, "cases": rows });
    std::fs::write(folder.join("processor.json"), result.to_string()).expect("a file");
}
