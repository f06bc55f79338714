//! Tests prefix reuse: prompts that continue from the KV cache give the same answers as without reuse, whatever
//! happened before.
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;

use common::odd::Random;
use common::{HOST, block_on, copy, data, load, on_cpu, on_gpu};
use minke::engine::{
    Engine, FinishReason, GenerateOptions, GenerateResult, Input, LoadOptions, Logprobs, Reasoning, StreamPart,
};
use minke::gpu::DeviceOptions;
use minke::text::Message;
use minke::weights::MemoryFile;
use minke::{Cancel, Error, Result};

/// Cases with each kind of cache: full, sliding window, chunked, latent; dense layers and mixtures of experts.
const CASES: [&str; 8] =
    ["llama", "mistral", "gemma3_text", "gpt_oss", "llama4_text", "deepseek_v2", "deepseek_v3", "qwen2_moe"];

fn golden(case: &str) -> Option<PathBuf> {
    Some(data("MINKE_GOLDEN", ".cache/golden")?.join("models").join(case))
}

fn below(random: &mut Random, n: usize) -> usize {
    random.0 = random.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (random.0 >> 33) as usize % n
}

fn options(n: usize) -> GenerateOptions {
    GenerateOptions { max_output_tokens: Some(n as f64), temperature: Some(0.0), ..GenerateOptions::default() }
}

fn generate(engine: &Engine, prompt: &[u32], options: &GenerateOptions) -> GenerateResult {
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    block_on(engine.generate(Input::Ids(prompt.to_vec()), options, &cancel, &mut quiet)).expect("a generation")
}

/// Two engines of a case: one that reuses prefixes, one that does not.
fn pair(case: &str, options: LoadOptions) -> Option<[Engine; 2]> {
    let folder = golden(case)?;
    let of = |without_reuse| load(&folder, LoadOptions { without_reuse, ..options }).expect("it loads");
    Some([of(false), of(true)])
}

/// Chunks as long as a fast GPU takes, whose last tiles are not full.
#[test]
fn long_chunks_make_the_same_bits() {
    for case in ["llama", "qwen3_moe", "gpt_oss"] {
        let Some(folder) = golden(case) else { return };
        let in_chunks = |chunk| {
            let engine = load(&folder, LoadOptions { chunk: Some(chunk), ..on_gpu() }).expect("it loads");
            let prompt: Vec<u32> = (0..203).map(|i| (i * i * 31 + i * 7 + 3) % 480).collect();
            let got = generate(&engine, &prompt, &GenerateOptions { logprobs: Some(Logprobs::Top(8.0)), ..options(3) });
            (got.ids, got.logprobs)
        };
        let short = in_chunks(64);
        assert_eq!(in_chunks(256), short, "{case}");
    }
}

/// Prefill kernels do not mix tokens: keys and values are bit-identical however the prompt is split into chunks.
#[test]
fn chunking_does_not_change_keys_and_values() {
    let on_both =
        CASES.map(|case| (case, on_cpu())).into_iter().chain([("gpt_oss", on_gpu()), ("deepseek_v3", on_gpu())]);
    for (case, options_) in on_both {
        let Some([with, without]) = pair(case, LoadOptions { chunk: Some(24), ..options_ }) else { return };
        let mut random = Random(case.len() as u64);
        let mut prompt: Vec<u32> = Vec::new();
        let (mut reused, mut from_the_start) = (0, 0);
        for _ in 0..24 {
            // Mostly truncate a little and extend again; sometimes go far back.
            let back = if below(&mut random, 4) == 0 { 200 } else { 12 };
            let keep = prompt.len() - below(&mut random, prompt.len().min(back) + 1);
            prompt.truncate(keep);
            let more = 1 + below(&mut random, 40).min(200 - keep);
            prompt.extend((0..more).map(|_| below(&mut random, 480) as u32));
            let scored = GenerateOptions { logprobs: Some(Logprobs::Top(8.0)), ..options(1) };
            let [got, want] = [&with, &without].map(|engine| generate(engine, &prompt, &scored));
            assert_eq!((got.ids, got.logprobs), (want.ids, want.logprobs), "{case}: after {keep} of {}", prompt.len());
            assert_eq!(want.usage.cached_tokens, 0);
            assert!(got.usage.cached_tokens < prompt.len());
            reused += got.usage.cached_tokens;
            from_the_start += usize::from(keep > 0 && got.usage.cached_tokens == 0);
        }
        println!("{case}: {reused} tokens were there, {from_the_start} of 24 prompts were fed from the start");
        assert!(reused > 300, "{case}: {reused}");
        let rings = ["mistral", "gemma3_text", "gpt_oss", "llama4_text"].contains(&case);
        assert_eq!(rings, from_the_start > 0, "{case}: only rings lose what lies far back");
    }
}

