//! Tests the engine's calls: how they end, options, errors, and that the model stays usable after each.
#![allow(missing_docs)]

mod common;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use async_trait::async_trait;
use common::{HOST, all_logits, block_on, copy, data, load, on_cpu, on_gpu};
use minke::engine::{
    Engine, FinishReason, GenerateOptions, GenerateResult, Input, LoadOptions, LogitRows, Progress, Stage, StreamPart,
};
use minke::text::Message;
use minke::weights::{ByteSource, Checkpoint, DiskFolder, Folder, MemoryFolder};
use minke::{Cancel, Error, FormatKind, Result};

fn llama() -> Option<PathBuf> {
    data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models/llama"))
}

const PROMPT: [u32; 7] = [195, 157, 265, 216, 309, 436, 160];

fn options(n: usize) -> GenerateOptions {
    GenerateOptions { max_output_tokens: Some(n as f64), temperature: Some(0.0), ..GenerateOptions::default() }
}

fn run(
    engine: &Engine,
    input: Input,
    options: &GenerateOptions,
    cancel: &Cancel,
) -> (Result<GenerateResult>, Vec<StreamPart>) {
    let mut parts = Vec::new();
    let result = block_on(engine.generate(input, options, cancel, &mut |part| parts.push(part)));
    (result, parts)
}

fn generate(engine: &Engine, options: &GenerateOptions) -> GenerateResult {
    run(engine, Input::Ids(PROMPT.to_vec()), options, &Cancel::default()).0.expect("a generation")
}

#[test]
fn generations_end_as_requested() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let whole = generate(&engine, &options(12));
    assert_eq!((whole.ids.len(), whole.finish_reason), (12, FinishReason::Length));
    assert_eq!((whole.usage.input_tokens, whole.usage.output_tokens), (7, 12));

    // The streamed text equals the returned text.
    let (again, parts) = run(&engine, Input::Ids(PROMPT.to_vec()), &options(12), &Cancel::default());
    assert_eq!(again.expect("again").ids, whole.ids);
    let mut text = String::new();
    for part in &parts {
        if let StreamPart::TextDelta { text: delta, .. } = part {
            text.push_str(delta);
        }
    }
    assert_eq!(text, whole.text);
    assert!(matches!(parts[0], StreamPart::Prefill { done: 7, total: 7 }), "{:?}", parts[0]);
    assert!(matches!(parts.last(), Some(StreamPart::Finish { finish_reason: FinishReason::Length, .. })));

    // A stop sequence ends the text before itself.
    let stop: String = whole.text.chars().skip(3).take(2).collect();
    let stopped = generate(&engine, &GenerateOptions { stop_sequences: vec![stop.clone()], ..options(12) });
    assert_eq!(stopped.finish_reason, FinishReason::Stop);
    assert_eq!(stopped.text, whole.text[..whole.text.find(&stop).expect("it is there")]);
    assert!(stopped.ids.len() < 12);

    // A stopped call keeps its output. An aborted call returns nothing, and the next call works like the first.
    for abort in [false, true] {
        let cancel = Cancel::default();
        let mut deltas = 0;
        let mut emit = |part: StreamPart| {
            deltas += usize::from(matches!(part, StreamPart::TextDelta { .. }));
            if deltas == 3 {
                if abort { cancel.abort() } else { cancel.stop() }
            }
        };
        let result = block_on(engine.generate(Input::Ids(PROMPT.to_vec()), &options(12), &cancel, &mut emit));
        match result {
            Ok(r) => {
                assert!(!abort);
                assert_eq!(r.finish_reason, FinishReason::Abort);
                assert!(r.ids.len() < 12 && whole.ids.starts_with(&r.ids));
            }
            Err(e) => assert!(abort && e == Error::Aborted, "{e}"),
        }
        assert_eq!(generate(&engine, &options(12)).ids, whole.ids);
    }
    // A call that is stopped during prefill generates no token and leaves a consistent state.
    let cancel = Cancel::default();
    let long: Vec<u32> = (0..200).collect();
    let mut emit = |part: StreamPart| {
        if matches!(part, StreamPart::Prefill { .. }) {
            cancel.stop();
        }
    };
    let stopped = block_on(engine.generate(Input::Ids(long), &options(12), &cancel, &mut emit)).expect("what there is");
    assert_eq!((stopped.ids.len(), stopped.finish_reason), (0, FinishReason::Abort));
    assert_eq!(generate(&engine, &options(12)).ids, whole.ids);
    let cancel = Cancel::default();
    cancel.abort();
    assert_eq!(run(&engine, Input::Ids(PROMPT.to_vec()), &options(12), &cancel).0.map(|r| r.ids), Err(Error::Aborted));
}

