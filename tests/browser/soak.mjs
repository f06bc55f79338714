// The soak campaign of the store: every kind of transport fault by seed, loads that are killed or aborted anywhere,
// damaged blocks, full disks, two tabs. `cargo xtask soak [faults|tensors|kills|aborts|flips|quotas|tabs] [--seeds N]
// [--kind K]` writes docs/evidence/soak.md. `faults` checks the stored files, `tensors` the buffers on the GPU. A checkpoint of
// 15 MB with random weights in three shards is served at a limited rate; waits use a fast clock.

import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installApp, root } from "./lib/app.mjs";
import { launch } from "./lib/chromium.mjs";
import { KINDS } from "./lib/faults.mjs";
import { random } from "./lib/random.mjs";
import { serve } from "./lib/server.mjs";
import { begin, clear, damage, ended, open, sent, sha256, storedHashes } from "./lib/store.mjs";
import { writeCheckpoint } from "./lib/synthetic.mjs";
import { WORKER, tensors } from "./lib/tensors.mjs";

const BLOCK = 2 ** 20;
/** Concurrent runs of faults, each in its own page. */
const LANES = 2;
/** Speed of the package's clock: a stall of 20 s takes 2. */
const CLOCK = 10;
/** Bytes per millisecond of a response. */
const PACE = 16384;

const what = process.argv[2]?.startsWith("--") ? "all" : (process.argv[2] ?? "all");
const given = process.argv.indexOf("--seeds");
const seeds = given < 0 ? 25 : Number(process.argv[given + 1]);
const parts = ["faults", "tensors", "kills", "aborts", "flips", "quotas", "tabs"];
if (!(seeds >= 1) || !["all", ...parts].includes(what)) throw new Error("see cargo xtask help");

const folders = ["a", "b"].map((name) => join(root, "target/soak", what, name)); // parts may run concurrently
const shards = folders.map((folder, i) => writeCheckpoint(folder, i + 1))[0];
const want = folders.map((folder) => Object.fromEntries(shards.map((name) => [name, sha256(join(folder, name))])));
const size = shards.reduce((sum, name) => sum + statSync(join(folders[0], name)).size, 0);

const app = installApp(`soak-app-${what}`);
writeFileSync(join(app, "hashed.js"), WORKER);
const server = await serve({ "/app/": app, "/m/": folders[0] });
server.mounts["/app/open.html"] = { type: "text/html", body: '<!doctype html><title>app</title><script type="module" src="app.js"></script>' };
server.pace = PACE;
const elsewhere = `http://127.0.0.1:${server.port}`; // an origin other than localhost
const browser = await launch();
const rows = [];
let failures = 0;

/** The buffers that the ledger counts as weights. */
const isWeight = (label) => /^rope table$|norm$|\.(codes|scales)$/.test(label);
const isShard = ({ path }) => path.startsWith("/m/") && path.endsWith(".safetensors");
const percent = (value) => `${(100 * value).toFixed(1)} %`;

/** A profile for each lane, with the result of `make`, shared by all rows with the same needs. */
const profiles = new Map();
const kept = (key, make) => (i) => {
  const name = `${key} ${i}`;
  if (!profiles.has(name)) profiles.set(name, browser.newContext().then(make));
  return profiles.get(name);
};

