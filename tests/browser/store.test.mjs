// What stays on the device: the block store in the browser's own file system, through faults, kills and flipped bits.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { absent, golden, installApp, root, smollm } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";
import * as lib from "./lib/store.mjs";
import { begin, damage, ended, sha256, storedHash } from "./lib/store.mjs";

const noBrowser = chromiumPath ? false : "Chromium is not installed";
const noGolden = noBrowser || absent(golden);
const noSmol = noBrowser || absent(smollm);
const LLAMA = "/golden/models/llama/";
const BLOCK = 1 << 20;

/** The native command, which the native tests have built. */
const command = join(root, "target/debug", process.platform === "win32" ? "minke.exe" : "minke");
const pack = join(mkdtempSync(join(tmpdir(), "minke-")), "pack");

let server, browser;

before(async () => {
  const app = installApp();
  if (noBrowser) return;
  if (!noGolden && !absent(command)) {
    execFileSync(command, ["pack", join(golden, "models/deepseek_v2"), pack, "--quantization", "q8", "--shard-size", "64KiB"], { stdio: "ignore" });
  }
  const shard = "model-00002-of-00004.safetensors";
  const oid = noGolden ? "" : sha256(join(golden, "models/llama", shard));
  server = await serve({
    "/pack/": pack, "/app/": app, "/golden/": golden, "/smol.gguf": smollm,
    "/hub/org/llama/resolve/main/": join(golden, "models/llama"),
    "/hub/api/models/org/llama/tree/main": { type: "application/json", body: JSON.stringify([{ type: "file", path: shard, lfs: { oid } }, { type: "file", path: "config.json" }]) },
  });
  browser = await launch();
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(() => {
  if (server) server.fault = () => undefined;
});

const open = (context) => lib.open(context, server);
const asked = (path, from) => lib.asked(server, path, from);

/** A fresh profile, closed after `use`. */
async function profile(use) {
  const context = await browser.newContext();
  try {
    return await use(context);
  } finally {
    await context.close();
  }
}

describe("a loaded model stays", { skip: noGolden }, () => {
  test("the second load starts from the device", { timeout: 300_000 }, () => profile(async (context) => {
    const { ids, greedy_ids } = JSON.parse(readFileSync(join(golden, "models/llama/golden.json"), "utf8")).prompts.short;
    const run = (page) => page.evaluate(async ([url, ids, n]) => {
      const fromCache = new Set();
      const onProgress = ({ stage, fromCache: cached }) => stage === "download" && fromCache.add(cached);
      const { model } = await open(url, { internal: { f32: true }, onProgress });
      const result = await greedy(model, ids, { maxOutputTokens: n });
      await close(model);
      return { ids: result.ids, fromCache: [...fromCache] };
    }, [LLAMA, ids, greedy_ids.length]);
    const page = await open(context);
    assert.equal(await page.evaluate((url) => minke.availability(url), LLAMA), "downloadable");
    assert.deepEqual(await page.evaluate(() => minke.store.list()), []);
    assert.deepEqual(await run(page), { ids: greedy_ids, fromCache: [false] });
    await page.close();

    const again = await open(context);
    assert.equal(await again.evaluate((url) => minke.availability(url), LLAMA), "available");
    const [model, ...others] = await again.evaluate(() => minke.store.list());
    assert.deepEqual(others, []);
    assert.equal(model.complete, true);
    assert.ok(model.files.some((f) => f.endsWith(".safetensors")) && model.files.includes("config.json"), `${model.files}`);
    const from = server.requests.length;
    assert.deepEqual(await run(again), { ids: greedy_ids, fromCache: [true] });
    const asked = server.requests.slice(from).filter((r) => r.path.startsWith(LLAMA) && r.range !== "bytes=0-0");
    assert.deepEqual(asked.filter((r) => model.files.some((f) => r.path.endsWith(f))), [], "only whether the files are the same");
    // No answer from where the model came from.
    server.fault = ({ path }) => (path.startsWith(LLAMA) ? { drop: true } : undefined);
    assert.deepEqual(await run(again), { ids: greedy_ids, fromCache: [true] });
    await again.evaluate((id) => minke.store.delete(id), model.id);
    assert.deepEqual(await again.evaluate(() => minke.store.list()), []);
  }));

  test("a file that changed on the server is fetched anew", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    await begin(page, LLAMA);
    assert.equal(await ended(page), null);
    server.fault = ({ path }) => (path.endsWith("00002-of-00004.safetensors") ? { headers: { etag: '"another"' } } : undefined);
    const from = server.requests.length;
    await begin(page, LLAMA);
    assert.equal(await ended(page), null);
    const ranges = server.requests.slice(from).filter((r) => r.path.endsWith("00002-of-00004.safetensors")).map((r) => r.range);
    assert.ok(ranges.length > 1, `asked for ${ranges}`);
  }));
});