#[test]
fn a_seed_reproduces() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let warm = |seed: f64| GenerateOptions { temperature: Some(1.0), seed: Some(seed), ..options(20) };
    let first = generate(&engine, &warm(1.0)).ids;
    assert_eq!(generate(&engine, &warm(1.0)).ids, first);
    assert_ne!(generate(&engine, &warm(2.0)).ids, first);
    // The most restrictive sampling options are equivalent to greedy decoding.
    let greedy = generate(&engine, &options(20)).ids;
    for narrow in [
        GenerateOptions { top_k: Some(1.0), ..warm(3.0) },
        GenerateOptions { top_p: Some(1e-6), ..warm(3.0) },
        GenerateOptions { temperature: Some(1e-9), ..warm(3.0) },
    ] {
        assert_eq!(generate(&engine, &narrow).ids, greedy, "{narrow:?}");
    }
}

#[test]
fn bad_arguments_are_refused_with_the_facts_and_change_nothing() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions { context_length: Some(100), ..LoadOptions::default() }).expect("it loads");
    let before = generate(&engine, &options(5)).ids;
    let refused =
        |input: Input, o: &GenerateOptions| run(&engine, input, o, &Cancel::default()).0.map(|r| r.ids).unwrap_err();
    let overflow = Error::ContextOverflow { input_tokens: 101, context_length: 100 };
    assert_eq!(refused(Input::Ids(vec![7; 101]), &options(5)), overflow);
    assert_eq!(refused(Input::Ids(vec![]), &options(5)).code(), "invalid-argument");
    assert_eq!(refused(Input::Ids(vec![512]), &options(5)).code(), "invalid-argument");
    assert_eq!(refused(Input::Text("a".into()), &options(0)).code(), "invalid-argument");
    let user = || Message::new("user", "hello");
    let raw = GenerateOptions { raw: true, ..options(5) };
    assert_eq!(refused(Input::Messages(vec![user()]), &raw).code(), "invalid-argument");
    let misplaced = vec![Message { prefix: true, ..user() }];
    assert!(run(&engine, Input::Messages(misplaced), &options(5), &Cancel::default()).0.is_err());
    assert_eq!(generate(&engine, &options(5)).ids, before);

    // A full context still yields one token; reaching the end of the context ends the generation.
    let full = run(&engine, Input::Ids(vec![7; 100]), &options(5), &Cancel::default()).0.expect("one token");
    assert_eq!((full.ids.len(), full.finish_reason), (1, FinishReason::Length));
    let reached = run(&engine, Input::Ids(vec![7; 90]), &options(50), &Cancel::default()).0.expect("some tokens");
    assert_eq!((reached.ids.len(), reached.finish_reason), (11, FinishReason::Length));
}