/// LongRoPE changes the rotation of all keys when a sequence exceeds the model's original length (64 in this test):
/// then nothing in the cache can be reused, in either direction, in prompts and in answers.
#[test]
fn a_change_of_rotation_prefills_again() {
    let Some([with, without]) = pair("phi3", LoadOptions { f32: true, ..LoadOptions::default() }) else { return };
    let mut random = Random(7);
    let text: Vec<u32> = (0..120).map(|_| below(&mut random, 480) as u32).collect();
    let mut before = 0;
    for length in [40, 50, 90, 100, 60, 63, 65, 64, 120, 30] {
        let scored = GenerateOptions { logprobs: Some(Logprobs::Top(8.0)), ..options(1) };
        let [got, want] = [&with, &without].map(|engine| generate(engine, &text[..length], &scored));
        assert_eq!((got.ids, got.logprobs), (want.ids, want.logprobs), "{length} tokens after {before}");
        let changes = before > 0 && (before > 64) != (length > 64);
        assert_eq!(got.usage.cached_tokens == 0, before == 0 || changes, "{length} tokens after {before}");
        before = length;
    }
    // An answer that exceeds the length: each token is the one that follows from the text before it.
    let answer = generate(&with, &text[..58], &options(14)).ids;
    for at in 0..answer.len() {
        let so_far = [&text[..58], &answer[..at]].concat();
        assert_eq!(generate(&without, &so_far, &options(1)).ids, answer[at..=at], "token {at} of the answer");
    }
}

/// Consecutive turns with random stops, aborts, penalties and seeds. Keys and values from decode steps are reused,
/// too; they differ from those of prefill in the last bits, which has no effect in f32.
#[test]
fn turns_are_the_same_with_and_without_reuse() {
    let on_cpu = ["llama", "mistral", "llama4_text", "deepseek_v3", "qwen2_moe"].map(|case| (case, on_cpu()));
    for (case, options_) in on_cpu.into_iter().chain([("mistral", on_gpu())]) {
        for queued_steps in [1, 3] {
            let f32 = LoadOptions { f32: true, chunk: Some(16), queued_steps: Some(queued_steps), ..options_ };
            let Some([with, without]) = pair(case, f32) else { return };
            let mut random = Random(17 * queued_steps as u64);
            let mut said: Vec<u32> = Vec::new();
            let (mut cached, mut fed) = (0, 0);
            for turn in 0..9 {
                if said.len() > 300 || below(&mut random, 5) == 0 {
                    said.truncate(below(&mut random, said.len().min(60) + 1));
                }
                said.extend((0..1 + below(&mut random, 30)).map(|_| below(&mut random, 480) as u32));
                let warm = below(&mut random, 2) == 1;
                let asked = GenerateOptions {
                    temperature: Some(if warm { 0.8 } else { 0.0 }),
                    seed: Some(turn.into()),
                    repetition_penalty: warm.then_some(1.3),
                    frequency_penalty: warm.then_some(0.2),
                    ..options(1 + below(&mut random, 20))
                };
                if below(&mut random, 3) == 0 {
                    // Aborted after a number of parts; afterwards only what both engines did counts.
                    let (cancel, after) = (Cancel::default(), below(&mut random, 8));
                    let mut parts = 0;
                    let mut emit = |_: StreamPart| {
                        parts += 1;
                        if parts > after {
                            cancel.abort();
                        }
                    };
                    let mut longer = said.clone();
                    longer.extend([7; 40]);
                    let end = block_on(with.generate(Input::Ids(longer), &asked, &cancel, &mut emit));
                    assert!(matches!(end, Ok(_) | Err(Error::Aborted)), "{end:?}");
                }
                let [got, want] = [&with, &without].map(|engine| generate(engine, &said, &asked));
                assert_eq!(got.ids, want.ids, "{case}, turn {turn} of {} tokens, {asked:?}", said.len());
                cached += got.usage.cached_tokens;
                fed += said.len();
                said.extend(&got.ids);
            }
            println!("{case}, {queued_steps} queued: {cached} of {fed} tokens were there");
            // A ring buffer in which an aborted turn wrapped around has lost earlier tokens.
            let share = if ["mistral", "llama4_text"].contains(&case) { 10 } else { 3 };
            assert!(cached * share > fed, "{case}: {cached} of {fed}");
        }
    }
}

