// Tests how workers start, trap and end in Chromium, with the fake engine, so that no GPU is needed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { buildFake } from "./lib/fake-package.mjs";
import { serve } from "./lib/server.mjs";

const skip = chromiumPath ? false : "Chromium: it is not installed";
const HTML = { type: "text/html", body: "<!doctype html><title>app</title>" };
const GGUF = { type: "application/octet-stream", body: Buffer.alloc(1000) };

let server, other, browser, page;

before(async () => {
  if (skip) return;
  const package_ = await buildFake();
  server = await serve({ "/app/": HTML, "/app/minke/": package_, "/app/model.gguf": GGUF });
  other = await serve({ "/cdn/": package_ });
  other.headers = { "access-control-allow-origin": "*" };
  browser = await launch();
  page = await browser.newPage();
  await page.goto(`${server.origin}/app/`);
});
after(async () => {
  await browser?.close();
  await server?.close();
  await other?.close();
});

const run = (program, argument) => page.evaluate(program, argument);

test("a trap in a worker rejects what waits there, and a new load works", { skip }, async () => {
  const got = await run(async () => {
    const { load } = await import("./minke/index.js");
    const model = await load("./model.gguf");
    const ends = await Promise.allSettled([model.generate("trap later"), model.generate("b")]);
    const after = await model.generate("c").catch((e) => e);
    const again = await load("./model.gguf");
    const { text } = await again.generate("d");
    await again.unload();
    return [...ends.map((e) => e.reason?.code), after.code, after.name, text];
  });
  assert.deepEqual(got, ["internal", "internal", "internal", "EngineError", "0 1 2 3 4 "]);
});

test("one worker of the user's own holds two models", { skip }, async () => {
  const got = await run(async () => {
    const { load } = await import("./minke/index.js");
    const worker = new Worker("./minke/worker.js");
    const models = await Promise.all([load("./model.gguf", { worker }), load("./model.gguf", { worker })]);
    await models[0].unload();
    const { text } = await models[1].generate("x");
    await models[1].unload();
    const made = await load("./model.gguf", { worker: () => new Worker("./minke/worker.js", { type: "module" }) });
    const second = (await made.generate("y")).text;
    await made.unload();
    worker.terminate();
    return [text, second];
  });
  assert.deepEqual(got, ["0 1 2 3 4 ", "0 1 2 3 4 "]);
});

test("served from another origin, the worker is a blob of this one", { skip }, async () => {
  const text = await run(async (cdn) => {
    const { load } = await import(cdn);
    const model = await load("./model.gguf");
    const { text } = await model.generate("x");
    await model.unload();
    return text;
  }, `${other.origin}/cdn/index.js`);
  assert.equal(text, "0 1 2 3 4 ");
});

test("a worker that cannot start is a typed error", { skip }, async () => {
  const code = await run(async () => {
    const { load } = await import("./minke/index.js");
    return load("./model.gguf", { worker: () => new Worker("./none.js") }).catch((e) => e.code);
  });
  assert.equal(code, "network");
});

test("an aborted load and an unload end the worker", { skip }, async () => {
  page = await browser.newPage();
  await page.goto(`${server.origin}/app/`);
  await run(async () => {
    const { load } = await import("./minke/index.js");
    const controller = new AbortController();
    const loading = load("./model.gguf", { signal: controller.signal, contextLength: 1, onProgress: () => controller.abort("why") });
    const reason = await loading.catch((e) => e);
    if (reason !== "why") throw new Error(`rejected with ${reason}`);
    const model = await load("./model.gguf");
    await model.unload();
  });
  for (let i = 0; i < 50 && page.workers().length > 0; i++) await page.waitForTimeout(100);
  assert.deepEqual(page.workers().map((w) => w.url()), []);
});