/** Runs one row of the table: `count` runs of `body`, which returns numbers from 0 to 1, or throws. */
async function row(name, count, lanes, prepare, body) {
  if (what !== "all" && what !== name.split(" ")[0]) return;
  const began = Date.now();
  const values = [];
  let seed = 0;
  let failed = 0;
  const lane = async (_, i) => {
    const use = await prepare(i);
    while (seed < count) {
      const mine = ++seed;
      try {
        values.push(await body(use, random(mine), mine));
      } catch (error) {
        failed++;
        console.log(`FAILED ${name} ${mine}: ${error.message.split("\n")[0]}`);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
  failures += failed;
  const known = values.filter((value) => typeof value === "number");
  const mean = known.reduce((a, b) => a + b, 0) / known.length;
  const seconds = ((Date.now() - began) / 1000).toFixed(0);
  rows.push({ name, count, failed, mean, most: Math.max(...known), seconds, measured: known.length > 0 });
  console.log(`${failed ? "FAILED" : "ok    "} ${name}: ${count - failed} of ${count}${known.length ? `, ${percent(mean)} twice, ${percent(Math.max(...known))} at most` : ""} (${seconds} s)`);
}

const same = async (page, version = 0) => {
  const found = await storedHashes(page, shards);
  for (const name of shards) if (found[name] !== want[version][name]) throw new Error(`${name} is ${found[name]}`);
};
const well = async (page) => {
  const error = await ended(page);
  if (error !== null) throw new Error(`${error.code}: ${error.message}`);
};

// ---------------------------------------------------------------- transport faults

/** Faults by the folder of a run's files. */
const faults = new Map();
server.fault = (request) => faults.get(request.path.split("/")[2])?.(request);
const mount = (id, fault, version = 0) => {
  server.mounts[`/m/${id}/`] = folders[version];
  faults.set(id, (request) => (isShard(request) && request.method === "GET" ? fault(request) : undefined));
};

/** A page whose downloads share a worker and a compiled engine. */
const lane = (path) => kept(path, async (context) => {
  const page = await open(context, server, path);
  await page.evaluate(async () => {
    window.shared = new Worker("./node_modules/minke/dist/worker.js", { type: "module" });
    window.engine = await WebAssembly.compileStreaming(fetch("./node_modules/minke/dist/minke_bg.wasm"));
  });
  return page;
});
const download = (page, url) => page.evaluate(([url, clockRate]) => {
  window.done = minke.store.download(url, { worker: shared, wasm: engine, internal: { clockRate } }).then(() => null, (e) => facts(e));
}, [url, CLOCK]);

/** Quantisations of the weights, by seed; two are computed on the GPU. */
const FORMATS = ["none", "q8", "q4"];
const undisturbedTensors = new Map();
/** Loads one of the folders: label, size and hash of every weight buffer, which must match the ledger. */
async function onGpu(page, url, quantization) {
  const { error, buffers, weights } = await tensors(page, url, { device: "gpu", quantization, contextLength: 64, internal: { clockRate: CLOCK, withoutSelfTest: true } });
  if (error) throw new Error(`${error.code}: ${error.message}`);
  const held = buffers.filter(({ label }) => isWeight(label));
  const bytes = held.reduce((sum, { size }) => sum + size, 0);
  if (bytes !== weights) throw new Error(`${bytes} bytes of weights were found, ${weights} are counted`);
  return held.map(({ label, size, hash }) => `${label} ${size} ${hash}`);
}
/** The result of a load without faults. */
function wanted(page, origin, version, quantization) {
  const key = `plain-${version}-${quantization}`;
  if (!undisturbedTensors.has(key)) {
    mount(key, () => undefined, version);
    undisturbedTensors.set(key, onGpu(page, `${origin}/m/${key}/`, quantization));
  }
  return undisturbedTensors.get(key);
}

/** Ways of using a model under a fault: `use(page, origin, url, quantization)` returns a function that checks the result for a version. */
const uses = {
  async faults(page, origin, url) {
    await download(page, url);
    await well(page);
    return (version) => same(page, version);
  },
  async tensors(page, origin, url, seed) {
    const format = FORMATS[seed % FORMATS.length];
    const found = await onGpu(page, url, format);
    return async (version) => {
      const want = await wanted(page, origin, version, format);
      const other = want.find((line, i) => line !== found[i]);
      if (found.length !== want.length || other !== undefined) throw new Error(`${found.length} buffers of ${want.length}, other than ${other}`);
    };
  },
};

const only = process.argv[process.argv.indexOf("--kind") + 1 || Infinity];
const kinds = Object.entries(KINDS).filter(([kind]) => only === undefined || kind === only);
for (const [part, use] of Object.entries(uses)) {
  for (const [kind, make] of kinds) {
    const foreign = kind.startsWith("cors");
    const origin = foreign ? elsewhere : "";
    server.cors = foreign;
    await row(`${part} ${kind}`, seeds, LANES, lane(foreign ? "/app/open.html" : "/app/"), async (page, r, seed) => {
      const id = `${part}-${kind}-${seed}`;
      let changed = false;
      if (kind === "etag_change") {
        // From some request on, every file has a new version.
        let left = Math.floor(r() * 12);
        mount(id, ({ path }) => {
          changed ||= left-- <= 0;
          return changed ? { file: join(folders[1], path.split("/").at(-1)), headers: { etag: '"b"' } } : undefined;
        });
      } else mount(id, make(r));
      const from = server.requests.length;
      try {
        const judge = await use(page, origin, `${origin}/m/${id}/`, seed);
        const transferred = sent(server, from, (request) => request.path.startsWith(`/m/${id}/`) && isShard(request) && (!changed || request.tag === '"b"'));
        await judge(changed ? 1 : 0);
        return transferred / size - 1;
      } finally {
        await clear(page);
        faults.delete(id);
        delete server.mounts[`/m/${id}/`];
      }
    });
    server.cors = false;
  }
}
server.requests.length = 0;

// ---------------------------------------------------------------- kills and aborts of loads

/** The result of a load: the hash of a prompt's logits, or that it was stopped. */
const finish = async (page) => {
  const answer = await page.evaluate(() => window.loading);
  if (answer.error) throw new Error(`${answer.error.code}: ${answer.error.message}`);
  return answer;
};
/** Starts a load; with `weights` it is stopped when all weights are on the GPU. */
const load = (page, url, weights = false) => page.evaluate(([url, clockRate, weights]) => {
  window.stop = new AbortController();
  const onProgress = ({ stage, loaded, total }) => weights && stage === "download" && loaded === total && stop.abort("weights");
  const worker = () => (window.worker = new Worker("./node_modules/minke/dist/worker.js", { type: "module" }));
  window.loading = minke.load(url, { device: "gpu", worker, contextLength: 64, signal: stop.signal, onProgress, internal: { clockRate } }).then(async (model) => {
    const logits = await model.forward(Uint32Array.of(1, 2, 3, 5, 8, 13), { rows: "all" });
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", logits));
    await model.unload();
    return { hash: [...hash].join() };
  }).catch((e) => (typeof e === "string" ? { stopped: e } : { error: facts(e) }));
}, [url, CLOCK, weights]);

/** Logits of an undisturbed load. */
let logits;
async function undisturbed(context) {
  const page = await open(context, server);
  await load(page, "/m/");
  logits = (await finish(page)).hash;
  await clear(page);
  await page.close();
}

/** Ends a load with `end` when a fraction of its bytes has been sent, and loads again; returns the fraction that was sent twice. */
const broken = (prefix, end) => async (context, r, seed) => {
  const id = `${prefix}-${seed}`;
  mount(id, () => undefined);
  const share = r() * 1.02; // the last few end when all data has arrived, while pipelines compile
  const from = server.requests.length;
  const mine = (request) => request.path.startsWith(`/m/${id}/`) && isShard(request);
  let page = await open(context, server);
  try {
    await load(page, `/m/${id}/`);
    const deadline = Date.now() + 20_000;
    while (sent(server, from, mine) < Math.min(share, 1) * size && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 2));
    if (share > 1) await new Promise((resolve) => setTimeout(resolve, 10_000 * (share - 1)));
    page = (await end(page, context)) ?? page;
    // A software adapter takes half a minute to compile pipelines: one load in 20 continues to its logits, the others
    // to their last weight.
    const whole = seed % 20 === 1;
    await load(page, `/m/${id}/`, !whole);
    const { hash, stopped } = await finish(page);
    if (whole ? hash !== logits : stopped !== "weights") throw new Error(`it ended with ${stopped ?? "other logits"}`);
    await same(page);
    return sent(server, from, mine) / size - 1;
  } finally {
    await clear(page).catch(() => {});
    await page.close();
  }
};
const alone = kept("loads", async (context) => {
  await undisturbed(context);
  return context;
});
await row("kills of tabs", 4 * seeds, 2, alone, broken("kill", async (page, context) => {
  await page.close();
  return open(context, server);
}));
// The page stays open: a terminated worker does not reply, so pending calls stay pending.
await row("kills of workers", 4 * seeds, 2, alone, broken("worker", async (page) => {
  await page.waitForFunction(() => window.worker);
  await page.evaluate(() => worker.terminate());
}));
await row("aborts of loads", 2 * seeds, 2, alone, broken("abort", async (page) => {
  await page.evaluate(() => stop.abort("stopped"));
  await page.evaluate(() => window.loading);
}));

// ---------------------------------------------------------------- damage, full disks, two tabs

await row("flips of bits (20 a run)", Math.ceil(seeds / 5), 1, lane("/app/"), async (page, r) => {
  await download(page, "/m/");
  await well(page);
  // Distinct whole blocks of any shard.
  const places = shards.flatMap((name) => Array.from({ length: Math.floor(statSync(join(folders[0], name)).size / BLOCK) }, (_, index) => [name, index]));
  let found = 0;
  for (let left = 20; left > 0; ) {
    const taken = places.map((place) => [r(), place]).sort((a, b) => a[0] - b[0]).slice(0, Math.min(left, 10)).map(([, place]) => place);
    for (const [name, index] of taken) await damage(page, name, [index * BLOCK + Math.floor(r() * BLOCK)], 1 << Math.floor(r() * 8));
    const from = server.requests.length;
    await download(page, "/m/");
    await well(page);
    await same(page);
    const extra = sent(server, from, isShard) - shards.length; // one byte of each shard to check its version
    if (extra !== taken.length * BLOCK) throw new Error(`${extra} bytes were sent for ${taken.length} blocks`);
    found += taken.length;
    left -= taken.length;
  }
  await clear(page);
  return found === 20 ? undefined : Promise.reject(new Error(`${found} of 20`));
});

await row("quotas", 2 * seeds, 1, lane("/app/"), async (page, r) => {
  const session = await page.context().newCDPSession(page);
  const quotaSize = Math.floor(2e5 + r() * 1.2 * size);
  const quota = (quotaSize) => session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize });
  await quota(quotaSize);
  await download(page, "/m/");
  const error = await ended(page);
  if (error !== null && error.code !== "storage") throw new Error(`${error.code}: ${error.message}`);
  if (error === null && quotaSize < size) throw new Error(`${size} bytes within ${quotaSize}`);
  await quota(undefined);
  await download(page, "/m/");
  await well(page);
  await same(page);
  await clear(page);
  await session.detach();
});