/// A stop only costs the queued steps; the next turn continues where the answer ended.
#[test]
fn a_stop_costs_at_most_the_queued_steps() {
    let Some(folder) = golden("llama") else { return };
    for queued_steps in [1, 2, 3] {
        let options_ = LoadOptions { queued_steps: Some(queued_steps), f32: true, ..on_gpu() };
        let engine = load(&folder, options_).expect("it loads");
        let prompt: Vec<u32> = (0..20).map(|i| i * 17 + 3).collect();
        let whole = generate(&engine, &prompt, &options(30));
        for stop_after in [1, 2, 5, 9] {
            // The caller stops at a token, as a host that watches the output does.
            let cancel = Cancel::default();
            let mut tokens = 0;
            let scored = GenerateOptions { logprobs: Some(Logprobs::Chosen(true)), ..options(30) };
            let mut emit = |part: StreamPart| {
                if let StreamPart::TextDelta { logprobs: Some(l), .. } = part {
                    tokens += l.len();
                }
                if tokens >= stop_after {
                    cancel.stop();
                }
            };
            let before = engine.counts();
            let run = engine.generate(Input::Ids(prompt.clone()), &scored, &cancel, &mut emit);
            let stopped = block_on(run).expect("what there is");
            let after = engine.counts();
            assert_eq!(stopped.finish_reason, FinishReason::Abort);
            let n = stopped.ids.len();
            assert!(whole.ids.starts_with(&stopped.ids) && n < 30, "{:?}", stopped.ids);
            let steps = (after.submits - before.submits) as usize;
            assert!((n..n + queued_steps).contains(&steps), "{steps} submits for {n} tokens, {queued_steps} at once");
            assert_eq!(after.readbacks - before.readbacks, n as u64, "what is past the end is not waited for");
            // Continuing gives what would have followed; everything that was fed is reused.
            let mut longer = prompt.clone();
            longer.extend(&stopped.ids);
            let rest = generate(&engine, &longer, &options(30 - n));
            assert_eq!(rest.ids, whole.ids[n..]);
            // The last token's slot is written only if another step was queued; the token is fed again for its logits
            // anyway.
            assert_eq!(rest.usage.cached_tokens, longer.len() - 1);
        }
    }
}

/// An error leaves nothing in the cache that a later prompt would reuse by mistake.
#[test]
fn errors_and_other_calls_between_turns_change_nothing() {
    for case in ["llama", "mistral"] {
        let Some([with, without]) = pair(case, LoadOptions { f32: true, ..LoadOptions::default() }) else { return };
        let prompt: Vec<u32> = (0..90).map(|i| i * 5 % 480).collect();
        let want = generate(&without, &prompt, &options(12)).ids;
        let run = |input: Vec<u32>, cancel: &Cancel| {
            block_on(with.generate(Input::Ids(input), &options(12), cancel, &mut |_| {}))
        };
        assert_eq!(generate(&with, &prompt, &options(12)).ids, want);
        assert!(run(vec![], &Cancel::default()).is_err());
        assert!(run(vec![1 << 20], &Cancel::default()).is_err());
        assert!(run(vec![3; 1 << 16], &Cancel::default()).is_err());
        let again = generate(&with, &prompt, &options(12));
        assert_eq!((again.ids, again.usage.cached_tokens), (want.clone(), 89));
        let mut rows = |_: &[f32]| Ok(());
        block_on(with.forward(&[9; 50], minke::engine::LogitRows::All, &Cancel::default(), &mut rows)).expect("logits");
        assert_eq!(generate(&with, &[&[9; 50][..], &prompt].concat(), &options(1)).usage.cached_tokens, 0);
        block_on(with.score(Input::Ids(vec![8; 50]), false, 0, &Cancel::default())).expect("scores");
        let again = generate(&with, &prompt, &options(12));
        assert_eq!((again.ids, again.usage.cached_tokens), (want, 0));
    }
}

