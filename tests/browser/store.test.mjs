// Tests the block store in the browser's private file system (OPFS) under faults, kills and flipped bits.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { absent, golden, installApp, root, smollm } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";
import * as lib from "./lib/store.mjs";
import { begin, clear, damage, ended, sent, sha256, storedHash } from "./lib/store.mjs";
import { writeCheckpoint } from "./lib/synthetic.mjs";

const noBrowser = chromiumPath ? false : "Chromium: it is not installed";
const noGolden = noBrowser || absent(golden);
const noSmol = noBrowser || absent(smollm);
const LLAMA = "/golden/models/llama/";
const BLOCK = 1 << 20;

/** The native command, which the native tests build. */
const command = join(root, "target/debug", process.platform === "win32" ? "minke.exe" : "minke");
const scratch = mkdtempSync(join(tmpdir(), "minke-"));
const pack = join(scratch, "pack");

let server, browser;

before(async () => {
  const app = installApp();
  if (noBrowser) return;
  if (!noGolden && !absent(command)) {
    execFileSync(command, ["pack", join(golden, "models/deepseek_v2"), pack, "--quantization", "q8", "--shard-size", "64KiB"], { stdio: "ignore" });
  }
  if (!noGolden) ["one", "two"].forEach((name, i) => writeCheckpoint(join(scratch, name), i + 1));
  const shard = "model-00002-of-00004.safetensors";
  const oid = noGolden ? "" : sha256(join(golden, "models/llama", shard));
  server = await serve({
    "/pack/": pack, "/app/": app, "/one/": join(scratch, "one"), "/two/": join(scratch, "two"), "/golden/": golden, "/smol.gguf": smollm,
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
const profile = (use) => lib.profile(browser, use);

/** Checks that a load's progress suits a progress bar; returns the stages and the origin of their data. */
function bar(events) {
  const order = ["download", "upload", "compile", "verify"];
  const stages = [];
  for (const [i, { stage, loaded, total, fromCache }] of events.entries()) {
    const before = events[i - 1];
    if (before?.stage !== stage) {
      assert.ok(before === undefined || before.loaded === before.total, `${before?.stage} ended at ${before?.loaded} of ${before?.total}`);
      assert.ok(order.indexOf(stage) > order.indexOf(stages.at(-1)?.stage), `${stage} after ${stages.at(-1)?.stage}`);
      stages.push({ stage, from: [] });
    } else {
      assert.equal(total, before.total);
      assert.ok(loaded > before.loaded && before.loaded < total, `${stage}: ${loaded} of ${total} after ${before.loaded}`);
    }
    assert.ok(loaded > 0 && loaded <= total);
    const from = fromCache ? "device" : "network";
    if (stages.at(-1).from.at(-1) !== from) stages.at(-1).from.push(from);
  }
  assert.equal(events.at(-1)?.loaded, events.at(-1)?.total);
  return stages.map(({ stage, from }) => (stage === "compile" ? stage : `${stage} ${from.join(" ")}`));
}

describe("a loaded model stays", { skip: noGolden }, () => {
  test("the second load starts from the device", { timeout: 300_000 }, () => profile(async (context) => {
    const { ids, greedy_ids } = JSON.parse(readFileSync(join(golden, "models/llama/golden.json"), "utf8")).prompts.short;
    const run = (page) => page.evaluate(async ([url, ids, n]) => {
      const events = [];
      const { model } = await open(url, { internal: { f32: true }, onProgress: (event) => events.push(event) });
      const result = await greedy(model, ids, { maxOutputTokens: n });
      await close(model);
      return { ids: result.ids, events };
    }, [LLAMA, ids, greedy_ids.length]).then(({ ids, events }) => ({ ids, stages: bar(events) }));
    const warm = { ids: greedy_ids, stages: ["download device", "compile"] };
    const page = await open(context);
    assert.equal(await page.evaluate((url) => minke.availability(url), LLAMA), "downloadable");
    assert.deepEqual(await page.evaluate(() => minke.store.list()), []);
    assert.deepEqual(await run(page), { ids: greedy_ids, stages: ["download network", "compile"] });
    await page.close();

    const again = await open(context);
    assert.equal(await again.evaluate((url) => minke.availability(url), LLAMA), "available");
    const [model, ...others] = await again.evaluate(() => minke.store.list());
    assert.deepEqual(others, []);
    assert.equal(model.complete, true);
    assert.ok(model.files.some((f) => f.endsWith(".safetensors")) && model.files.includes("config.json"), `${model.files}`);
    const from = server.requests.length;
    assert.deepEqual(await run(again), warm);
    const asked = server.requests.slice(from).filter((r) => r.path.startsWith(LLAMA) && r.range !== "bytes=0-0");
    assert.deepEqual(asked.filter((r) => model.files.some((f) => r.path.endsWith(f))), [], "only whether the files are the same");
    // The model's server does not respond.
    server.fault = ({ path }) => (path.startsWith(LLAMA) ? { drop: true } : undefined);
    assert.deepEqual(await run(again), warm);
    await again.evaluate((id) => minke.store.delete(id), model.id);
    assert.deepEqual(await again.evaluate(() => minke.store.list()), []);
    // A download is interrupted at its third shard, and continued.
    server.fault = ({ path }) => (path.endsWith("00003-of-00004.safetensors") ? { status: 403 } : undefined);
    await begin(again, LLAMA);
    assert.equal((await ended(again))?.code, "network");
    server.fault = () => undefined;
    await begin(again, LLAMA);
    assert.equal(await ended(again), null);
  }));

  test("what is here of a model that is not whole is not fetched again", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    const download = (url, end) => page.evaluate(async ([url, end]) => {
      const events = [];
      const stop = new AbortController();
      const onProgress = (event) => {
        events.push(event);
        if (event.loaded >= end) stop.abort("far enough");
      };
      const error = await minke.store.download(url, { signal: stop.signal, onProgress }).then(() => null, (e) => e);
      return { error, events };
    }, [url, end]);
    const from = server.requests.length;
    const first = await download("/one/", 6e6);
    assert.equal(first.error, "far enough");
    const second = await download("/one/", Infinity);
    assert.equal(second.error, null);
    assert.match(bar(second.events).join(), /^download device network/);
    const size = second.events.at(-1).total;
    const twice = sent(server, from, ({ path }) => path.endsWith(".safetensors")) - size;
    assert.ok(twice < 16 * BLOCK && twice < size / 2, `${twice} of ${size} bytes were sent twice`);
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
    // Data that was requested but not written when the page was closed: at most a few runs of blocks each time.
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
    // Longer than all attempts of a request without a response.
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
    while (asked(path, from) < 20e6) await new Promise((resolve) => setTimeout(resolve, 5));
    const refused = await pages[1].evaluate(async () => failed(minke.store.delete((await minke.store.list())[0].id)));
    assert.deepEqual([refused?.code, refused?.retryable], ["storage", true], JSON.stringify(refused));
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

  test("where there is no room asks what may go, and deletes nothing else", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    const session = await context.newCDPSession(page);
    await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize: 24e6 });
    const download = (source, give) => page.evaluate(async ([source, give]) => {
      const asked = [];
      const onStorageFull = (full) => (asked.push(full), give);
      const error = await minke.store.download(source, { onStorageFull }).then(() => null, (e) => facts(e));
      return { error, asked };
    }, [source, give]);
    const ids = () => page.evaluate(async () => (await minke.store.list()).map(({ id, complete }) => `${new URL(id).pathname} ${complete}`));
    assert.deepEqual(await download("/one/", []), { error: null, asked: [] });
    // The callback deletes nothing.
    const refused = await download("/two/", []);
    assert.equal(refused.error?.code, "storage", refused.error?.message);
    assert.equal(refused.asked.length, 1, "asked once");
    const [{ id, needed, used, evictable }] = refused.asked;
    assert.ok(id.endsWith("/two/") && needed > 0 && needed < 15e6 && used > 14e6, JSON.stringify(refused.asked));
    assert.deepEqual(evictable.map(({ id, bytes }) => [new URL(id).pathname, bytes > 14e6]), [["/one/", true]]);
    assert.deepEqual(refused.error.detail.evictable.map(({ id }) => id), evictable.map(({ id }) => id));
    assert.deepEqual((await ids()).sort(), ["/one/ true", "/two/ false"]);
    // A load continues without storing the rest.
    const loaded = await page.evaluate(async () => {
      const stop = new AbortController();
      const onProgress = ({ stage, loaded, total }) => stage === "download" && loaded === total && stop.abort("all weights");
      return minke.load("/two/", { signal: stop.signal, onProgress }).catch((e) => (typeof e === "string" ? e : facts(e)));
    });
    assert.equal(loaded, "all weights");
    assert.deepEqual((await ids()).sort(), ["/one/ true", "/two/ false"]);
    const given = await download("/two/", evictable.map(({ id }) => id));
    assert.equal(given.error, null, given.error?.message);
    assert.deepEqual(await ids(), ["/two/ true"]);
    const thrown = await page.evaluate(() => minke.store.download("/one/", { onStorageFull() { throw new Error("mine"); } }).catch((e) => e.message));
    assert.equal(thrown, "mine");
    await clear(page);
  }));
});

describe("integrity", { skip: noGolden }, () => {
  const name = "model-00002-of-00004.safetensors";
  const digest = () => `sha256-${createHash("sha256").update(readFileSync(join(golden, "models/llama", name))).digest("base64")}`;
  /** The stages of a load, and the files that were checked. */
  const load = async (page, source, options) => {
    const { error, events } = await page.evaluate(async ([source, options]) => {
      const events = [];
      try {
        const { model } = await open(source, { ...options, onProgress: (event) => events.push(event) });
        await close(model);
        return { events };
      } catch (e) {
        return { error: facts(e) };
      }
    }, [source, options]);
    return error === undefined ? { stages: bar(events), checked: events.filter(({ stage }) => stage === "verify").map(({ file }) => file) } : { error };
  };
  /** Serves the file with one bit flipped, `times` times. */
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

  test("a file that is not what was promised is an error that names it", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    const wrong = `sha256-${createHash("sha256").update("something else").digest("base64")}`;
    for (const cache of ["opfs", "none"]) {
      const { error } = await load(page, LLAMA, { integrity: { [name]: wrong }, cache });
      assert.equal(error?.code, "integrity", error?.message);
      assert.equal(error.detail.file, name);
    }
    const right = { integrity: { [name]: digest() } };
    // The damaged part is stored; the rest is fetched with it.
    assert.deepEqual((await load(page, LLAMA, right)).stages.map((stage) => stage.split(" ")[0]), ["download", "upload", "compile"]);
    assert.deepEqual((await load(page, LLAMA, right)).stages, ["download device", "compile"], "hashed once");
    assert.deepEqual((await load(page, LLAMA, { ...right, cache: "none" })).stages, ["download network", "upload network", "compile"]);
  }));

  test("a bit that flips on the way is found, and its block fetched again", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    flip(1);
    const { error, stages } = await load(page, LLAMA, { integrity: { [name]: digest() } });
    assert.equal(error, undefined, error?.message);
    assert.deepEqual(stages, ["download network", "upload network", "compile"]);
    assert.equal(await storedHash(page, name), sha256(join(golden, "models/llama", name)));
    flip(Infinity);
    const other = await open(await browser.newContext());
    assert.equal((await load(other, LLAMA, { integrity: { [name]: digest() } })).error?.code, "integrity");
    await other.context().close();
  }));

  test("a hub's own digests are asked for", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    const source = { repo: "org/llama", endpoint: `${server.origin}/hub` };
    const { error, stages, checked } = await load(page, source, {});
    assert.equal(error, undefined, error?.message);
    assert.deepEqual(stages, ["download network", "compile", "verify network"]);
    assert.ok(checked.every((file) => file === name), `${checked}`);
    flip(Infinity);
    const other = await open(await browser.newContext());
    assert.equal((await load(other, source, {})).error?.code, "integrity");
    await other.context().close();
    // One flip in transit: the upload is repeated with the block that was fetched again.
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
        const events = [];
        const { model } = await open(url, { ...options, onProgress: (event) => events.push(event) });
        const { ids: got } = await greedy(model, ids, { maxOutputTokens: 16 });
        await close(model);
        return { got, events };
      }, [url, options, ids]);
      return { got: stages.got, stages: bar(stages.events) };
    };
    // Rows of this tiny model that are not whole blocks stay unquantised in the pack; with q8 requested, both loads
    // quantise them.
    const q8 = { quantization: "q8" };
    const [packed, made] = [await run("/pack/", q8), await run("/golden/models/deepseek_v2/", q8)];
    assert.deepEqual(packed.got, made.got);
    // Such small parts are checked when they are opened, so that no check precedes the upload.
    assert.deepEqual(packed.stages, ["download network", "compile"]);
    assert.deepEqual((await run("/pack/", q8)).stages, ["download device", "compile"]);
    const error = await damaged(context, (path) => path.startsWith("/pack/") && path.includes("-of-"));
    assert.equal(error?.code, "integrity", error?.message);
  }));
});

