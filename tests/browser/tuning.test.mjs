// Tests the choice of variants by timing, in Chromium: what the first load on a GPU keeps, that later ones use it, and when nothing is timed. The
// adapter is SwiftShader, which says here that it is something else; which variants win there says nothing.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { absent, golden, installApp } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";

const skip = (!chromiumPath && "Chromium: it is not installed") || absent(golden);
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
// A worker that counts the submits of timing, by the labels of their encoders.
const COUNTING = `
import "./node_modules/minke/dist/worker.js";
const create = GPUDevice.prototype.createCommandEncoder;
const channel = new BroadcastChannel("submits");
GPUDevice.prototype.createCommandEncoder = function (descriptor) {
  if (descriptor?.label === "tuning") channel.postMessage("timed");
  return create.call(this, descriptor);
};
`;
const CLAIMING = `${COUNTING}
for (const name of ["vendor", "architecture", "device", "description"]) Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => "claimed" });
for (const prototype of [GPUAdapterInfo.prototype, GPUAdapter.prototype]) Object.defineProperty(prototype, "isFallbackAdapter", { get: () => false });
`;

describe("tuning", { skip, timeout: 300_000 }, () => {
  let server, browser, page;
  before(async () => {
    const app = installApp("tuning-app");
    writeFileSync(join(app, "counting.js"), COUNTING);
    writeFileSync(join(app, "claiming.js"), CLAIMING);
    server = await serve({ "/golden/": golden, "/": app });
    server.headers = ISOLATED;
    browser = await launch();
    page = await browser.newPage();
    await page.goto(`${server.origin}/`);
    await page.waitForFunction(() => document.title === "ready");
    await page.evaluate(() => {
      globalThis.timed = 0;
      new BroadcastChannel("submits").onmessage = () => globalThis.timed++;
      /** What is kept; null if nothing is. */
      globalThis.kept = async () => {
        try {
          const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("minke");
          return JSON.parse(await (await (await folder.getFileHandle("choices.json")).getFile()).text());
        } catch {
          return null;
        }
      };
    });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  /** Loads a model; how many submits were timed, what is kept then, and what the model says. */
  const load = (script, options = {}) =>
    page.evaluate(async ([script, options]) => {
      globalThis.timed = 0;
      const worker = () => new Worker(script, { type: "module" });
      const model = await minke.load("/golden/models/llama/", { device: "gpu", quantization: "q8", contextLength: 64, worker, ...options });
      const { ids } = await model.generate(Uint32Array.from([5, 6, 7, 8]), { temperature: 0, maxOutputTokens: 4 });
      const warnings = model.info.warnings.map(({ message }) => message);
      await model.unload();
      await new Promise((resolve) => setTimeout(resolve, 50)); // messages of the worker have arrived then
      return { timed: globalThis.timed, kept: await kept(), ids: [...ids], warnings };
    }, [script, options]);
  const forget = () => page.evaluate(async () => (await (await navigator.storage.getDirectory()).getDirectoryHandle("minke")).removeEntry("choices.json"));

  test("a software adapter decides nothing", async () => {
    const { timed, kept } = await load("./counting.js");
    assert.deepEqual([timed, kept], [0, null]);
  });

  test("the first load times, and later ones use what it found", async () => {
    const first = await load("./claiming.js");
    assert.deepEqual(first.warnings, []);
    assert.ok(first.timed > 0);
    assert.equal(first.kept.length, 2);
    assert.equal(first.kept[0], await page.evaluate(() => navigator.userAgent));
    assert.ok(Number.isInteger(first.kept[1]));
    const second = await load("./claiming.js");
    assert.deepEqual(second, { ...first, timed: 0 });
    assert.deepEqual(await page.evaluate(async () => (await minke.store.list()).length), 1, "it is no model");
  });

  test("what another version of the browser found out is not used", async () => {
    await page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("minke");
      const file = await (await folder.getFileHandle("choices.json")).createWritable();
      await file.write(JSON.stringify(["an older one", ...(await kept()).slice(1)]));
      await file.close();
    });
    const { timed, kept } = await load("./claiming.js");
    assert.ok(timed > 0);
    assert.equal(kept.length, 2);
  });

  test("loads that say so, or that cannot keep it, are not timed", async () => {
    await forget();
    for (const options of [{ tune: false }, { cache: "none" }]) {
      const { timed, kept } = await load("./claiming.js", options);
      assert.equal(timed, 0, JSON.stringify(options));
      assert.equal(kept, null, JSON.stringify(options));
    }
  });
});
