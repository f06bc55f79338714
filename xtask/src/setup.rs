//! Installs what the machine needs: the wasm target, npm packages, Debian packages. Prints nothing if everything is
//! installed.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::run::{self, root};

/// Installs everything that `test` needs, and returns what is not available, one line each.
pub fn everything() -> Result<Vec<String>> {
    let mut missing = Vec::new();
    wasm_target()?;
    npm("pkg")?;
    npm("www")?;
    npm("www/chat")?;
    npm("tests/browser")?;
    npm("tests/clients")?;
    for package in ["chromium", "firefox-esr", "mesa-vulkan-drivers", "libvulkan1"] {
        if let Err(error) = require_debian(&[package]) {
            missing.push(format!("{package}: {error:#}"));
        }
    }
    crate::assets::golden().context("tests/golden.tar.xz cannot be unpacked")?;
    missing.extend(crate::assets::test_files());
    for line in &missing {
        println!("missing: {line}");
    }
    Ok(missing)
}

/// The Rust target of the package.
pub fn wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let libdir = run::quiet(run::command("rustc", &["--print", "target-libdir", "--target", TARGET]))?;
    if std::path::Path::new(libdir.trim()).is_dir() {
        return Ok(());
    }
    println!("adding the Rust target {TARGET}");
    run::quiet(run::command("rustup", &["target", "add", TARGET])).map(drop)
}

/// Installs the npm packages of a folder's lock file, unless they are installed already.
pub fn npm(folder: &str) -> Result<()> {
    let dir = root().join(folder);
    let lock = fs::read(dir.join("package-lock.json")).with_context(|| format!("{folder}/package-lock.json"))?;
    let stamp = dir.join("node_modules/.installed-lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    println!("installing the npm packages of {folder}");
    // Install scripts are disabled: none is needed, and so none can be abused.
    let mut npm = run::command("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm.current_dir(&dir);
    run::quiet(npm)?;
    fs::write(stamp, lock)?;
    Ok(())
}

/// Installs Debian packages, if permitted.
pub fn require_debian(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let how = format!("apt-get install {}", missing.join(" "));
    if !run::exists("apt-get") || run::quiet(run::command("id", &["-u"]))?.trim() != "0" {
        bail!("not installed; get it with `{how}`");
    }
    println!("{how}");
    let install = || {
        let mut args = vec!["install", "-y", "--no-install-recommends"];
        args.extend(&missing);
        let mut apt = run::command("apt-get", &args);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        run::quiet(apt)
    };
    // A fresh machine's package list may be empty or outdated; it is refreshed only on failure.
    install().or_else(|_| run::quiet(run::command("apt-get", &["update"])).and_then(|_| install())).map(drop)
}

fn installed(package: &str) -> bool {
    let query = run::command("dpkg-query", &["-W", "-f=${Status}", package]);
    run::quiet(query).is_ok_and(|status| status.contains("ok installed"))
        || (matches!(package, "chromium" | "firefox-esr") && run::exists(package))
}