/** The result of a load in which files selected by `match` arrive with a flipped bit. */
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

describe("the visitor's own files", { skip: noGolden }, () => {
  test("may be handles of folders, and dropped folders", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    const names = readdirSync(join(golden, "models/llama")).filter((name) => !name.startsWith("golden"));
    const { ids, greedy_ids } = JSON.parse(readFileSync(join(golden, "models/llama/golden.json"), "utf8")).prompts.short;
    const found = await page.evaluate(async ([url, names, ids, n]) => {
      const top = await (await navigator.storage.getDirectory()).getDirectoryHandle("picked", { create: true });
      const folder = await top.getDirectoryHandle("llama", { create: true });
      const files = [];
      for (const name of names) {
        const blob = await (await fetch(url + name)).blob();
        files.push(new File([blob], name));
        const writable = await (await folder.getFileHandle(name, { create: true })).createWritable();
        await writable.write(blob);
        await writable.close();
      }
      // A drop in a browser without file handles.
      const entry = (file) => ({ isFile: true, isDirectory: false, name: file.name, file: (done) => done(file) });
      let portions = [files.slice(0, 2).map(entry), files.slice(2).map(entry), []];
      const dropped = { isFile: false, isDirectory: true, name: "llama", createReader: () => ({ readEntries: (done) => done(portions.shift()) }) };
      const bytes = async (files) => (await minke.estimate({ files })).downloadBytes;
      const events = [];
      const { model } = await open({ files: [folder] }, { internal: { f32: true }, onProgress: (event) => events.push(event) });
      const result = await greedy(model, ids, { maxOutputTokens: n });
      const { id } = models.get(model);
      await close(model);
      return { id, ids: result.ids, events, bytes: [await bytes([folder]), await bytes([top]), await bytes([dropped]), await bytes(files)] };
    }, [LLAMA, names, ids, greedy_ids.length]);
    assert.deepEqual(found.ids, greedy_ids);
    assert.equal(found.id, "llama");
    assert.deepEqual(bar(found.events), ["download device", "compile"]);
    assert.ok(found.bytes[0] > 300_000 && found.bytes.every((bytes) => bytes === found.bytes[0]), `${found.bytes}`);
  }));

  test("that are no model are errors that say what is missing", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    const errors = await page.evaluate(async () => {
      const top = await navigator.storage.getDirectory();
      const empty = await top.getDirectoryHandle("empty", { create: true });
      const of = (files) => failed(minke.estimate({ files }));
      return [await of([new File([], "model.gguf")]), await of([empty]), await of([{ name: "x" }]), await of([new File(["{}"], "config.json")])];
    });
    assert.deepEqual(errors.map((e) => e?.code), ["format", "format", "invalid-argument", "format"], JSON.stringify(errors));
    assert.match(errors[1].message, /config\.json/);
  }));
});