await row("tabs (two at once)", Math.ceil(seeds / 5), 1, kept("tabs", (context) => context), async (context, _, seed) => {
  const id = `tabs-${seed}`;
  mount(id, () => undefined);
  const pages = await Promise.all([open(context, server), open(context, server)]);
  const from = server.requests.length;
  await Promise.all(pages.map((page) => begin(page, `/m/${id}/`)));
  await Promise.all(pages.map(well));
  await same(pages[0]);
  const twice = sent(server, from, isShard) / size - 1;
  await clear(pages[0]);
  await Promise.all(pages.map((page) => page.close()));
  return twice;
});

await browser.close();
await server.close();

// Recorded rows of other runs are kept.
const record = join(root, "docs/evidence/soak.md");
const rowsOf = (text) => text.split("\n").filter((line) => line.startsWith("| ")).slice(1).map((line) => [line.split(" | ")[0].slice(2), line]);
const table = new Map(existsSync(record) ? rowsOf(readFileSync(record, "utf8")) : []);
for (const { name, count, failed, mean, most, seconds, measured } of rows) table.set(name, `| ${name} | ${count} | ${count - failed} | ${measured ? percent(mean) : ""} | ${measured ? percent(most) : ""} | ${seconds} |`);
const place = ([name]) => parts.indexOf(name.split(" ")[0]);
if (seeds >= 25) {
  writeFileSync(record, `# The store's campaign

Written by \`cargo xtask soak\`: headless Chromium, a checkpoint of ${size} bytes in ${shards.length} shards, blocks of 1 MiB, up to 4 ranges
at once, each at most 16 MB a second. A fault meets a quarter of the requests for weights (tests/browser/lib/faults.mjs says which); waits
go by a clock ${CLOCK} times as fast.

A run is right where every stored shard has the published SHA-256; of \`tensors\`, where every buffer of weights on the GPU has the
SHA-256 that it has after an undisturbed load (weights as published, as q8 and as q4, by turns). Killed and aborted loads are begun again until the last
weight is on the GPU; one in 20 until a prompt's logits, which are those of an undisturbed load bit for bit.

"Twice" is what the server wrote to its sockets for weights beyond their size: what a cancelled answer had brought until then
counts, so a busy machine counts more: two runs of faults go at once (six until 2026-11-29, in rows that were not run since). Each row is of its last run: parts may be run apart. Of files that changed on the way it is that of the new version. A killed or aborted load loses
the blocks in flight.

| runs | of | right | twice, mean | twice, most | seconds |
|---|---|---|---|---|---|
${[...table].sort((a, b) => place(a) - place(b)).map(([, line]) => line).join("\n")}
`);
}
console.log(failures === 0 ? "all hold" : `${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
