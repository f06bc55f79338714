//! The page of evidence of what `bench device` found on a machine: `docs/evidence/device-ADAPTER.md`.

use std::fmt::Write;

use anyhow::{Result, ensure};
use serde_json::Value;

/// The name of the page, and its text.
pub fn of(result: &Value) -> Result<(String, String)> {
    ensure!(result["bench"] == "device", "this is no result of the bench for devices");
    let adapter = &result["parts"]["adapter"]["result"];
    let name = adapter["name"].as_str().unwrap_or_default();
    ensure!(!name.is_empty(), "the result has no adapter: {}", state(&result["parts"]["adapter"]));
    let mut page = head(result, adapter, name);
    page += &tests(&result["parts"]);
    page += &speeds(result);
    page += &steps(result);
    page += &others(&result["parts"]);
    Ok((format!("device-{}.md", slug(name)), page))
}

/// The name of an adapter as one of a file.
fn slug(name: &str) -> String {
    let known = name.to_lowercase().replace("(r)", "").replace("(tm)", "");
    let known = known.split('(').next().unwrap_or_default(); // what follows is the driver's own name of the chip
    let words = known.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

fn head(result: &Value, adapter: &Value, name: &str) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (about, machine) = (&result["about"], &result["machine"]);
    let mut page = format!("# On a device: {name}\n\n");
    page += "Written by `cargo xtask bench device --record FILE` from what the bundle of `cargo xtask bench device` found there. Models are of\n";
    page += "published shapes with weights of noise, as on the site's bench page: 4 bits in the layers, 8 in embedding and head.\n\n";
    if adapter["software"] == true {
        page += "**This is a software adapter: it runs shaders on the processor. Its figures try the bench out. They rank kernels otherwise than a GPU\n";
        page += "does, and nothing may be concluded from them about one.**\n\n";
    }
    if result["complete"] != true {
        page += "**The run was ended before its last part.**\n\n";
    }
    let yes = |key: &str| if adapter[key] == true { "yes" } else { "no" };
    let list = |value: &Value| {
        let names: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let gigabytes = |key: &str| adapter[key].as_f64().map_or_else(|| "–".into(), |bytes| figures(bytes / 1e9));
    let changed = if about["changed"] == true { ", with changes" } else { "" };
    let rows = [
        ("date", date(result["at"].as_u64().unwrap_or(0))),
        ("Minke", format!("{}, commit {}{changed}", text(&about["version"]), text(&about["commit"]))),
        (
            "driver",
            format!("{} {}, {}", text(&adapter["driver"]), text(&adapter["driverInfo"]), text(&adapter["backend"])),
        ),
        (
            "machine",
            format!("{} cores of {}, Linux {}", machine["cores"], text(&machine["cpu"]), text(&machine["linux"])),
        ),
        ("16-bit floats, subgroups, packed bytes", ["shaderF16", "subgroups", "packedInt8"].map(yes).join(", ")),
        ("subgroup sizes", adapter["subgroupSizes"].to_string()),
        (
            "largest buffer and binding, GB",
            format!("{}, {}", gigabytes("maxBufferSize"), gigabytes("maxStorageBufferBindingSize")),
        ),
        ("variants that run, that are chosen", format!("{}; {}", list(&adapter["variants"]), list(&adapter["chosen"]))),
        ("reads, GB/s", bandwidth(&result["parts"]["bandwidth"])),
    ];
    page += "| | |\n|---|---|\n";
    rows.iter().for_each(|(key, value)| page += &format!("| {key} | {} |\n", value.replace('|', "\\|")));
    page
}

fn bandwidth(part: &Value) -> String {
    let Some(rate) = part["result"]["gigabytesPerSecond"].as_f64() else { return state(part) };
    let best = part["result"]["ways"]
        .as_object()
        .into_iter()
        .flatten()
        .max_by(|a, b| a.1.as_f64().unwrap_or(0.0).total_cmp(&b.1.as_f64().unwrap_or(0.0)));
    format!("{} ({})", figures(rate), best.map_or("", |(way, _)| way.as_str()))
}

/// What is right on this driver.
fn tests(parts: &Value) -> String {
    let mut page = "\n## What is right\n\n".to_owned();
    let self_test = &parts["self-test"];
    if !self_test.is_null() {
        let failed = self_test["result"]["failed"].as_object();
        let count = failed.map_or(0, |failed| failed.len());
        let _ = writeln!(
            page,
            "The self-test of a load, on the plans of every published model in each variant: {} runs, {count} with wrong kernels{}.",
            self_test["result"]["tested"].as_u64().unwrap_or(0),
            remark(self_test)
        );
        for (what, names) in failed.into_iter().flatten() {
            let names: Vec<&str> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let _ = writeln!(page, "- {what}: {}", names.join(", "));
        }
        page.push('\n');
    }
    page += "| tests | passed | failed | not finished |\n|---|---|---|---|\n";
    let mut failures = String::new();
    for (name, part) in parts.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with(" tests")) {
        let result = &part["result"];
        let failed: Vec<&str> = result["failed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let number = |value: &Value| value.as_u64().map_or_else(|| "–".to_owned(), |count| count.to_string());
        let (passed, unfinished) = (number(&result["passed"]), number(&result["unfinished"]));
        let _ = writeln!(page, "| {name}{} | {passed} | {} | {unfinished} |", remark(part), failed.len());
        failed.iter().for_each(|test| failures += &format!("- {name}: {test}\n"));
    }
    if !failures.is_empty() {
        page += &format!("\nFailed:\n\n{failures}");
    }
    page
}

/// The parts that are models, by name.
fn models(result: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let parts = result["parts"].as_object().into_iter().flatten();
    parts.filter(|(_, part)| part["result"]["parameters"].is_number())
}

fn speeds(result: &Value) -> String {
    let mut page = "\n## Speed\n\nIn the variants that Minke chooses here, with a KV cache of 16 bits. Tokens a second; after decode's, GB/s of weights and cache, and \
                    their\nshare of what the adapter reads. Medians of three.\n\n\
                    | model | load, s | weights, GB | prefill | decode after 128 | decode after 4,096 |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for (name, part) in models(result) {
        let chosen = &part["result"]["chosen"];
        let row = [
            format!("{name}{}", remark(part)),
            number(&chosen["loadSeconds"]),
            chosen["weights"].as_f64().map_or_else(|| "–".into(), |bytes| figures(bytes / 1e9)),
            prefill(chosen),
            decode(&chosen["decode"]["128"]),
            decode(&chosen["decode"]["4096"]),
        ];
        let _ = writeln!(page, "| {} |", row.join(" | "));
    }
    page += "\nEach variant alone, and none; tokens a second of prefill / of decode after 128:\n\n| model | none | subgroups | f16 | int8 |\n|---|---|---|---|---|\n";
    for (name, part) in models(result) {
        let cells = ["none", "subgroups", "f16", "int8"].map(|variant| {
            let alone = &part["result"]["variants"][variant];
            match alone["failed"].as_str() {
                Some(why) => format!("failed: {why}"),
                None if alone.is_null() => "–".to_owned(),
                None => format!("{} / {}{}", prefill(alone), rate(&alone["decode"]["128"]), dropped(alone)),
            }
        });
        let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
    }
    page += "\nIn the variants that a load finds the fastest (`tune`), with the time of a load that finds them:\n\n| model | variants | load, s | prefill | decode after 128 |\n|---|---|---|---|---|\n";
    for (name, part) in models(result) {
        let tuned = &part["result"]["tuned"];
        let used = tuned["kernels"].as_object().into_iter().flatten().map(|(variant, _)| variant.as_str());
        let used: Vec<&str> = used.filter(|variant| *variant != "base").collect();
        let used = match tuned["failed"].as_str() {
            Some(why) => format!("failed: {why}"),
            None if tuned.is_null() => "–".to_owned(),
            None if used.is_empty() => "none".to_owned(),
            None => used.join(", "),
        };
        let (load, read) = (number(&tuned["loadSeconds"]), prefill(tuned));
        let _ = writeln!(page, "| {name} | {used} | {load} | {read} | {} |", decode(&tuned["decode"]["128"]));
    }
    page += "\nWith a KV cache of 8 bits:\n\n| model | prefill | decode after 128 | decode after 4,096 |\n|---|---|---|---|\n";
    for (name, part) in models(result) {
        let q8 = &part["result"]["kvCache"]["q8"];
        let decoded = ["128", "4096"].map(|context| decode(&q8["decode"][context]));
        let _ = writeln!(page, "| {name} | {} | {} |", prefill(q8), decoded.join(" | "));
    }
    page
}

