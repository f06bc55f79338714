// Tests models on the processor, in Chromium: how many workers run, that results do not depend on it, what a load chooses, and how a
// model whose GPU is lost goes on.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { absent, golden, installApp, reference, seeded, smollm } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";

const skip = (!chromiumPath && "Chromium: it is not installed") || absent(golden);
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
// A worker whose GPU the page can take away.
const KILLABLE = `
import "./node_modules/minke/dist/worker.js";
const request = GPUAdapter.prototype.requestDevice;
let device;
GPUAdapter.prototype.requestDevice = async function (...args) { return (device = await request.apply(this, args)); };
self.addEventListener("message", ({ data }) => data === "kill" && device.destroy());
`;
const golds = (name) => JSON.parse(readFileSync(join(golden, `models/${name}/golden.json`), "utf8")).prompts.short;

describe("the processor", { skip, timeout: 300_000 }, () => {
  let server, browser, page;
  const isolate = (on) => (server.headers = on ? ISOLATED : {});
  const opened = async (context = browser) => {
    const page = await context.newPage();
    await page.goto(`${server.origin}/`);
    await page.waitForFunction(() => document.title === "ready");
    return page;
  };
  before(async () => {
    const app = installApp("processor-app");
    writeFileSync(join(app, "killable.js"), KILLABLE);
    server = await serve({ "/golden/": golden, "/smollm/": dirname(smollm), "/": app });
    browser = await launch();
    isolate(true);
    page = await opened();
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("logits, greedy and sampled tokens are those of the references, with any number of threads", async () => {
    for (const name of ["llama", "gemma3_text", "gpt_oss", "deepseek_v2", "qwen3_moe"]) {
      const { ids, greedy_ids: want } = golds(name);
      const got = await page.evaluate(async ({ name, ids, count }) => {
        const url = `/golden/models/${name}/`;
        const made = [];
        for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 3 }, { threads: 2, internal: { f32: true } }]) {
          const { model, info } = await open(url, { device: "cpu", ...options });
          const { ids: said } = await greedy(model, ids, { maxOutputTokens: count });
          const logits = await models.get(model).forward(Uint32Array.from([...ids, ...said]), { rows: "all" });
          const { most } = (await difference(model, [...ids, ...said], `${url}golden.safetensors`, "logits.short")) ?? { most: 0 };
          made.push({ name: info.device.name, said, logits: [...new Uint32Array(logits.buffer)].join(), most });
          await close(model);
        }
        const [one, two, three, exact] = made;
        return { names: made.map((m) => m.name), said: made.map((m) => m.said), same: one.logits === two.logits && one.logits === three.logits, exact: exact.most };
      }, { name, ids, count: want.length });
      assert.deepEqual(got.names, ["CPU, 1 thread", "CPU, 2 threads", "CPU, 3 threads", "CPU, 2 threads"]);
      for (const said of got.said) assert.deepEqual(said, want, name);
      assert.ok(got.same, `${name}: logits are the same bits with 1, 2 and 3 threads`);
      assert.ok(got.exact < 1e-3, `${name}: logits are off by ${got.exact} in f64`);
    }
    const drawn = await page.evaluate(async ({ prompt, cases }) => {
      const { model } = await open("/golden/models/llama/", { device: "cpu" });
      const drawn = [];
      for (const { options } of cases) drawn.push((await greedy(model, prompt, options)).ids);
      await close(model);
      return drawn;
    }, seeded);
    assert.deepEqual(drawn, seeded.cases.map((c) => c.ids), "a seed means the same tokens as on a GPU");
  });

  test("a real model says what the reference says", { skip: absent(smollm) }, async () => {
    const { prompt, ids } = JSON.parse(readFileSync(reference, "utf8")).greedy ?? {};
    const got = await page.evaluate(async () => {
      const { model, info, memory } = await open("/smollm/SmolLM2-135M-Instruct.Q4_1.gguf", { device: "cpu", cache: "none" });
      const { text, usage } = await models.get(model).generate("Why is the sky blue?", { temperature: 0, maxOutputTokens: 24 });
      await close(model);
      return { text, usage, info, memory };
    });
    assert.ok(ids === undefined || prompt === undefined || got.text.length > 0);
    assert.match(got.text, /sky|blue|light|scatter/i);
    console.log(`${got.info.device.name}: ${got.usage.tokensPerSecond.toFixed(0)} tokens a second, ${Math.round(got.memory.weights / 1e6)} MB of weights`);
  });

  test("pages that are not isolated have one thread", async () => {
    isolate(false);
    const plain = await opened();
    const got = await plain.evaluate(async () => {
      const { model, info } = await open("/golden/models/llama/", { device: "cpu", threads: 4 });
      const { threads, device } = await minke.deviceInfo();
      await close(model);
      return { name: info.device.name, threads, device };
    });
    assert.deepEqual(got, { name: "CPU, 1 thread", threads: 1, device: "cpu" });
    await plain.close();
    isolate(true);
  });

  test("a load chooses the processor where there is no GPU, or only a software adapter, and says so", async () => {
    const load = (page, options) => page.evaluate(async (options) => {
      const { model, info } = await open("/golden/models/llama/", options);
      const { ids } = await greedy(model, [5, 6, 7], { maxOutputTokens: 4 });
      const estimate = await minke.estimate("/golden/models/llama/", options);
      const memory = models.get(model).memory();
      await close(model);
      return { device: info.device, tokens: ids.length, fit: estimate.fit, estimated: estimate.gpuBytes, held: memory.weights + memory.kv + memory.scratch };
    }, options);
    const software = await load(page, { device: "auto", threads: 2 });
    assert.equal(software.device.kind, "cpu");
    assert.match(software.device.reason, /software/);
    assert.ok(Math.abs(software.estimated - software.held) <= 0.05 * software.held, `${software.estimated} bytes estimated, ${software.held} held`);
    assert.equal(await page.evaluate(() => minke.availability("/golden/models/llama/", { device: "auto" })), "available");
    const without = await launch({ args: ["--disable-features=WebGPU,WebGPUService", "--disable-gpu"] });
    try {
      const bare = await opened(without);
      await bare.evaluate(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
      for (const worker of [true, false]) {
        const got = await load(bare, { device: "auto", worker, cache: "none" });
        assert.deepEqual([got.device.kind, got.tokens, got.fit], ["cpu", 4, "yes"]);
      }
      const refused = await bare.evaluate(() => failed(minke.load("/golden/models/llama/", { device: "gpu", worker: false })));
      assert.equal(refused.code, "no-webgpu");
    } finally {
      await without.close();
    }
  });

  test("a model whose GPU is lost in the middle of an answer goes on", async () => {
    const { ids, greedy_ids: want } = golds("llama");
    const run = (fallback) => page.evaluate(async ({ ids, count, fallback }) => {
      let worker;
      const make = () => (worker = new Worker("./killable.js", { type: "module" }));
      const model = await minke.load("/golden/models/llama/", { device: "gpu", fallback, worker: make, internal: { f32: true } });
      const before = model.info.device.kind;
      const session = await model.createSession({ raw: true, temperature: 0 });
      let seen = 0;
      const lost = model.lost.then((error) => error.code);
      const generation = model.stream(Uint32Array.from(ids), { temperature: 0, maxOutputTokens: count });
      try {
        for await (const part of generation) if (part.type === "text-delta" && ++seen === 3) worker.postMessage("kill");
        const { ids: said } = await generation.result;
        const again = await model.generate(Uint32Array.from(ids), { temperature: 0, maxOutputTokens: count });
        const turn = await session.generate(Uint32Array.from(ids), { maxOutputTokens: 2 });
        const scores = await model.score(Uint32Array.from(ids));
        const { kind, reason } = model.info.device;
        const memory = model.memory();
        await model.unload();
        return { before, said: [...said], again: [...again.ids], turn: [...turn.ids], scores: scores.length, kind, reason, held: memory.weights > 0 };
      } catch (error) {
        const waited = new Promise((resolve) => setTimeout(() => resolve(`not lost: ${JSON.stringify(facts(error))}`), 5000));
        const why = await Promise.race([lost, waited]);
        await model.unload();
        return { code: facts(error).code, lost: why };
      }
    }, { ids, count: want.length, fallback });
    const got = await run(true);
    assert.deepEqual(got, { before: "gpu", said: want, again: want, turn: want.slice(0, 2), scores: ids.length - 1, kind: "cpu", reason: "the GPU was lost", held: true });
    assert.deepEqual(await run(false), { code: "device-lost", lost: "device-lost" });
  });

  test("faults of workers are errors, and nothing waits for ever", async () => {
    const missing = await page.evaluate(() => failed(minke.load("/golden/models/llama/", { device: "cpu", cpuWasm: "./nowhere.wasm" })));
    assert.deepEqual([missing.code, missing.detail.status], ["network", 404]);
    const wrong = await page.evaluate(() => failed(minke.load("/golden/models/llama/", { device: "cpu", cpuWasm: "./index.html" })));
    assert.equal(wrong.code, "network");
    // A load that fails leaves no worker behind, also where the engine is on the page; a worker that traps ends its model.
    const fresh = await opened();
    const failing = await fresh.evaluate(() => failed(minke.load("/golden/models/llama/", { device: "cpu", threads: 2, worker: false, contextLength: 4294967295 })));
    assert.notEqual(failing, undefined);
    await fresh.waitForTimeout(300);
    assert.equal(fresh.workers().length, 0);
    const model = await fresh.evaluate(() => open("/golden/models/llama/", { device: "cpu", threads: 2, worker: false }).then(({ model }) => model));
    const own = fresh.workers();
    assert.equal(own.length, 2);
    await own[1].evaluate(() => self.dispatchEvent(new MessageEvent("message", { data: { minkeWorker: 1, kind: "command", command: new Uint8Array([255, 255]) } })));
    const trapped = await fresh.evaluate(async (id) => {
      const model = models.get(id);
      const said = await failed(model.generate(Uint32Array.from([5, 6, 7]), { temperature: 0, maxOutputTokens: 8 }));
      return { said: said.code, lost: (await model.lost).code };
    }, model);
    assert.deepEqual(trapped, { said: "device-lost", lost: "device-lost" });
    await fresh.evaluate((id) => close(id), model);
    assert.equal(fresh.workers().length, 0);
    await fresh.close();
    const aborted = await page.evaluate(async () => {
      const { model } = await open("/golden/models/llama/", { device: "cpu", threads: 2 });
      const controller = new AbortController();
      const ended = failed(models.get(model).generate(Uint32Array.from([5, 6, 7]), { temperature: 0, maxOutputTokens: 100, signal: controller.signal }));
      setTimeout(() => controller.abort(new Error("enough")), 20);
      const first = await ended;
      const { ids } = await greedy(model, [5, 6, 7], { maxOutputTokens: 4 });
      const unloading = failed(models.get(model).generate(Uint32Array.from([5, 6, 7]), { temperature: 0, maxOutputTokens: 100 }));
      await close(model);
      return { first: first?.text, tokens: ids.length, unloaded: (await unloading)?.code };
    });
    assert.deepEqual(aborted, { first: "Error: enough", tokens: 4, unloaded: "invalid-argument" });
  });
});