fn answer(engine: &Engine, conversation: u32, said: &[u32], n: usize) -> Result<GenerateResult> {
    let (options, cancel, mut quiet) = (options(n), Cancel::default(), |_| {});
    let input = Input::Ids(said.to_vec());
    block_on(engine.generate_in(Some(conversation), input, &options, &cancel, &mut quiet))
}

/// A turn of a conversation, which appends the answer.
fn turn(engine: &Engine, conversation: u32, said: &mut Vec<u32>, new: &[u32], n: usize) -> GenerateResult {
    said.extend(new);
    let result = answer(engine, conversation, said, n).expect("an answer");
    said.extend(&result.ids);
    result
}

/// Tokens of a conversation that have not been fed yet: the new ones, and the last token of the last answer.
fn owed(result: &GenerateResult) -> usize {
    result.usage.input_tokens - result.usage.cached_tokens
}

#[test]
fn conversations_share_the_cache_and_pay_for_their_own_tokens() {
    // A case with full caches, and one with a ring buffer.
    for case in ["llama", "mistral", "deepseek_v3"] {
        let f32 = LoadOptions { f32: true, ..LoadOptions::default() };
        let Some([engine, without]) = pair(case, f32) else { return };
        let held = engine.memory().kv;
        let of = |seed: u32| -> Vec<u32> { (0..60).map(|i| (i * i + seed * 41 + i * seed) % 480).collect() };
        let [a, b] = [engine.open_conversation(), engine.open_conversation()];
        let (mut said_a, mut said_b) = (Vec::new(), Vec::new());
        assert_eq!(owed(&turn(&engine, a, &mut said_a, &of(1), 10)), 60);
        assert_eq!(owed(&turn(&engine, b, &mut said_b, &of(2), 10)), 60);
        for round in 3..6 {
            assert_eq!(owed(&turn(&engine, a, &mut said_a, &of(round)[..20], 10)), 21, "{case}");
            assert_eq!(owed(&turn(&engine, b, &mut said_b, &of(round + 9)[..20], 10)), 21, "{case}");
        }
        let copied = engine.memory().kv - held;
        // Snapshot of the inactive conversation; the other one is in the cache.
        assert!(copied > 0 && copied <= held, "{case}: {copied} bytes beside {held}");
        // A call without a conversation in between: both conversations are kept.
        generate(&engine, &of(99), &options(3));
        assert_eq!(owed(&turn(&engine, b, &mut said_b, &[5; 4], 4)), 5);
        assert_eq!(owed(&turn(&engine, a, &mut said_a, &[6; 4], 4)), 5);
        // A clone and its original continue independently.
        let c = block_on(engine.clone_conversation(a)).expect("a clone");
        let mut said_c = said_a.clone();
        assert_eq!(owed(&turn(&engine, c, &mut said_c, &of(20)[..50], 10)), 51, "{case}");
        let own = owed(&turn(&engine, a, &mut said_a, &of(21)[..50], 10));
        assert_eq!(own, 50, "{case}: the clone has fed the last answer's last token");
        assert_eq!(owed(&turn(&engine, c, &mut said_c, &[7], 10)), 2, "{case}");
        for said in [&said_a, &said_b, &said_c] {
            let (prompt, answer) = said.split_at(said.len() - if std::ptr::eq(said, &said_b) { 4 } else { 10 });
            assert_eq!(generate(&without, prompt, &options(answer.len())).ids, answer, "{case}");
        }
        // Prefilled in advance, and truncated to an earlier turn.
        let ahead = [&said_c[..], &of(30)].concat();
        let (ids, defaults, cancel) = (Input::Ids(ahead.clone()), options(1), Cancel::default());
        let fed = block_on(engine.append(Some(c), ids, &defaults, &cancel));
        assert_eq!(fed.expect("it is fed"), ahead.len());
        assert_eq!(owed(&turn(&engine, c, &mut said_c, &[&of(30)[..], &[1, 2]].concat(), 5)), 2, "{case}");
        said_c.truncate(80);
        let back = turn(&engine, c, &mut said_c, &[3; 3], 5);
        assert_eq!(owed(&back), if case == "mistral" { 83 } else { 3 }, "{case}: a ring has lost it");
        for id in [a, b, c] {
            engine.close_conversation(id);
        }
        assert_eq!(engine.memory().kv, held, "{case}: all copies are given back");
        assert_eq!(answer(&engine, a, &[1], 1).expect_err("it is closed").code(), "invalid-argument");
        assert_eq!(block_on(engine.clone_conversation(a)).expect_err("it is closed").code(), "invalid-argument");
    }
}

