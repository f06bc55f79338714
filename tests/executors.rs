//! The engine on executors that are not GPUs: the same plans through the kernels' forms for processors, and through their
//! references.
#![allow(missing_docs)]

mod common;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use common::golden::{check, f16_tolerance, golden, greedy, ids};
use common::{HOST, all_logits, block_on, data, load, on_cpu};
use minke::cpu::{Arithmetic, Cpu, threads};
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions, Source};
use minke::weights::{DiskFolder, MemoryFile};
use minke::{Cancel, Result};

fn on_reference(folder: &Path, options: LoadOptions, workers: usize) -> Result<Engine> {
    block_on(async {
        let checkpoint = Source::Folder(&DiskFolder::new(folder), None).open().await?;
        let executor = Rc::new(Cpu::new(threads(Arithmetic::Exact, Some(workers))));
        Engine::load_on(executor, &checkpoint, options, HOST, &Cancel::default(), &mut |_| {}).await
    })
}

/// Every case that the GPU runs: logits of prefill and of decode, and the greedy continuation.
#[test]
fn golden_cases_on_the_cpu() {
    let Some(models) = data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models")) else { return };
    let mut cases: Vec<_> =
        std::fs::read_dir(&models).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    cases.sort();
    for folder in cases {
        let case = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let open = |options| load(&folder, options);
        let f32 = LoadOptions { f32: true, ..on_cpu() };
        let worst = check(&folder, &case, &open, f32, 1e-3).expect("it loads");
        let normal = check(&folder, &case, &open, on_cpu(), f16_tolerance(&folder)).expect("it loads");
        println!("{case}: logits are off by at most {worst:.1e}; {normal:.1e} with a 16-bit cache");
    }
}

/// Logits of prefill and decode are bit for bit the same with any number of workers, also more than there are rows of a matrix.
#[test]
fn results_do_not_depend_on_the_number_of_workers() {
    let Some(models) = data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models")) else { return };
    for entry in std::fs::read_dir(&models).expect("a folder") {
        let folder = entry.expect("an entry").path();
        let golden = golden(&folder);
        let facts = golden["prompts"].as_object().and_then(|prompts| prompts.values().next()).expect("a prompt");
        let tokens = [ids(&facts["ids"]), ids(&facts["greedy_ids"])].concat();
        for f32 in [false, true] {
            let made = |threads| {
                let options = LoadOptions { threads: Some(threads), f32, ..on_cpu() };
                let engine = load(&folder, options).expect("it loads");
                (all_logits(&engine, &tokens), greedy(&engine, &tokens, 8))
            };
            let one = made(1);
            for threads in if f32 { vec![2] } else { vec![2, 3, 8] } {
                assert!(made(threads) == one, "{}: {threads} threads, f32: {f32}", folder.display());
            }
        }
    }
}

/// Dense layers, windows and sinks, latent attention, mixtures; MXFP4, FP8 and bf16 weights.
#[test]
fn golden_cases_on_the_reference_executor() {
    let Some(models) = data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models")) else { return };
    for case in ["llama", "gemma3_text", "gpt_oss", "deepseek_v3"] {
        let folder = models.join(case);
        let options = LoadOptions { f32: true, ..LoadOptions::default() };
        let worst =
            check(&folder, case, &|options| on_reference(&folder, options, 1), options, 1e-3).expect("it loads");
        println!("{case}: logits are off by at most {worst:.1e}");
    }
}

/// A generation whose model is unloaded meanwhile ends with an error, as it does on a GPU.
#[test]
fn unloading_ends_what_runs_on_the_cpu() {
    let Some(models) = data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models")) else { return };
    let engine = load(&models.join("llama"), on_cpu()).expect("it loads");
    let mut parts = 0;
    let mut part = |_| {
        parts += 1;
        if parts == 3 {
            engine.executor().destroy();
        }
    };
    let options = GenerateOptions { max_output_tokens: Some(64.0), raw: true, ..GenerateOptions::default() };
    let cancel = Cancel::default();
    let result = block_on(engine.generate(Input::Ids(vec![5, 6, 7]), &options, &cancel, &mut part));
    assert_eq!(result.map(|r| r.ids).unwrap_err().code(), "device-lost");
    assert_eq!(engine.memory().total(), 0);
    let again = block_on(engine.generate(Input::Ids(vec![5, 6, 7]), &options, &cancel, &mut |_| {}));
    assert_eq!(again.map(|r| r.ids).unwrap_err().code(), "device-lost");
}

