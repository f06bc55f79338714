//! The GPU sampler against the reference, and against the distribution it should draw from.

use super::reference::{integer_masses, threshold};
use super::*;
use crate::kernels::testing::{self, Bench};
use crate::plan::{Plan, Read};

/// A slot of the ring as the host reads it.
struct Drawn {
    id: u32,
    not_finite: bool,
    logprob: f32,
    top: Vec<(u32, f32)>,
}

impl Drawn {
    fn of(slot: &[u32]) -> Self {
        let pair = |p: &[u32]| (p[0], f32::from_bits(p[1]));
        let top = slot[4..].chunks_exact(2).take(slot[3] as usize).map(pair).collect();
        Self { id: slot[0], not_finite: slot[1] != 0, logprob: f32::from_bits(slot[2]), top }
    }
}

/// Draws from one set of logits on the GPU, `batch` draws a submit. With `still`, history is put back after each batch.
fn draw(
    logits: &[f32],
    options: SamplerOptions,
    history: &[History],
    n: usize,
    batch: usize,
    still: bool,
) -> Vec<Drawn> {
    let mut b = Bench::new(1, logits.len());
    b.set(b.control.logits.buffer, bytemuck::cast_slice(logits));
    b.set(b.control.options, bytemuck::bytes_of(&options));
    b.set(b.control.history, bytemuck::cast_slice(history));
    let mut plan = Plan::new("sample");
    plan.push(Sample.steps("sample", &b.control));
    let ring_bytes = 0..u64::from(RING * SLOT) * 4;
    testing::block_on(async {
        let allocation = b.executor().await;
        let executor = allocation.executor();
        let prepared = executor.prepare(&plan).await.unwrap();
        let readback = executor.readback(ring_bytes.end).await.unwrap();
        let mut out = Vec::new();
        while out.len() < n {
            let batch = (n - out.len()).min(batch);
            let plans = vec![&prepared; batch];
            let read = Read { from: b.control.ring, bytes: ring_bytes.clone(), to: &readback };
            executor.submit(&plans, &[read]).unwrap();
            let bytes = executor.fetch(&readback).await.unwrap();
            let ring: &[u32] = bytemuck::cast_slice(&bytes);
            for i in out.len()..out.len() + batch {
                let drawn = Drawn::of(&ring[i % RING as usize * SLOT as usize..][..SLOT as usize]);
                if still {
                    let was = history[drawn.id as usize];
                    executor.write(b.control.history, u64::from(drawn.id) * 8, bytemuck::bytes_of(&was));
                }
                out.push(drawn);
            }
        }
        out
    })
}

fn draws(logits: &[f32], options: SamplerOptions, n: usize) -> Vec<Drawn> {
    draw(logits, options, &vec![History::default(); logits.len()], n, RING as usize, false)
}

fn options(temperature: f32, top_k: u32, top_p: f32, min_p: f32) -> SamplerOptions {
    SamplerOptions { temperature, top_p, min_p, top_k, seed: [7, 9], ..SamplerOptions::GREEDY }
}

/// With penalties.
fn penalised(base: SamplerOptions, repetition: f32, presence: f32, frequency: f32) -> SamplerOptions {
    SamplerOptions { adjust: 1, repetition, repetition_inverse: 1.0 / repetition, presence, frequency, ..base }
}

/// Prompt, counts and biases for a few tokens, the likeliest among them.
fn history(logits: &[f32], bias: f32) -> Vec<History> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let mut history = vec![History::default(); logits.len()];
    for (i, &id) in order.iter().enumerate() {
        let prompt = if i % 3 == 0 { History::IN_PROMPT } else { 0 };
        let bias = if i % 4 == 1 { bias } else { 0.0 };
        history[id] = History { times: prompt | (i % 5 % 3) as u32, bias: if i % 8 == 5 { -bias } else { bias } };
    }
    history
}

