//! Counts what a binary of Rust's tests says.

use serde_json::{Value, json};

/// Lines of a failed binary's output that are kept.
const KEPT: usize = 200;

/// The tests of a binary so far.
#[derive(Default)]
pub struct Tests {
    announced: Option<u64>,
    passed: u64,
    failed: Vec<String>,
    ignored: u64,
    /// What follows `failures:`.
    output: Vec<String>,
    failures: bool,
}

impl Tests {
    /// Takes a line of its output.
    pub fn line(&mut self, line: &str) {
        let test = line.strip_prefix("test ").and_then(|line| line.rsplit_once(" ... "));
        match test {
            Some((_, "ok")) => self.passed += 1,
            Some((name, "FAILED")) => self.failed.push(name.to_owned()),
            Some((_, "ignored")) => self.ignored += 1,
            _ => {}
        }
        if let Some(count) = line.strip_prefix("running ").and_then(|line| line.split(' ').next()?.parse().ok()) {
            self.announced = Some(count);
        }
        self.failures |= line == "failures:";
        if self.failures && self.output.len() < KEPT {
            self.output.push(line.to_owned());
        }
    }

    /// The result so far. `unfinished` tests were running, or not begun, when the binary ended.
    pub fn value(&self) -> Value {
        let done = self.passed + self.failed.len() as u64 + self.ignored;
        let mut value = json!({
            "passed": self.passed, "failed": self.failed, "ignored": self.ignored,
            "unfinished": self.announced.map(|count| count.saturating_sub(done)),
        });
        if !self.output.is_empty() {
            value["output"] = json!(self.output.join("\n"));
        }
        value
    }
}