/// A model whose device is lost goes on with the same tokens where its fallback moves it: in the middle of an answer, and between two.
#[test]
fn a_lost_device_is_replaced() {
    let Some(models) = data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models")) else { return };
    let folder = models.join("llama");
    let options = GenerateOptions {
        max_output_tokens: Some(24.0),
        seed: Some(7.0),
        temperature: Some(1.0),
        repetition_penalty: Some(1.3),
        raw: true,
        ..GenerateOptions::default()
    };
    let open = || Rc::new(load(&folder, on_cpu()).expect("it loads"));
    let cancel = Cancel::default();
    let turn = |engine: &Engine, conversation, ids: Vec<u32>, lost_after: usize| {
        let mut parts = 0;
        let mut part = |_| {
            parts += 1;
            if parts == lost_after {
                engine.executor().destroy();
            }
        };
        block_on(engine.generate_in(Some(conversation), Input::Ids(ids), &options, &cancel, &mut part))
    };
    let prompt = vec![5, 6, 7, 8, 9];
    let engine = open();
    let conversation = engine.open_conversation();
    let want = turn(&engine, conversation, prompt.clone(), 0).expect("an answer").ids;
    let longer = [&prompt[..], &want].concat();
    let after = turn(&engine, conversation, longer.clone(), 0).expect("an answer").ids;
    // Before the first token, in the middle, and not before the next turn.
    for lost_after in [1, 9, 0] {
        let engine = open();
        let (moved, again) = (Rc::downgrade(&engine), folder.clone());
        engine.set_fallback(Rc::new(move || {
            let (engine, folder) = (moved.upgrade().expect("the engine"), again.clone());
            Box::pin(async move {
                let checkpoint = Source::Folder(&DiskFolder::new(&folder), None).open().await?;
                engine.move_to_cpu(&checkpoint, &Cancel::default(), &mut |_| {}).await
            })
        }));
        let conversation = engine.open_conversation();
        assert_eq!(turn(&engine, conversation, prompt.clone(), lost_after).expect("an answer").ids, want);
        if lost_after == 0 {
            engine.executor().destroy();
        }
        assert_eq!(turn(&engine, conversation, longer.clone(), 0).expect("an answer").ids, after, "{lost_after}");
        assert_eq!((engine.device().kind, &engine.device().reason[..]), ("cpu", "the GPU was lost"));
        let all = block_on(engine.score(Input::Ids(longer.clone()), true, 0, &cancel)).expect("scores");
        assert_eq!(all.len(), longer.len() - 1);
        // There is one fallback.
        engine.executor().destroy();
        let error = turn(&engine, conversation, prompt.clone(), 0).map(|r| r.ids).unwrap_err();
        assert_eq!(error.code(), "device-lost");
    }
}

/// What an engine asks of an executor besides running plans: snapshots, saved conversations, memory that is released. With several
/// workers, each has a part of every cache and snapshot.
#[test]
fn conversations_and_memory_on_the_reference_executor() {
    let saved: Vec<_> = [1, 2, 3].into_iter().filter_map(conversations_and_memory).collect();
    assert!(
        saved.windows(2).all(|pair| pair[0] == pair[1]),
        "saved conversations do not depend on the number of workers"
    );
}

fn conversations_and_memory(workers: usize) -> Option<Vec<u8>> {
    let models = data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models"))?;
    let folder = models.join("llama");
    let engine = on_reference(&folder, LoadOptions::default(), workers).expect("it loads");
    let (_, facts) = golden(&folder)["prompts"]
        .as_object()
        .expect("prompts")
        .iter()
        .next()
        .map(|(k, v)| (k.clone(), v.clone()))
        .expect("a prompt");
    let (prompt, want) = (ids(&facts["ids"]), ids(&facts["greedy_ids"]));
    let options = GenerateOptions { max_output_tokens: Some(4.0), temperature: Some(0.0), ..Default::default() };
    let (cancel, held) = (Cancel::default(), engine.memory());
    let turn = |conversation, ids: &[u32]| {
        let input = Input::Ids(ids.to_vec());
        block_on(engine.generate_in(Some(conversation), input, &options, &cancel, &mut |_| {})).expect("a turn")
    };
    let [first, second] = [engine.open_conversation(), engine.open_conversation()];
    assert_eq!(turn(first, &prompt).ids, want[..4]);
    assert_eq!(turn(second, &prompt[..2]).usage.input_tokens, 2);
    assert!(engine.memory().kv > held.kv, "the first conversation has a snapshot");
    let longer = [&prompt[..], &want[..4]].concat();
    let again = turn(first, &longer);
    assert_eq!((again.usage.cached_tokens, &again.ids[..]), (longer.len() - 1, &want[4..8]));

    let saved = RefCell::new(Vec::new());
    let mut sink = |bytes: &[u8]| saved.borrow_mut().extend_from_slice(bytes);
    block_on(engine.save_conversation(first, "a note", &cancel, &mut sink)).expect("it is saved");
    let saved = saved.into_inner();
    let file = MemoryFile::new("saved", saved.clone());
    let (third, note) = block_on(engine.restore_conversation(&file, &cancel)).expect("it is restored");
    assert_eq!(note, "a note");
    let longest = [&longer[..], &want[4..8]].concat();
    assert!(turn(third, &longest).usage.cached_tokens >= longer.len());

    [first, second, third].into_iter().for_each(|id| engine.close_conversation(id));
    assert_eq!(engine.memory(), held);
    assert_eq!(greedy(&engine, &prompt, 4), want[..4]);
    let executor = engine.executor().clone();
    drop(engine);
    assert_eq!(executor.memory().total(), 0);
    Some(saved)
}