#[test]
fn greedy_takes_the_largest_and_the_lowest_of_equals() {
    for n in [1, 2, 255, 256, 257, 1000, 49_152] {
        let mut logits = testing::normals(n as u64, n);
        assert_eq!(draws(&logits, SamplerOptions::GREEDY, 1)[0].id, testing::argmax(&logits), "n={n}");
        let top = logits.iter().copied().fold(f32::MIN, f32::max) + 1.0;
        logits[n / 2] = top;
        logits[n - 1] = top;
        assert_eq!(draws(&logits, SamplerOptions::GREEDY, 1)[0].id, (n / 2).min(n - 1) as u32, "n={n}");
    }
}

/// A mask of `n` tokens that allows those for which `allow` is true.
fn mask_of(n: usize, allow: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut mask = vec![0u32; n.div_ceil(32)];
    (0..n).filter(|&i| allow(i)).for_each(|i| mask[i / 32] |= 1 << (i % 32));
    mask
}

/// Draws from one set of logits under a mask, on the GPU and by the form for processors, which agree in all words.
fn draws_under(logits: &[f32], o: SamplerOptions, history: &[History], mask: &[u32], n: usize) -> Vec<Drawn> {
    let mut b = Bench::new(1, logits.len());
    b.set(b.control.logits.buffer, bytemuck::cast_slice(logits));
    b.set(b.control.options, bytemuck::bytes_of(&SamplerOptions { masked: 1, ..o }));
    b.set(b.control.history, bytemuck::cast_slice(history));
    b.set(b.control.mask, bytemuck::cast_slice(mask));
    b.plan.push((0..n).flat_map(|_| Sample.steps("sample", &b.control)));
    let (ring, on_cpu) = (b.run(b.control.ring).0, b.words_on_cpu(b.control.ring));
    let slots = |words: &[u32]| -> Vec<Drawn> { words.chunks_exact(SLOT as usize).take(n).map(Drawn::of).collect() };
    let (drawn, other) = (slots(bytemuck::cast_slice(&ring)), slots(&on_cpu));
    for (a, b) in drawn.iter().zip(&other) {
        assert_eq!(a.not_finite, b.not_finite, "{o:?}: the processor differs");
        assert!(a.not_finite || a.id == b.id, "{o:?}: the processor draws {}, not {}", b.id, a.id);
    }
    drawn
}

/// A mask leaves tokens out before all else: top-k and top-p count what remains, and min-p is relative to its largest.
#[test]
fn a_mask_leaves_tokens_out_before_all_else() {
    for n in [1, 2, 31, 32, 33, 255, 300, 5000, 49_153] {
        let logits: Vec<f32> = testing::normals(n as u64, n).iter().map(|v| v * 3.0).collect();
        let likeliest = testing::argmax(&logits) as usize;
        let last = mask_of(n, |i| i + 1 == n);
        let without = mask_of(n, |i| n == 1 || i != likeliest);
        let some = mask_of(n, |i| i % 5 == n % 5 || i + 1 == n);
        for mask in [last, without, some, vec![u32::MAX; n.div_ceil(32)]] {
            let history = history(&logits, 2.0);
            for o in [
                SamplerOptions::GREEDY,
                options(1.0, 0, 1.0, 0.0),
                options(0.7, 3, 1.0, 0.0),
                options(1.0, 40, 0.5, 0.0),
                options(1.0, 0, 0.9, 0.2),
                penalised(options(0.8, 30, 0.9, 0.02), 1.2, 0.4, 0.1),
            ] {
                let drawn = draws_under(&logits, o, &history, &mask, 4);
                let mut known = history.clone();
                for (i, drawn) in drawn.iter().enumerate() {
                    let seen = masked(&adjusted(&logits, &o, &known), &mask);
                    assert_eq!(
                        (drawn.id, drawn.not_finite),
                        (sample_reference(&seen, &o, i as u32).0, false),
                        "n={n} {o:?}"
                    );
                    assert!(mask[drawn.id as usize / 32] >> (drawn.id % 32) & 1 == 1, "n={n} {o:?}: {}", drawn.id);
                    known[drawn.id as usize].times += 1;
                }
            }
        }
    }
}

