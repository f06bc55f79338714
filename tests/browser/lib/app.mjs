// Installs the packed npm package into an application and opens it in a page, as a user would.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../../", import.meta.url));
export const golden = resolve(process.env.MINKE_GOLDEN ?? join(root, ".cache/golden"));
export const reference = process.env.MINKE_REFERENCE ?? join(root, "tests/golden/smollm2.json");
export const smollm = process.env.MINKE_REFERENCE_MODEL ?? join(root, ".cache/SmolLM2-135M-Instruct.Q4_1.gguf");
/** The results of seeds, as recorded by the native tests. */
export const seeded = JSON.parse(readFileSync(join(root, "tests/seeded.json"), "utf8"));
/** The static site that `cargo xtask site --as-built` writes. */
export const site = join(root, "www/dist");
export const shots = join(root, "target/screenshots");

/**
 * Why a test cannot run, or false if the file exists: what it needs, a colon, the reason. xtask/src/skips.rs lists what may be missing;
 * any other skip fails `cargo xtask test`.
 */
export const absent = (path) => (existsSync(path) ? false : `${relative(root, path)}: it is not there`);

// The strictest policy the package must live with.
const CSP = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";

/** Packs `pkg/`, installs the tarball, writes a page that imports it. Returns the application's folder. */
export function installApp(name = "browser-app") {
  const app = join(root, "target", name);
  rmSync(app, { recursive: true, force: true });
  mkdirSync(app, { recursive: true });
  mkdirSync(shots, { recursive: true });
  const npm = (args, cwd) => execFileSync("npm", [...args, "--loglevel=error"], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  npm(["pack", "--ignore-scripts", "--pack-destination", app], join(root, "pkg"));
  const tarball = readdirSync(app).find((name) => name.endsWith(".tgz"));
  writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  npm(["install", "--no-audit", "--no-fund", "--offline", `./${tarball}`], app);
  writeFileSync(join(app, "index.html"), `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${CSP}"><title>app</title><script type="module" src="app.js"></script>`);
  writeFileSync(join(app, "app.js"), APP);
  return app;
}

// Functions that the tests call in the page. Comparisons happen in the page, so that logits need not be sent to Node.
const APP = `
import * as published from "./node_modules/minke/dist/index.js";

// Tests run on the processor unless they say otherwise: it is several times as fast as the browser's software adapter, which those
// of the GPU's work ask for.
const onCpu = (call) => (source, options) => call(source, { device: "cpu", ...options });
const minke = { ...published, load: onCpu(published.load), estimate: onCpu(published.estimate) };

const models = new Map();
let last = 0;
const facts = (e) => e instanceof minke.EngineError
  ? { engine: true, code: e.code, message: e.message, retryable: e.retryable, detail: e.detail }
  : { engine: false, text: String(e) };

async function tensor(url, name) {
  const bytes = await (await fetch(url)).arrayBuffer();
  const length = Number(new DataView(bytes).getBigUint64(0, true));
  const entry = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)))[name];
  if (entry === undefined) return undefined;
  const [start, end] = entry.data_offsets;
  return { shape: entry.shape, data: new Float32Array(bytes.slice(8 + length + start, 8 + length + end)) };
}

Object.assign(window, {
  minke, models, facts,
  async open(source, options) {
    const model = await minke.load(source, options);
    models.set(++last, model);
    return { model: last, info: model.info, memory: model.memory() };
  },
  async close(id) {
    await models.get(id).unload();
    models.delete(id);
  },
  async greedy(id, input, options) {
    const ids = Array.isArray(input) && typeof input[0] === "number" ? Uint32Array.from(input) : input;
    const result = await models.get(id).generate(ids, { temperature: 0, ...options });
    return { ...result, ids: [...result.ids] };
  },
  // Turns of sessions on a golden model, with each turn's tokens and how much of its input was fed: with snapshots,
  // without, cloned, saved.
  async turns(url, budget) {
    const { model } = await open(url, { internal: { f32: true, copiesBudget: budget } });
    const made = models.get(model);
    const fed = (r) => r.usage.inputTokens - r.usage.cachedTokens;
    const options = { raw: true, temperature: 0, maxOutputTokens: 6 };
    const ids = (n, from) => Uint32Array.from({ length: n }, (_, i) => (i * 31 + from) % 480);
    const [a, b] = [await made.createSession(options), await made.createSession(options)];
    const log = [];
    const turn = async (session, input) => {
      const result = await session.generate(input);
      log.push([fed(result), ...result.ids]);
    };
    const held = made.memory().kv;
    await turn(a, ids(40, 1));
    await turn(b, ids(40, 2));
    await turn(a, ids(10, 3));
    await turn(b, ids(10, 4));
    const most = made.memory().kv - held;
    const c = await a.clone();
    const state = await a.save();
    await turn(c, ids(5, 5));
    await turn(a, ids(5, 5));
    const d = await made.createSession({ ...options, state });
    await turn(d, ids(5, 5));
    const damaged = new Blob([state.slice(0, -9), new Uint8Array(9)]);
    const refused = await failed(made.createSession({ state: damaged }));
    await turn(d, ids(5, 6));
    for (const session of [a, b, c, d]) session.destroy();
    await made.generate(ids(3, 1), { maxOutputTokens: 1 });
    const left = made.memory().kv - held;
    await close(model);
    return { log, most, left, refused, bytes: state.size, usage: d.contextUsage };
  },
  // The largest difference of logits from a golden file's, which are those of the last rows; undefined where the file has none of that
  // name.
  async difference(id, ids, url, name) {
    const expected = await tensor(url, name);
    if (expected === undefined) return undefined;
    const got = await models.get(id).forward(Uint32Array.from(ids), { rows: "all" });
    let most = 0;
    const before = got.length - expected.data.length;
    for (let i = 0; i < expected.data.length; i++) most = Math.max(most, Math.abs(got[before + i] - expected.data[i]));
    return { most: Number.isFinite(most) ? most : "not finite", rows: expected.shape[0], rest: before % expected.shape[1] };
  },
  async failed(promise) {
    try { await promise; return undefined; } catch (e) { return facts(e); }
  },
});
document.title = "ready";
`;