#[test]
fn conversations_go_through_the_template() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let text = run(&engine, Input::Text("Hi!".into()), &options(6), &Cancel::default()).0.expect("an answer");
    let user = Message::new("user", "Hi!");
    let messages =
        run(&engine, Input::Messages(vec![user.clone()]), &options(6), &Cancel::default()).0.expect("the same");
    assert_eq!(text.ids, messages.ids);
    assert_eq!(messages.messages.len(), 2);
    assert_eq!((messages.messages[1].role.as_str(), &messages.messages[1].content), ("assistant", &messages.text));

    // A partial answer is continued, and completed in place.
    let begun = Message { prefix: true, ..Message::new("assistant", "Well, ") };
    let result =
        run(&engine, Input::Messages(vec![user, begun]), &options(6), &Cancel::default()).0.expect("it goes on");
    assert_eq!(result.messages.len(), 2);
    assert_eq!(result.messages[1].content, format!("Well, {}", result.text));
}

#[test]
fn logits_come_whole_or_for_the_last_token_alone() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let ids: Vec<u32> = (0..100).map(|i| i * 5).collect(); // two chunks
    let all = all_logits(&engine, &ids);
    let mut last = Vec::new();
    let mut sink = |row: &[f32]| {
        last.push(row.to_vec());
        Ok(())
    };
    block_on(engine.forward(&ids, LogitRows::Last, &Cancel::default(), &mut sink)).expect("logits");
    assert_eq!((all.len(), last.len()), (100, 1));
    let worst = all[99].iter().zip(&last[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "the last row differs by {worst}"); // matmul and matvec sum in different orders

    let scores = block_on(engine.score(Input::Ids(ids), true, 2, &Cancel::default())).expect("scores");
    assert_eq!(scores.len(), 99);
    for s in &scores {
        let top = s.top.as_ref().expect("asked for");
        assert!(s.logprob <= top[0].logprob && top[0].logprob >= top[1].logprob && top[0].logprob < 0.0);
    }
}

/// A folder that records which files were requested.
#[derive(Clone)]
struct Watched {
    inner: MemoryFolder,
    opened: Rc<RefCell<Vec<String>>>,
}

#[async_trait(?Send)]
impl Folder for Watched {
    fn id(&self) -> &str {
        "watched"
    }

    fn share(&self) -> Rc<dyn Folder> {
        Rc::new(self.clone())
    }

    async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
        self.opened.borrow_mut().push(name.to_owned());
        self.inner.open(name).await
    }
}

fn load_from(folder: &dyn Folder, cancel: &Cancel, progress: &mut dyn FnMut(Progress)) -> Result<Engine> {
    block_on(Engine::load_folder(folder, None, on_cpu(), HOST, cancel, progress))
}