/// Without memory for snapshots, answers are the same but cost more.
#[test]
fn conversations_without_room_are_fed_again() {
    let Some(folder) = golden("llama") else { return };
    let of = |seed: u32| -> Vec<u32> { (0..100).map(|i| (i * 31 + seed * 41) % 480).collect() };
    let run = |copies_budget, max_memory| {
        let device = DeviceOptions { max_memory, ..DeviceOptions::default() };
        let options = LoadOptions { f32: true, copies_budget: Some(copies_budget), device, ..on_gpu() };
        let engine = load(&folder, options).expect("it loads");
        let total = engine.memory().total();
        let held = engine.memory().kv;
        let mut said = [Vec::new(), Vec::new(), Vec::new()];
        let ids = [0; 3].map(|_| engine.open_conversation());
        let mut owes = 0;
        for round in 0..3 {
            for i in 0..3 {
                owes += owed(&turn(&engine, ids[i], &mut said[i], &of((round * 3 + i) as u32)[..30], 6));
                assert!(engine.memory().kv - held <= copies_budget);
            }
        }
        (said, owes, total)
    };
    let (plenty, some, none) = (run(1 << 30, None), run(100 << 10, None), run(0, None));
    // The least memory in which the model loads is more than it holds afterwards: some snapshots fit, others do not.
    let device = |max_memory| DeviceOptions { max_memory: Some(max_memory), ..DeviceOptions::default() };
    let loads = |limit| load(&folder, LoadOptions { f32: true, device: device(limit), ..on_gpu() }).is_ok();
    let limit = (0..256).map(|i| plenty.2 + (i << 13)).find(|&limit| loads(limit)).expect("room to load in");
    let refused = run(1 << 30, Some(limit));
    assert!(refused.0 == none.0, "a device that grants no copy");
    assert!(plenty.1 < refused.1 && refused.1 <= none.1, "{} of {} tokens fed", refused.1, none.1);
    assert!(plenty.0 == some.0 && some.0 == none.0);
    assert_eq!(plenty.1, 3 * 30 + 6 * 31);
    assert_eq!(none.1, 3 * (30 + 66 + 102));
    println!("{} tokens fed with room, {} with some, {} without", plenty.1, some.1, none.1);
    assert!(plenty.1 <= some.1 && some.1 <= none.1);
}