describe("a download", { skip: noSmol }, () => {
  const path = "/smol.gguf";

  test("that is killed goes on where it was", { timeout: 300_000 }, () => profile(async (context) => {
    const want = sha256(smollm);
    const size = statSync(smollm).size;
    const from = server.requests.length;
    // At any point: while headers are read, in the middle, near the end.
    for (const share of [0.001, 0.2, 0.5, 0.9]) {
      const page = await open(context);
      await begin(page);
      while (asked(path, from) < share * size) await new Promise((resolve) => setTimeout(resolve, 5));
      await page.close();
    }
    const page = await open(context);
    await begin(page);
    assert.equal(await ended(page), null);
    assert.equal(await storedHash(page, "smol.gguf"), want);
    // What was asked for and not written when the page went: at most a few runs of blocks each time.
    const extra = asked(path, from) - size;
    assert.ok(extra <= 4 * 20 * BLOCK, `${extra} bytes were fetched twice`);
    const [model] = await page.evaluate(() => minke.store.list());
    assert.deepEqual({ bytes: model.bytes, complete: model.complete }, { bytes: size, complete: true });
  }));

  test("whose blocks were damaged on the disk fetches those, and only those", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    await begin(page);
    assert.equal(await ended(page), null);
    const flipped = [0, 17, 18, 50, 92];
    await damage(page, "smol.gguf", flipped.map((index) => index * BLOCK + 4321), 4);
    assert.notEqual(await storedHash(page, "smol.gguf"), sha256(smollm));
    const from = server.requests.length;
    await begin(page);
    assert.equal(await ended(page), null);
    assert.equal(await storedHash(page, "smol.gguf"), sha256(smollm));
    assert.equal(asked(path, from), 1 + flipped.length * BLOCK, "a byte to see whether it is the same, and the blocks");
  }));

  test("without a network waits for it", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    const from = server.requests.length;
    await begin(page);
    while (asked(path, from) < 20e6) await new Promise((resolve) => setTimeout(resolve, 5));
    await context.setOffline(true);
    // Longer than all the tries of a request that a server leaves unanswered.
    const outcome = await Promise.race([ended(page), new Promise((resolve) => setTimeout(() => resolve("waiting"), 15_000))]);
    assert.equal(outcome, "waiting");
    await context.setOffline(false);
    assert.equal(await ended(page), null);
    assert.equal(await storedHash(page, "smol.gguf"), sha256(smollm));
  }));

  test("in two tabs is one download", { timeout: 300_000 }, () => profile(async (context) => {
    const pages = await Promise.all([open(context), open(context)]);
    const from = server.requests.length;
    await Promise.all(pages.map((page) => begin(page)));
    assert.deepEqual(await Promise.all(pages.map(ended)), [null, null]);
    const size = statSync(smollm).size;
    assert.ok(asked(path, from) <= size + 2 * BLOCK, `${asked(path, from)} bytes for a file of ${size}`);
  }));

  test("beyond the quota goes on, and says how far it got", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    const session = await context.newCDPSession(page);
    await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize: 30e6 });
    await begin(page);
    assert.equal((await ended(page))?.code, "storage");
    const [model] = await page.evaluate(() => minke.store.list());
    assert.ok(model.bytes > 5e6 && model.bytes < 30e6 && !model.complete, JSON.stringify(model));
  }));

  // The transport rows of the hostile cases, each on a part of the requests.
  const faults = {
    range_200: ({ count }) => count % 5 === 4 && { ignoreRange: true },
    range_wrong: ({ count }) => count % 4 === 3 && { shift: 1 },
    length_short: ({ count }) => count % 3 === 2 && { cutAfter: 300_000 },
    h429: ({ count }) => count % 6 === 5 && { status: 429, headers: { "retry-after": "0" } },
    h503: ({ count }) => count % 4 === 3 && { status: 503 },
    stall: ({ count }) => count === 7 && { hang: true },
    reset: ({ count }) => count % 4 === 2 && { cutAfter: 1 },
  };
  for (const [name, fault] of Object.entries(faults)) {
    test(`through ${name} has the same bytes`, { timeout: 300_000 }, () => profile(async (context) => {
      const page = await open(context);
      server.fault = (request) => (request.path === path && fault(request)) || undefined;
      await begin(page);
      assert.equal(await ended(page), null);
      assert.equal(await storedHash(page, "smol.gguf"), sha256(smollm));
    }));
  }
});

