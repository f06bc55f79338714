//! Writes the static site: the start page, the chat, the demos and the bench, with the package beside them.
//!
//! Every path in it is relative, so the site works below any address. The package's folder is named by its contents: a page of
//! one version never starts the worker or the wasm of another, whatever a cache still has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::build::{copy, esbuild};
use crate::run::{self, root};
use crate::{notices, setup};

/// The folder that is written unless another is named.
pub const DEFAULT: &str = "www/dist";

/// What the pages are allowed to do, as a header: the most that any of them needs. Each page allows itself less, in its `<meta>` element.
/// Workers have no such element, and get theirs from here.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; \
                      font-src 'self'; worker-src 'self'; manifest-src 'self'; connect-src 'self' https: http://localhost:* http://127.0.0.1:*; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Names by which the pages' sources know the package.
const PACKAGE: &str = "../minke/";

/// Builds the package, and the site in its usual folder.
pub fn build() -> Result<()> {
    crate::build::all()?;
    write(&root().join(DEFAULT))
}

/// Writes the site on the package that has been built.
pub fn write(out: &Path) -> Result<()> {
    let package = root().join("pkg/dist");
    ensure!(package.join("index.js").is_file(), "the package is not built: `cargo xtask build`");
    empty(out)?;
    let name = format!("minke-{}", &digest(&package)?[..10]);
    copy(&package, &out.join(&name), "d.ts")?;
    for file in ["pkg/package.json", "LICENSE-MIT", "LICENSE-APACHE"] {
        let last = file.trim_start_matches("pkg/");
        fs::copy(root().join(file), out.join(&name).join(last)).with_context(|| file.to_owned())?;
    }
    fs::write(out.join(&name).join("THIRD-PARTY.md"), notices::third_party()?)?;
    let www = root().join("www");
    for file in ["index.html", "site.css", "favicon.svg"] {
        fs::copy(www.join(file), out.join(file)).with_context(|| file.to_owned())?;
    }
    for folder in ["demos", "bench"] {
        copy(&www.join(folder), &out.join(folder), "")?;
        refer(&out.join(folder), &format!("../{name}/"))?;
    }
    openai(&out.join("vendor"))?;
    chat(&out.join("chat"))?;
    fs::write(out.join("_headers"), headers(&name, &policy_of(&out.join("chat/index.html"))?))?;
    // GitHub would otherwise leave out files whose names begin with an underscore.
    fs::write(out.join(".nojekyll"), "")?;
    Ok(())
}

/// Makes the folder, or empties it if it holds an earlier site; anything else in it is somebody's.
fn empty(out: &Path) -> Result<()> {
    if out.exists() {
        let free = out.join("_headers").is_file() || out == root().join(DEFAULT) || fs::read_dir(out)?.next().is_none();
        ensure!(free, "{} is not empty and holds no site", out.display());
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out).with_context(|| out.display().to_string())
}

/// SHA-256 of the files below a folder, by names and contents.
fn digest(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for path in list(folder)? {
        hash.update(path.strip_prefix(folder)?.to_string_lossy().as_bytes());
        hash.update(Sha256::digest(fs::read(path)?));
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// Paths of the files below a folder, in order.
fn list(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.append(&mut list(&path)?);
        } else {
            files.insert(path);
        }
    }
    Ok(files)
}

/// Points the scripts below a folder at the package's folder.
fn refer(folder: &Path, package: &str) -> Result<()> {
    for path in list(folder)?.iter().filter(|path| path.extension().is_some_and(|ending| ending == "js")) {
        let text = fs::read_to_string(path)?;
        if text.contains(PACKAGE) {
            fs::write(path, text.replace(PACKAGE, package))?;
        }
    }
    Ok(())
}

/// Builds the chat, which has a copy of the package of its own: its files are named by their contents.
fn chat(out: &Path) -> Result<()> {
    const FOLDER: &str = "www/chat";
    setup::npm(FOLDER)?;
    let mut npm = run::command("npm", &["run", "build", "--silent"]);
    npm.current_dir(root().join(FOLDER));
    run::quiet(npm)?;
    copy(&root().join(FOLDER).join("dist"), out, "")?;
    let file = out.join("THIRD-PARTY.txt");
    let own = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    fs::write(&file, format!("{own}\n\n# The engine\n\n{}", notices::third_party()?))?;
    Ok(())
}

/// The official client, in one file, with its licence.
fn openai(vendor: &Path) -> Result<()> {
    setup::npm("www")?;
    fs::create_dir_all(vendor)?;
    let file = vendor.join("openai.js");
    let out = format!("--outfile={}", file.display());
    esbuild("www", &["node_modules/openai/index.mjs", "--format=esm", "--target=es2022", "--platform=browser", &out])?;
    fs::copy(root().join("www/node_modules/openai/LICENSE"), vendor.join("openai-LICENSE.txt"))?;
    Ok(())
}

/// The policy in a page's `<meta>` element.
fn policy_of(page: &Path) -> Result<String> {
    let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let rest = text.split_once("http-equiv=\"Content-Security-Policy\"").map(|(_, rest)| rest);
    let policy = rest.and_then(|rest| rest.split_once("content=\"")?.1.split_once('"'));
    Ok(policy.with_context(|| format!("{}: it has no policy", page.display()))?.0.to_owned())
}

/// Headers in the form that Netlify, Cloudflare Pages and others read. What each host sends by itself for files without a digest in
/// their names (check with the server before use) is left as it is.
///
/// The chat's own policy is stricter than that of all pages. Its workers, which its `<meta>` element does not bind, get it with their
/// scripts, and reach no more than the page. Hosts send both policies, which browsers enforce together.
fn headers(package: &str, chat: &str) -> String {
    let immutable = "  Cache-Control: public, max-age=31536000, immutable\n";
    format!(
        "/*\n  Content-Security-Policy: {POLICY}\n  Cross-Origin-Opener-Policy: same-origin\n  Cross-Origin-Embedder-Policy: \
         require-corp\n  Referrer-Policy: no-referrer\n  X-Content-Type-Options: nosniff\n/{package}/*\n{immutable}\
         /chat/sw.js\n  Content-Security-Policy: {chat}\n/chat/assets/*\n  Content-Security-Policy: {chat}\n{immutable}"
    )
}

/// `cargo xtask site [FOLDER] [--as-built]`
pub fn command(options: &[&str]) -> Result<()> {
    let as_built = options.contains(&"--as-built");
    let folders: Vec<&&str> = options.iter().filter(|option| **option != "--as-built").collect();
    ensure!(folders.len() <= 1 && folders.iter().all(|f| !f.starts_with("--")), "site [FOLDER] [--as-built]");
    let out = folders
        .first()
        .map_or_else(|| root().join(DEFAULT), |folder| std::path::absolute(folder).unwrap_or_else(|_| folder.into()));
    if !as_built {
        crate::build::all()?;
    }
    write(&out)?;
    println!("the site: {}", out.display());
    Ok(())
}