/// With a mask, too, log-probabilities are the model's own, and logits that are not finite are reported wherever they are.
#[test]
fn a_mask_changes_no_log_probabilities() {
    let mut logits: Vec<f32> = testing::normals(9, 700).iter().map(|v| v * 4.0).collect();
    let (mask, known) = (mask_of(700, |i| i % 7 == 3), vec![History::default(); 700]);
    let o = SamplerOptions { logprobs: 6, ..options(1.0, 0, 1.0, 0.0) };
    for drawn in draws_under(&logits, o, &known, &mask, 3) {
        let (own, top) = logprobs(&logits, drawn.id, 5);
        assert!(drawn.id % 7 == 3 && (f64::from(drawn.logprob) - own).abs() < 2e-5);
        assert_eq!(drawn.top.iter().map(|t| t.0).collect::<Vec<_>>(), top.iter().map(|t| t.0).collect::<Vec<_>>());
    }
    logits[0] = f32::NAN; // left out by the mask
    assert!(draws_under(&logits, o, &known, &mask, 1)[0].not_finite);
}

#[test]
fn a_logit_that_is_not_finite_is_reported() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for temperature in [0.0, 0.8] {
            let mut logits = testing::normals(3, 999);
            logits[700] = bad;
            let plain = options(temperature, 0, 1.0, 0.0);
            for options in [plain, penalised(plain, 1.1, 0.5, 0.5), SamplerOptions { logprobs: 3, ..plain }] {
                assert!(draws(&logits, options, 1)[0].not_finite, "{bad} with {options:?}");
            }
        }
    }
    assert!(draws(&[f32::NAN; 40], SamplerOptions::GREEDY, 1)[0].not_finite);
}

#[test]
fn the_same_seed_draws_the_same_ids_as_the_reference() {
    for n in [5, 300, 5000] {
        let logits: Vec<f32> = testing::normals(n as u64, n).iter().map(|v| v * 3.0).collect();
        for o in [
            options(1.0, 0, 1.0, 0.0),
            options(0.6, 0, 0.95, 0.0),
            options(1.3, 40, 1.0, 0.0),
            options(0.9, 0, 1.0, 0.1),
            options(0.7, 20, 0.8, 0.05),
            options(1.0, 1, 1.0, 0.0),
            options(1.0, 0, 0.0, 0.0),
        ] {
            let got: Vec<u32> = draws(&logits, o, 64).iter().map(|d| d.id).collect();
            let want: Vec<u32> = (0..64).map(|i| sample_reference(&logits, &o, i).0).collect();
            let differ = got.iter().zip(&want).filter(|(a, b)| a != b).count();
            assert!(differ <= 1, "n={n} {o:?}: {differ} of 64 draws differ"); // exp may round differently
        }
    }
}