describe("integrity", { skip: noGolden }, () => {
  const name = "model-00002-of-00004.safetensors";
  const digest = () => `sha256-${createHash("sha256").update(readFileSync(join(golden, "models/llama", name))).digest("base64")}`;
  const load = (page, source, options) => page.evaluate(async ([source, options]) => {
    const stages = new Set();
    try {
      const { model } = await open(source, { ...options, onProgress: ({ stage, file }) => stages.add(`${stage} ${file}`) });
      await close(model);
      return { stages: [...stages] };
    } catch (e) {
      return { error: facts(e) };
    }
  }, [source, options]);
  /** The file with one bit flipped, as often as `times` says. */
  const flip = (times) => {
    const bytes = readFileSync(join(golden, "models/llama", name));
    bytes[70_000] ^= 1;
    let left = times;
    server.fault = ({ path, range }) => {
      const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
      if (!path.endsWith(name) || Number(end) <= 70_000 || left-- <= 0) return undefined;
      const last = Math.min(bytes.length, Number(end) + 1);
      const headers = { "content-range": `bytes ${start}-${last - 1}/${bytes.length}`, etag: `"${bytes.length}"` };
      return { status: 206, headers, body: bytes.subarray(Number(start), last) };
    };
  };

  test("a file that is not what was promised is an error that names it", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    const wrong = `sha256-${createHash("sha256").update("something else").digest("base64")}`;
    for (const cache of ["opfs", "none"]) {
      const { error } = await load(page, LLAMA, { integrity: { [name]: wrong }, cache });
      assert.equal(error?.code, "integrity", error?.message);
      assert.equal(error.detail.file, name);
    }
    const { stages } = await load(page, LLAMA, { integrity: { [name]: digest() } });
    assert.ok(stages.includes(`verify ${name}`), `${stages}`);
    assert.ok(!(await load(page, LLAMA, { integrity: { [name]: digest() } })).stages.includes(`verify ${name}`), "hashed once");
  }));

  test("a bit that flips on the way is found, and its block fetched again", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    flip(1);
    const { error, stages } = await load(page, LLAMA, { integrity: { [name]: digest() } });
    assert.equal(error, undefined, error?.message);
    assert.ok(stages.includes(`verify ${name}`));
    flip(Infinity);
    const other = await open(await browser.newContext());
    assert.equal((await load(other, LLAMA, { integrity: { [name]: digest() } })).error?.code, "integrity");
    await other.context().close();
  }));

  test("a hub's own digests are asked for", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    const source = { repo: "org/llama", endpoint: `${server.origin}/hub` };
    const { error, stages } = await load(page, source, {});
    assert.equal(error, undefined, error?.message);
    assert.ok(stages.includes(`verify ${name}`), `${stages}`);
    flip(Infinity);
    const other = await open(await browser.newContext());
    assert.equal((await load(other, source, {})).error?.code, "integrity");
    await other.context().close();
    // Once, on the way: what was uploaded is loaded again from the block that was fetched again.
    flip(1);
    const third = await open(await browser.newContext());
    const mended = await load(third, source, {});
    assert.equal(mended.error, undefined, mended.error?.message);
    assert.equal(await storedHash(third, name), sha256(join(golden, "models/llama", name)));
    await third.context().close();
  }));
});