#[test]
fn an_unknown_architecture_is_refused_by_name_before_any_weight_is_fetched() {
    let Some(folder) = llama() else { return };
    let inner = copy(&folder, |name, bytes| {
        if name == "config.json" {
            let text = String::from_utf8(bytes.clone()).expect("UTF-8").replace("\"llama\"", "\"zebra\"");
            *bytes = text.replace("LlamaForCausalLM", "ZebraForCausalLM").into_bytes();
        }
    });
    let watched = Watched { inner, opened: Rc::default() };
    match load_from(&watched, &Cancel::default(), &mut |_| {}) {
        Err(Error::Architecture { name, supported }) => {
            assert_eq!(name, "zebra");
            assert!(supported.iter().any(|s| s == "llama"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(*watched.opened.borrow(), ["config.json"]);
}

#[test]
fn a_load_reports_progress_and_can_be_aborted() {
    let Some(folder) = llama() else { return };
    let mut seen: Vec<Progress> = Vec::new();
    let cancel = Cancel::default();
    load_from(&DiskFolder::new(&folder), &cancel, &mut |p| seen.push(p)).expect("it loads");
    let (download, compile): (Vec<_>, Vec<_>) = seen.iter().partition(|p| p.stage == Stage::Download);
    for stage in [&download, &compile] {
        assert!(stage.windows(2).all(|w| w[0].loaded <= w[1].loaded && w[0].total == w[1].total));
        let last = stage.last().expect("some progress");
        assert_eq!(last.loaded, last.total);
    }
    let mut abort = |_| cancel.abort();
    assert_eq!(load_from(&DiskFolder::new(&folder), &cancel, &mut abort).map(|_| ()), Err(Error::Aborted));
}

#[test]
fn weights_that_are_not_finite_are_an_error_at_the_first_token_and_never_text() {
    let Some(folder) = llama() else { return };
    let checkpoint = block_on(Checkpoint::open_folder(&DiskFolder::new(&folder), &|_| Ok(()))).expect("it opens");
    let norm = checkpoint.tensor("model.norm.weight").expect("the last norm").clone();
    let shard = checkpoint.shards[norm.shard].name().to_owned();
    for bad in [0x7fc0u16, 0x7f80] {
        let folder = copy(&folder, |name, bytes| {
            if name == shard {
                bytes[norm.range.start as usize..][..2].copy_from_slice(&bad.to_le_bytes());
            }
        });
        let engine = load_from(&folder, &Cancel::default(), &mut |_| {}).expect("it loads");
        let result = run(&engine, Input::Ids(PROMPT.to_vec()), &options(5), &Cancel::default()).0.map(|r| r.text);
        assert_eq!(result, Err(Error::NonFinite { position: 6 }));
    }
}

/// MXFP4 takes 4.25 bits per weight; an exponent that means NaN is rejected.
#[test]
fn four_bit_floats_are_held_as_they_were_published() {
    let Some(folder) = llama() else { return };
    let folder = folder.with_file_name("gpt_oss_mxfp4");
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    assert_eq!(engine.info().quantization, "bf16+mxfp4");
    let checkpoint = block_on(Checkpoint::open_folder(&DiskFolder::new(&folder), &|_| Ok(()))).expect("it opens");
    let published: u64 = checkpoint.tensors.values().map(minke::weights::TensorEntry::bytes).sum();
    let held = engine.memory().weights;
    println!("{held} bytes held of {published} published");
    // Vectors are stored in f32, rows of fewer than four groups with whole words of exponents; the RoPE table is
    // computed.
    assert!(held < published + published / 4, "{held} bytes for {published}");
    let scales = checkpoint.tensors.values().find(|t| t.name.ends_with("down_proj_scales")).expect("exponents").clone();
    let shard = checkpoint.shards[scales.shard].name().to_owned();
    let folder = copy(&folder, |name, bytes| {
        if name == shard {
            bytes[scales.range.end as usize - 1] = 255;
        }
    });
    let error = load_from(&folder, &Cancel::default(), &mut |_| {}).map(drop).unwrap_err();
    assert_eq!((error.code(), error.detail()["kind"].as_str()), ("format", Some("BadValue")), "{error}");
}

#[test]
fn dropping_a_model_frees_its_memory() {
    let Some(folder) = llama() else { return };
    for options in [on_gpu(), LoadOptions { threads: Some(2), ..on_cpu() }] {
        let engine = load(&folder, options).expect("it loads");
        let memory = engine.memory();
        // bf16 weights; keys and values of 512 tokens, 3 layers, 2 heads of 24, in f16
        assert_eq!(memory.kv, 2 * 512 * 3 * 2 * 24 * 2);
        assert!(memory.weights >= 361_344 && memory.scratch > 0, "{memory:?}");
        let executor = engine.executor().clone();
        drop(engine);
        assert_eq!(executor.memory().total(), 0);
    }
}

/// With the first 99.6 MB of the real DeepSeek-R1-Distill-Qwen-7B, everything is read up to the missing rest, which the
/// error names.
#[test]
fn a_real_model_that_is_cut_short_says_so() {
    let Some(file) = data("MINKE_R1_PART", ".cache/r1-distill-qwen-7b-part0.gguf") else { return };
    match load(&file, LoadOptions::default()) {
        Err(Error::Format { kind, file, message }) => {
            let cut = matches!(kind, FormatKind::Truncated | FormatKind::BadOffset);
            assert!(cut && file.ends_with("part0.gguf"), "{kind:?} {file}: {message}");
        }
        other => panic!("{other:?}"),
    }
}