/// The processor's form makes the reference's integers: whatever the options, the same ids, and the same words of all buffers.
#[test]
fn the_processor_draws_what_the_reference_draws() {
    for n in [1, 2, 5, 255, 300, 5000, 49_152] {
        let mut logits: Vec<f32> = testing::normals(n as u64, n).iter().map(|v| v * 3.0).collect();
        logits[n / 2] = logits[n / 3]; // two of the same
        let draws = if n > 5000 { 2 } else { 16 };
        for temperature in [0.0, 0.3, 0.8, 1.5, 20.0] {
            for (top_k, top_p, min_p) in [
                (0, 1.0, 0.0),
                (40, 1.0, 0.0),
                (1, 0.5, 0.0),
                (0, 0.9, 0.0),
                (0, 0.999_999_9, 0.0),
                (0, 0.0, 0.2),
                (300, 0.95, 0.01),
            ] {
                let o = options(temperature, top_k, top_p, min_p);
                if temperature > 0.0 {
                    let maximum = logits.iter().copied().fold(f32::MIN, f32::max);
                    let masses = integer_masses(&logits, maximum, temperature);
                    assert_eq!(minke_vector::masses(&logits, maximum, temperature), masses);
                    assert_eq!(cpu::threshold(&logits, &masses, &o), threshold(&logits, &masses, &o), "n={n} {o:?}");
                }
                for i in 0..draws {
                    assert_eq!(cpu::draw(&logits, &o, i), sample_reference(&logits, &o, i), "n={n} {o:?}");
                }
            }
        }
    }
    for bad in [f32::NAN, f32::INFINITY] {
        let logits = [0.5, bad, 1.0, 0.0, 0.25];
        let o = options(1.0, 0, 1.0, 0.0);
        assert_eq!(cpu::draw(&logits, &o, 0), sample_reference(&logits, &o, 0));
    }
    let logits: Vec<f32> = testing::normals(3, 700).iter().map(|v| v * 3.0).collect();
    let o = SamplerOptions { logprobs: 4, ..penalised(options(0.7, 30, 0.9, 0.02), 1.1, 0.3, 0.2) };
    let mut b = Bench::new(1, logits.len());
    b.set(b.control.logits.buffer, bytemuck::cast_slice(&logits));
    b.set(b.control.options, bytemuck::bytes_of(&o));
    b.set(b.control.history, bytemuck::cast_slice(&history(&logits, 2.0)));
    b.plan.push((0..8).flat_map(|_| Sample.steps("sample", &b.control)));
    for buffer in [b.control.state, b.control.tokens, b.control.ring, b.control.history] {
        assert_eq!(b.words_on_cpu(buffer), b.words(buffer), "{buffer:?}");
    }
}

/// Counts are kept from draw to draw, so that each step sees what the steps queued before it chose.
#[test]
fn penalties_follow_what_was_generated() {
    let plain = options(0.8, 0, 1.0, 0.0);
    for n in [5, 300, 5000] {
        let logits: Vec<f32> = testing::normals(n as u64, n).iter().map(|v| v * 3.0).collect();
        for o in [
            penalised(SamplerOptions::GREEDY, 1.3, 0.0, 0.0),
            penalised(SamplerOptions::GREEDY, 1.0, 0.0, 0.25),
            penalised(plain, 1.2, 0.0, 0.0),
            penalised(plain, 0.8, -0.5, 0.0),
            penalised(plain, 1.0, 1.5, 0.0),
            penalised(plain, 1.0, 0.0, 0.7),
            penalised(options(0.7, 30, 0.9, 0.02), 1.1, 0.3, 0.2),
        ] {
            let mut history = history(&logits, 2.0);
            let got = draw(&logits, o, &history, 64, RING as usize, false);
            for (i, drawn) in got.iter().enumerate() {
                let want = sample_reference(&adjusted(&logits, &o, &history), &o, i as u32).0;
                assert_eq!(drawn.id, want, "n={n} {o:?}: draw {i}");
                history[drawn.id as usize].times += 1;
            }
        }
    }
}

#[test]
fn log_probabilities_are_those_of_the_raw_logits() {
    for (n, top) in [(1, 1), (7, 3), (700, 0), (700, 20), (5000, MAX_TOP as usize)] {
        let mut logits: Vec<f32> = testing::normals(n as u64, n).iter().map(|v| v * 4.0).collect();
        if n > 10 {
            let high = logits.iter().copied().fold(f32::MIN, f32::max);
            logits[n / 2] = high; // two of the same
            logits[n / 3] = high;
        }
        let o = SamplerOptions { logprobs: 1 + top as u32, ..penalised(options(0.7, 5, 0.9, 0.0), 1.5, 0.5, 0.5) };
        for drawn in draw(&logits, o, &history(&logits, 1.0), 3, 3, false) {
            let (own, all) = logprobs(&logits, drawn.id, top);
            assert!((f64::from(drawn.logprob) - own).abs() < 2e-5, "n={n}: {} for {own}", drawn.logprob);
            let ids = |top: &[u32]| top.to_vec();
            let (got, want): (Vec<u32>, Vec<u32>) =
                (drawn.top.iter().map(|t| t.0).collect(), all.iter().map(|t| t.0).collect());
            assert_eq!(ids(&got), ids(&want), "n={n}");
            for (a, b) in drawn.top.iter().zip(&all) {
                assert!((f64::from(a.1) - b.1).abs() < 2e-5, "n={n}: {a:?} for {b:?}");
            }
        }
    }
}