describe("a pack", { skip: noGolden || absent(command) }, () => {
  test("loads as what it was made of, its parts checked", { timeout: 300_000 }, () => profile(async (context) => {
    const { ids } = JSON.parse(readFileSync(join(golden, "models/deepseek_v2/golden.json"), "utf8")).prompts.short;
    const page = await open(context);
    const run = async (url, options) => {
      const stages = await page.evaluate(async ([url, options, ids]) => {
        const files = new Set();
        const { model } = await open(url, { ...options, onProgress: ({ stage, file }) => stage === "verify" && files.add(file) });
        const { ids: got } = await greedy(model, ids, { maxOutputTokens: 16 });
        await close(model);
        return { got, verified: [...files] };
      }, [url, options, ids]);
      return stages;
    };
    // Rows of this tiny model that are no whole blocks stayed numbers: asked for q8, they become it in both.
    const q8 = { quantization: "q8" };
    const [packed, made] = [await run("/pack/", q8), await run("/golden/models/deepseek_v2/", q8)];
    assert.deepEqual(packed.got, made.got);
    assert.ok(packed.verified.length > 3 && packed.verified.every((f) => f.includes("-of-") || f.includes(".")), `${packed.verified}`);
    const error = await damaged(context, (path) => path.endsWith(packed.verified.find((f) => f.includes("-of-"))));
    assert.equal(error?.code, "integrity", error?.message);
  }));
});

/** What a load says whose files, as `match` says, arrive with a bit flipped. */
async function damaged(context, match) {
  const page = await open(context);
  const [path] = server.requests.map((r) => r.path).filter(match);
  const bytes = readFileSync(join(pack, path.split("/").at(-1)));
  bytes[bytes.length >> 1] ^= 8;
  server.fault = (request) => (request.path === path ? { status: 200, headers: { "content-length": bytes.length }, body: bytes } : undefined);
  return page.evaluate(() => failed(minke.load("/pack/", { cache: "none" })));
}

describe("an estimate", { skip: noGolden }, () => {
  test("is what a load then takes", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    for (const url of [LLAMA, "/golden/models/deepseek_v2/", "/golden/models/gpt_oss_mxfp4/"]) {
      const from = server.requests.length;
      const estimate = await page.evaluate((url) => minke.estimate(url), url);
      const weights = server.requests.slice(from).filter((r) => r.path.endsWith(".safetensors") && r.path.startsWith(url));
      assert.ok(weights.length > 0 && weights.every((r) => Number(r.range.split("-")[1]) < BLOCK), `${weights.map((r) => r.range)}`);
      const { memory, info } = await page.evaluate(async (url) => {
        const { model, memory, info } = await open(url, { cache: "none" });
        await close(model);
        return { memory, info };
      }, url);
      const held = memory.weights + memory.kv + memory.scratch;
      assert.ok(Math.abs(estimate.gpuBytes - held) <= 0.05 * held, `${url}: ${estimate.gpuBytes} estimated, ${held} held`);
      assert.equal(estimate.maxContextLength, info.contextLength);
      assert.ok(Math.abs(estimate.kvBytesPerToken * info.contextLength - memory.kv) <= 0.05 * memory.kv);
      assert.equal(estimate.fit, "yes", JSON.stringify(estimate.reasons));
    }
    assert.deepEqual(await page.evaluate(() => minke.store.list()), [], "to look leaves nothing behind");
  }));
});