/// A saved conversation continues in another engine as if it had never left; invalid files are rejected and change
/// nothing.
#[test]
fn conversations_are_saved_and_restored() {
    for (case, device) in [("llama", on_cpu()), ("llama", on_gpu()), ("mistral", on_cpu()), ("deepseek_v3", on_cpu())] {
        let Some(folder) = golden(case) else { return };
        let open = |case: &str, options: LoadOptions| load(&folder.with_file_name(case), options).expect("it loads");
        let engine = open(case, device);
        let id = engine.open_conversation();
        let mut said = Vec::new();
        turn(&engine, id, &mut said, &(0..150).map(|i| i * 7 % 480).collect::<Vec<_>>(), 20);
        let save = |engine: &Engine, id| {
            let mut file = Vec::new();
            let (cancel, mut sink) = (Cancel::default(), |bytes: &[u8]| file.extend(bytes));
            block_on(engine.save_conversation(id, "a note", &cancel, &mut sink)).expect("it is saved");
            file
        };
        let file = save(&engine, id);
        let restore = |engine: &Engine, file: &[u8]| {
            block_on(engine.restore_conversation(&MemoryFile::new("state", file), &Cancel::default()))
        };
        let before = said.clone();
        let want = turn(&engine, id, &mut said, &[9; 5], 15);
        // Only the last token of the last answer, which was never fed, is fed.
        let other = open(case, device);
        let (there, note) = restore(&other, &file).expect("it is restored");
        assert_eq!(note, "a note");
        let got = turn(&other, there, &mut before.clone(), &[9; 5], 15);
        assert_eq!((&got.ids, owed(&got)), (&want.ids, owed(&want)), "{case}");
        println!("{case}: {} bytes for {} tokens", file.len(), before.len());
        // Saved again from a snapshot, and after the snapshot was evicted.
        let tight = open(case, LoadOptions { copies_budget: Some(0), ..device });
        for engine in [&other, &tight] {
            let (there, _) = restore(engine, &file).expect("it is restored");
            generate(engine, &[3; 9], &options(2));
            let again = save(engine, there);
            let (there, _) = restore(engine, &again).expect("it is restored");
            assert_eq!(turn(engine, there, &mut before.clone(), &[9; 5], 15).ids, want.ids, "{case}");
        }

        let refused = |engine: &Engine, file: &[u8]| restore(engine, file).expect_err("it is refused").code();
        let mut random = Random(3);
        for _ in 0..25 {
            let mut damaged = file.clone();
            let at = below(&mut random, damaged.len());
            damaged[at] ^= 1 << below(&mut random, 8);
            let code = refused(&other, &damaged);
            assert!(["integrity", "format", "context-overflow"].contains(&code), "{case}: byte {at}: {code}");
            assert_eq!(refused(&other, &file[..at]), "format", "{case}: cut to {at} bytes");
        }
        assert_eq!(refused(&other, &[&file[..], &[0]].concat()), "format");
        assert_eq!(refused(&other, b""), "format");
        let longer = [&file[..8], &u64::MAX.to_le_bytes(), &file[16..]].concat();
        assert_eq!(refused(&other, &longer), "format");
        assert_eq!(refused(&open("qwen2", device), &file), "format", "another model's");
        let f32 = LoadOptions { f32: true, ..device };
        assert_eq!(refused(&open(case, f32), &file), "format", "another format of the cache");
        let short = LoadOptions { context_length: Some(100), ..device };
        assert_eq!(refused(&open(case, short), &file), "context-overflow");
        let cancel = Cancel::default();
        cancel.abort();
        let aborted = block_on(other.restore_conversation(&MemoryFile::new("state", &file[..]), &cancel));
        assert_eq!(aborted.expect_err("it is aborted"), Error::Aborted);
        let (there, _) = restore(&other, &file).expect("after all that, it is restored");
        assert_eq!(turn(&other, there, &mut before.clone(), &[9; 5], 15).ids, want.ids, "{case}");
    }
}

/// With a template that omits earlier reasoning, the next turn reuses the prefix up to the first difference from what
/// was generated.
#[test]
fn a_turn_after_reasoning_reuses_the_prefix_before_it() {
    const THINKS: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}\
                          {% if add_generation_prompt %}<|assistant|><think>\n{% endif %}";
    let Some(folder) = golden("llama") else { return };
    let folder = copy(&folder, |name, bytes| {
        if name == "chat_template.jinja" {
            *bytes = THINKS.as_bytes().to_vec();
        }
    });
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let options_ = LoadOptions { f32: true, ..on_cpu() };
    let engine = block_on(Engine::load_folder(&folder, None, options_, HOST, &cancel, &mut quiet)).expect("it loads");
    let mut quiet = |_: StreamPart| {};
    let mut answer = |messages: &[Message]| {
        let input = Input::Messages(messages.to_vec());
        let asked = GenerateOptions { reasoning: Reasoning::Budget { max_tokens: 9.0 }, ..options(40) };
        block_on(engine.generate(input, &asked, &cancel, &mut quiet)).expect("an answer")
    };
    let first = answer(&[Message::new("user", "What is the answer to everything?")]);
    assert_eq!(first.usage.reasoning_tokens, 9);
    let mut messages = first.messages;
    messages.push(Message::new("user", "And why?"));
    let second = answer(&messages);
    let ids = |messages: &[Message], generate| {
        engine.encode_messages(messages, &[], generate, &Default::default()).expect("a prompt").ids
    };
    let (before, after) = (ids(&messages[..1], true), ids(&messages, true));
    let common = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    assert!(common >= ids(&messages[..1], false).len() && common < before.len(), "{common} of {}", before.len());
    assert_eq!(second.usage.cached_tokens, common);
    // The same question again: all but its last token are reused.
    assert_eq!(answer(&messages).usage.cached_tokens, after.len() - 1);
}