/// How probable each token is after everything, by the reference.
fn probabilities(logits: &[f32], o: &SamplerOptions, known: &[History]) -> Vec<f64> {
    let seen = adjusted(logits, o, known);
    let maximum = seen.iter().copied().fold(f32::MIN, f32::max);
    let masses = integer_masses(&seen, maximum, o.temperature);
    let least = threshold(&seen, &masses, o).max(maximum + o.min_p.ln() * o.temperature);
    let kept = |(&v, &m): (&f32, &u32)| if v >= least { f64::from(m) } else { 0.0 };
    let p: Vec<f64> = seen.iter().zip(&masses).map(kept).collect();
    let total: f64 = p.iter().sum();
    p.into_iter().map(|p| p / total).collect()
}

/// Chi-square of draws against the reference's probabilities; tokens expected fewer than five times count as one.
fn assert_distribution(logits: &[f32], o: SamplerOptions, known: &[History], n: usize) -> String {
    let p = probabilities(logits, &o, known);
    let mut counts = vec![0.0; logits.len()];
    let batch = if o.adjust == 0 { RING as usize } else { 1 };
    draw(logits, o, known, n, batch, o.adjust != 0).iter().for_each(|d| counts[d.id as usize] += 1.0);
    let (mut chi, mut cells, mut rest) = (0.0, 0, (0.0, 0.0));
    for i in 0..logits.len() {
        assert!(p[i] > 0.0 || counts[i] == 0.0, "token {i} was drawn, which {o:?} leaves out");
        let expected = p[i] * n as f64;
        if expected >= 5.0 {
            chi += (counts[i] - expected).powi(2) / expected;
            cells += 1;
        } else {
            rest = (rest.0 + counts[i], rest.1 + expected);
        }
    }
    if rest.1 >= 5.0 {
        chi += (rest.0 - rest.1).powi(2) / rest.1;
        cells += 1;
    }
    let freedom = f64::from(cells - 1).max(1.0);
    let limit = freedom + 4.0 * (2.0 * freedom).sqrt();
    let line = format!("chi-square {chi:.1} over {cells} cells (limit {limit:.1}), {n} draws");
    assert!(chi < limit, "{line} for {o:?}");
    line
}

/// Every setting alone, and all together.
fn settings() -> Vec<(&'static str, SamplerOptions, f32)> {
    let plain = options(1.0, 0, 1.0, 0.0);
    vec![
        ("temperature 1", plain, 0.0),
        ("temperature 0.6", options(0.6, 0, 1.0, 0.0), 0.0),
        ("top-k 40", options(1.0, 40, 1.0, 0.0), 0.0),
        ("top-p 0.9", options(1.0, 0, 0.9, 0.0), 0.0),
        ("min-p 0.05", options(1.0, 0, 1.0, 0.05), 0.0),
        ("repetition 1.3", penalised(plain, 1.3, 0.0, 0.0), 0.0),
        ("presence 1", penalised(plain, 1.0, 1.0, 0.0), 0.0),
        ("frequency 0.5", penalised(plain, 1.0, 0.0, 0.5), 0.0),
        ("bias 2", penalised(plain, 1.0, 0.0, 0.0), 2.0),
        ("all", penalised(options(0.8, 60, 0.95, 0.01), 1.2, 0.5, 0.3), 1.0),
    ]
}

#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = testing::normals(5, 30).iter().map(|v| v * 1.5).collect();
    for (_, o, bias) in settings() {
        assert_distribution(&logits, o, &history(&logits, bias), 1024);
    }
}

/// At the vocabulary of Qwen, with logits as peaked as a model's. `MINKE_DRAWS` sets how many (20,000 in the campaign).
#[test]
fn draws_follow_the_distribution_over_a_large_vocabulary() {
    let n = std::env::var("MINKE_DRAWS").ok().and_then(|v| v.parse().ok()).unwrap_or(200);
    let logits: Vec<f32> = testing::normals(11, 151_936).iter().map(|v| v * 3.5).collect();
    for (name, o, bias) in settings() {
        let started = std::time::Instant::now();
        let line = assert_distribution(&logits, o, &history(&logits, bias), n);
        println!("{name}: {line} in {:.1?}", started.elapsed());
    }
}