describe("a pack's manifest", { skip: noGolden }, () => {
  test("that is hostile is an error, and harms nothing", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    const hash = "0".repeat(64);
    const file = (parts, size = 10) => ({ minke: 1, files: { "model.safetensors": { size, sha256: hash, parts } } });
    const part = (name, size = 10) => ({ name, size, sha256: hash });
    const cases = {
      "not JSON": "{", "an array": "[]", "null": "null", "no version": { files: {} }, "version 2": { minke: 2, files: {} },
      "files: null": { minke: 1, files: null }, "files: a list": { minke: 1, files: [] }, "a file: null": { minke: 1, files: { "model.safetensors": null } },
      "parts: 5": file(5), "parts: null": file([null]), "a name: 7": file([part(7)]), "no hash": file([{ name: "a", size: 10 }]),
      "a path": file([part("../a")]), "an address": file([part("https://evil.example/a")]), "backslash": file([part("..\\a")]),
      "sizes that do not add up": file([part("a", 4)]), "sizes beyond 2^64": file([part("a", 1e30)]), "a negative size": file([part("a", -1)]),
      "a part that is not there": file([part("model.part")]), "the manifest itself": file([part("minke.json")]),
      "__proto__": '{"minke":1,"files":{"__proto__":{"size":1,"sha256":"x"}}}', "10,000 deep": `{"minke":1,"files":${"[".repeat(10_000)}`,
    };
    for (const [name, manifest] of Object.entries(cases)) {
      server.mounts["/bad/"] = join(golden, "models/deepseek_v2");
      for (const missing of ["model.safetensors.index.json", ...[1, 2, 3, 4].map((i) => `model-0000${i}-of-00004.safetensors`)]) {
        server.mounts[`/bad/${missing}`] = join(scratch, "nothing");
      }
      server.mounts["/bad/minke.json"] = { type: "application/json", body: typeof manifest === "string" ? manifest : JSON.stringify(manifest) };
      for (const download of [false, true]) {
        const error = await page.evaluate((download) => failed(download ? minke.store.download("/bad/") : minke.load("/bad/", { cache: "none" })), download);
        assert.ok(["format", "integrity"].includes(error?.code), `${name}: ${JSON.stringify(error)}`);
      }
    }
    assert.ok(await page.evaluate(() => ({}).size === undefined && ({}).sha256 === undefined));
    assert.ok(server.requests.every(({ path }) => !path.includes("evil")));
  }));

  test("is what a download follows", { skip: absent(command), timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    await begin(page, "/pack/");
    assert.equal(await ended(page), null);
    const [{ files, complete }] = await page.evaluate(() => minke.store.list());
    assert.ok(complete && files.filter((name) => /-of-0*\d+$/.test(name)).length > 3, `${files}`);
    server.fault = ({ path }) => (path.startsWith("/pack/") ? { drop: true } : undefined);
    assert.equal(await page.evaluate(() => minke.estimate("/pack/", {}).then(() => "estimated", (e) => facts(e).code)), "network", "an estimate reads nothing that is kept");
  }));
});