fn prefill(run: &Value) -> String {
    let tokens = run["prefill"]["tokens"].as_u64().filter(|tokens| *tokens != 512);
    number(&run["prefill"]["tokensPerSecond"]) + &tokens.map_or_else(String::new, |tokens| format!(" (of {tokens})"))
}

fn rate(decode: &Value) -> String {
    decode["skipped"].as_str().map_or_else(|| number(&decode["tokensPerSecond"]), str::to_owned)
}

fn decode(value: &Value) -> String {
    let Some(moved) = value["gigabytesPerSecond"].as_f64() else { return rate(value) };
    let share =
        value["shareOfBandwidth"].as_f64().map_or_else(String::new, |share| format!(", {:.0} %", share * 100.0));
    format!("{} ({}{share})", rate(value), figures(moved))
}

/// The warnings of a load that dropped a variant.
fn dropped(run: &Value) -> String {
    let warnings = run["dropped"].as_array().into_iter().flatten().filter_map(Value::as_str);
    warnings.map(|warning| format!(" ({warning})")).collect()
}

/// Where the time goes: the pipelines of a plan that take the most of it.
fn steps(result: &Value) -> String {
    let mut page = String::new();
    for (name, part) in models(result) {
        for plan in ["decode", "prefill"] {
            let mut rows: Vec<(f64, String)> = Vec::new();
            for step in part["result"]["steps"][plan].as_array().into_iter().flatten() {
                let (count, each) =
                    (step["steps"].as_f64().unwrap_or(0.0), step["microseconds"].as_f64().unwrap_or(0.0));
                let text = |key: &str| step[key].as_str().unwrap_or_default().replace('|', "\\|");
                let (kernel, detail, rate) = (text("kernel"), text("detail"), number(&step["gigabytesPerSecond"]));
                let all = count * each / 1e3;
                rows.push((
                    all,
                    format!("| {kernel} | {detail} | {count} | {} | {} | {rate} |\n", figures(each), figures(all)),
                ));
            }
            if rows.is_empty() {
                continue;
            }
            rows.sort_by(|a, b| b.0.total_cmp(&a.0));
            let what = if plan == "decode" { "a decoded token after 128" } else { "a chunk of 64 tokens" };
            let all = figures(rows.iter().map(|row| row.0).sum());
            let _ = write!(
                page,
                "\n{name}, {what}, {all} ms in all:\n\n| kernel | shapes | steps | µs each | ms in all | GB/s |\n|---|---|---|---|---|---|\n"
            );
            rows.iter().for_each(|row| page += &row.1);
        }
    }
    if page.is_empty() {
        page
    } else {
        format!("\n## Steps\n\nEach pipeline alone, repeated: weights that fit in a cache come from there.\n{page}")
    }
}

