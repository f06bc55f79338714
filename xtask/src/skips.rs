//! What tests may do without: a skip of anything else fails `cargo xtask test`.
//!
//! A skipped test names what it needs. Natively it prints `SKIPPED: WHAT: why` (tests/support/skip.rs); in `tests/browser`, `WHAT: why` is
//! its `skip`. A test that cargo ignores counts as a skip of its file.

use anyhow::{Context, Result};

/// Something that a test needs and that a machine may not have.
struct Optional {
    what: &'static str,
    why: &'static str,
    /// Whether it may be missing in CI (where the variable `CI` is set), and not only on a developer's machine.
    in_ci: bool,
}

#[rustfmt::skip] // one per line
const OPTIONAL: &[Optional] = &[
    Optional { what: "../shared/data/reports", why: "the files of public bug reports are not part of the project", in_ci: true },
    Optional { what: "../shared/data/toolcalls", why: "reference data of tool calls; the project makes its own", in_ci: true },
    Optional { what: ".cache/templates", why: "published chat templates are not part of the project", in_ci: true },
    Optional { what: "../shared/data/structured", why: "the reference data of constraints is not part of the project", in_ci: true },
    Optional { what: "MINKE_HOSTILE", why: "names a folder of further hostile files; the project makes its own", in_ci: true },
    Optional { what: "Mesa's RADV as recorded", why: "another version of the compiler counts otherwise", in_ci: true },
    Optional { what: "WebGPU in Firefox", why: "needs a Vulkan driver that Firefox accepts", in_ci: true },
    Optional { what: "Chromium", why: "setup installs it, but only as root on Debian", in_ci: false },
    Optional { what: "Firefox", why: "setup installs it, but only as root on Debian", in_ci: false },
];

/// A test that did not run, or one of its cases.
#[derive(Debug, PartialEq, Eq)]
pub struct Skip {
    /// The file that it is in.
    file: String,
    /// What it needs.
    what: String,
    why: String,
}

impl Skip {
    fn new(file: &str, text: &str) -> Self {
        let (what, why) = text.split_once(": ").unwrap_or((text, "no reason is given"));
        Self { file: file.to_owned(), what: what.to_owned(), why: why.to_owned() }
    }

    /// The skip that a line of the native tests' output tells. The name of the test may precede what it printed.
    pub fn native(file: &str, line: &str) -> Option<Self> {
        line.split_once("SKIPPED: ").map(|(_, text)| Self::new(file, text))
    }

    /// The tests of a file that cargo ignored, if any.
    pub fn ignored(file: &str, count: usize) -> Option<Self> {
        (count > 0).then(|| Self::new(file, &format!("{count} ignored tests: #[ignore]")))
    }

    /// The skip that a line of Node's TAP output tells.
    pub fn node(file: &str, line: &str) -> Option<Self> {
        let (_, text) = line.split_once(" # SKIP")?;
        Some(Self::new(file, &text.trim().replace("\\#", "#")))
    }
}

/// Prints each skip and returns how many of them are of things that may not be missing.
pub fn judge(skips: &[Skip]) -> usize {
    let ci = std::env::var_os("CI").is_some();
    let results = skips.iter().map(|skip| (skip, allowed(skip, ci)));
    results.filter(|(skip, result)| report(skip, result)).count()
}

/// Prints a skip; returns whether it fails the checks.
fn report(Skip { file, what, why }: &Skip, result: &Result<&str>) -> bool {
    match result {
        Ok(reason) => println!("skipped {file}: {what}: {why} ({reason})"),
        Err(error) => println!("FAILED  {file}: skipped, {what}: {why} ({error})"),
    }
    result.is_err()
}

/// Why a skip is acceptable, or an error if it is not.
fn allowed(skip: &Skip, ci: bool) -> Result<&'static str> {
    let of = |optional: &&Optional| optional.what == skip.what;
    let optional = OPTIONAL.iter().find(of).context("xtask/src/skips.rs does not list it")?;
    if ci && !optional.in_ci {
        anyhow::bail!("it may not be missing in CI");
    }
    Ok(optional.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_found_in_both_outputs() {
        let native = |line| Skip::native("tests/reports.rs", line);
        let skip = Skip::new("tests/reports.rs", "../shared/data/reports: it is not there (X: see there)");
        assert_eq!(
            native("test models ... SKIPPED: ../shared/data/reports: it is not there (X: see there)"),
            Some(skip)
        );
        assert_eq!(native("test models ... ok"), None);
        let node = |line| Skip::node("hub", line);
        assert_eq!(node("    ok 2 - a hub # SKIP Chromium: issue \\#1"), Some(Skip::new("hub", "Chromium: issue #1")));
        assert_eq!(node("ok 3 - skips nothing"), None);
        assert_eq!(node("ok 4 - no reason # SKIP").expect("a skip").what, "");
        assert_eq!(Skip::ignored("src/lib.rs", 0), None);
        assert!(Skip::ignored("src/lib.rs", 2).is_some());
    }

    #[test]
    fn only_listed_skips_are_allowed() {
        let allowed = |text: &str, ci| allowed(&Skip::new("tests/reports.rs", text), ci).is_ok();
        for ci in [false, true] {
            assert!(allowed("../shared/data/reports: it is not there", ci));
            assert!(!allowed(".cache/golden: it is not there", ci), "the project has it");
            assert!(!allowed("../shared/data/reports and more: it is not there", ci));
            assert!(!allowed("", ci));
        }
        assert!(allowed("Chromium: it is not installed", false) && !allowed("Chromium: it is not installed", true));
        let skips = [Skip::new("a", "MINKE_HOSTILE: it names no folder"), Skip::new("b", "b: ?"), Skip::new("c", "")];
        assert_eq!(judge(&skips), 2);
    }
}