/// What is kept, and with what probability, is what transformers' processors keep (`tests/processors.py`).
#[test]
fn the_order_is_that_of_the_logits_processors() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/processors.json")).expect("the fixture is JSON");
    for case in cases.as_array().expect("cases") {
        let numbers = |v: &serde_json::Value| -> Vec<f64> {
            v.as_array().expect("numbers").iter().map(|v| v.as_f64().expect("a number")).collect()
        };
        let logits: Vec<f32> = numbers(&case["logits"]).iter().map(|&v| v as f32).collect();
        let of = |name: &str, default: f64| case["options"][name].as_f64().unwrap_or(default) as f32;
        let repetition = of("repetitionPenalty", 1.0);
        let base = SamplerOptions {
            top_k: of("topK", 0.0) as u32,
            ..options(of("temperature", 1.0), 0, of("topP", 1.0), of("minP", 0.0))
        };
        let o = penalised(base, repetition, of("presencePenalty", 0.0), of("frequencyPenalty", 0.0));
        let mut history = vec![History::default(); logits.len()];
        numbers(&case["prompt"]).iter().for_each(|&id| history[id as usize].times = History::IN_PROMPT);
        numbers(&case["generated"]).iter().for_each(|&id| history[id as usize].times += 1);
        for (id, bias) in case["options"]["logitBias"].as_object().into_iter().flatten() {
            history[id.parse::<usize>().expect("an id")].bias = bias.as_f64().expect("a number") as f32;
        }
        let p = probabilities(&logits, &o, &history);
        let want: Vec<Vec<f64>> = case["kept"].as_array().expect("tokens").iter().map(numbers).collect();
        let got: Vec<usize> = (0..p.len()).filter(|&i| p[i] > 0.0).collect();
        assert_eq!(got, want.iter().map(|w| w[0] as usize).collect::<Vec<_>>(), "{}", case["options"]);
        for w in &want {
            assert!(
                (p[w[0] as usize] - w[1]).abs() < 2e-6,
                "{}: token {} {} for {}",
                case["options"],
                w[0],
                p[w[0] as usize],
                w[1]
            );
        }
    }
}

/// What the first two steps leave: parts of slices, and masses or candidates, which several workgroups write in any order.
#[test]
fn slices_leave_what_the_references_leave() {
    for n in [1, 300, 1024, 1025, 5000, 262_145] {
        let mut logits: Vec<f32> = testing::normals(n as u64, n).iter().map(|v| v * 3.0).collect();
        if n == 1025 {
            logits[1024] = f32::NAN; // a slice without any
        }
        let every = SamplerOptions { logprobs: 3, ..penalised(options(0.7, 30, 0.9, 0.02), 1.1, 0.3, 0.2) };
        for (o, masked) in [(options(0.5, 0, 1.0, 0.05), 1), (options(1.5, 0, 1.0, 0.0), 0), (every, 0), (every, 1)] {
            let mut b = Bench::new(1, n);
            b.set(b.control.logits.buffer, bytemuck::cast_slice(&logits));
            b.set(b.control.options, bytemuck::bytes_of(&SamplerOptions { masked, ..o }));
            b.set(b.control.history, bytemuck::cast_slice(&history(&logits, 1.0)));
            b.set(b.control.mask, bytemuck::cast_slice(&mask_of(n, |i| i % 3 == 0 && !(1024..2048).contains(&i))));
            b.plan.push(Sample.steps("sample", &b.control).into_iter().take(2));
            let (got, want) = b.run(b.control.sampling);
            let [got, want] = [&got, &want].map(|bytes| slices::Left::of(bytemuck::cast_slice(bytes), n));
            got.assert_near(&want, &format!("n={n} masked={masked} {o:?}"));
        }
    }
}