/// The parts that did not end by themselves, and why.
fn others(parts: &Value) -> String {
    let ended = |part: &Value| part["status"] == "done";
    let mut lines = String::new();
    for (name, part) in parts.as_object().into_iter().flatten().filter(|(_, part)| !ended(part)) {
        lines += &format!("- {name}: {}\n", state(part));
        let log = part["log"].as_str().unwrap_or_default();
        log.lines().filter(|line| !line.is_empty()).for_each(|line| lines += &format!("      {line}\n"));
    }
    if lines.is_empty() { lines } else { format!("\n## Parts that are not whole\n\n{lines}") }
}

/// How a part ended.
fn state(part: &Value) -> String {
    let status = part["status"].as_str().unwrap_or("not run");
    part["why"].as_str().map_or_else(|| status.to_owned(), |why| format!("{status}, {why}"))
}

/// The same in brackets, for a part that is not whole.
fn remark(part: &Value) -> String {
    if part["status"] == "done" { String::new() } else { format!(" ({})", state(part)) }
}

fn number(value: &Value) -> String {
    value.as_f64().map_or_else(|| "–".to_owned(), figures)
}

/// Three significant digits.
fn figures(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 6) };
    format!("{value:.*}", digits as usize)
}

/// The day of a time in seconds since 1970 (the civil calendar by eras of 400 years, as in Howard Hinnant's `civil_from_days`).
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run that was cut in its last part.
    fn result(software: bool) -> Value {
        let decoded = json!({ "tokensPerSecond": 1.2e2, "gigabytesPerSecond": 5.5, "shareOfBandwidth": 0.625 });
        let run = json!({ "loadSeconds": 1.5, "weights": 9.0e7, "prefill": { "tokens": 512, "tokensPerSecond": 2345.0 },
            "decode": { "128": decoded, "4096": { "skipped": "reading 4096 tokens would take 105 s" } } });
        json!({
            "bench": "device", "at": 1_796_096_204, "complete": true,
            "about": { "version": "0.1.0", "commit": "0123456789ab", "changed": false },
            "machine": { "cpu": "a processor", "cores": 8, "linux": "6.1" },
            "parts": {
                "adapter": { "status": "done", "result": { "name": "Some(R) GPU(TM) 7 (CHIP, LLVM 15)", "software": software, "variants": ["f16"], "chosen": [] } },
                "bandwidth": { "status": "done", "result": { "gigabytesPerSecond": 812.3, "ways": { "slow": 1.0, "fast": 812.3 } } },
                "self-test": { "status": "done", "result": { "tested": 144, "failed": { "a model, none": ["matvec.q4"] } } },
                "kernel tests": { "status": "cut", "why": "after 120 s", "result": { "passed": 70, "failed": ["kernels::norm::wrong"], "ignored": 0, "unfinished": 9 } },
                "a model": { "status": "cut", "why": "after 30 s", "log": "the driver said so", "result": { "parameters": 1,
                    "chosen": run, "steps": { "decode": [
                        { "kernel": "norm", "detail": "x", "steps": 1, "microseconds": 3.0 },
                        { "kernel": "matvec.q4", "detail": "w[8,32]:q4", "steps": 28, "microseconds": 50.0, "gigabytesPerSecond": 300.0 } ] }, "tuned": { "kernels": { "base": 9, "int8": 3 }, "loadSeconds": 1.8 }, "variants": { "none": run, "f16": { "failed": "out of memory" } } } },
                "later": { "status": "skipped", "why": "no time was left" },
            },
        })
    }

    #[test]
    fn a_page_has_the_figures_and_what_is_missing() {
        let (name, page) = of(&result(false)).expect("a page");
        assert_eq!(name, "device-some-gpu-7.md");
        for line in [
            "| date | 2026-12-01 |",
            "| Minke | 0.1.0, commit 0123456789ab |",
            "| reads, GB/s | 812 (fast) |",
            "144 runs, 1 with wrong kernels.",
            "- a model, none: matvec.q4",
            "| kernel tests (cut, after 120 s) | 70 | 1 | 9 |",
            "- kernel tests: kernels::norm::wrong",
            "| a model (cut, after 30 s) | 1.50 | 0.0900 | 2345 | 120 (5.50, 62 %) | reading 4096 tokens would take 105 s |",
            "| a model | 2345 / 120 | – | failed: out of memory | – |",
            "| a model | int8 | 1.80 | – | – |",
            "| a model | – | – | – |",
            "a model, a decoded token after 128, 1.40 ms in all:",
            "| matvec.q4 | w[8,32]:q4 | 28 | 50.0 | 1.40 | 300 |",
            "- later: skipped, no time was left",
            "      the driver said so",
        ] {
            assert!(page.lines().any(|found| found.contains(line)), "{line} is not in\n{page}");
        }
        assert!(!page.contains("software adapter"));
    }

    #[test]
    fn a_software_adapter_is_called_one() {
        let (_, page) = of(&result(true)).expect("a page");
        assert!(page.contains("**This is a software adapter"));
    }

    #[test]
    fn a_run_without_an_adapter_makes_no_page() {
        let mut broken = result(false);
        broken["parts"]["adapter"] = json!({ "status": "failed", "why": "exit status: 101" });
        let error = of(&broken).expect_err("no name").to_string();
        assert!(error.contains("failed, exit status: 101"), "{error}");
        assert!(of(&json!({})).is_err());
    }

    #[test]
    fn days_of_the_calendar() {
        let days = [0, 951_782_399, 951_782_400, 951_868_800, 4_107_542_400].map(date);
        assert_eq!(days, ["1970-01-01", "2000-02-28", "2000-02-29", "2000-03-01", "2100-03-01"]);
    }
}
