// Tests the static site in headless Chromium, below a sub-path, with the headers that it asks hosts for: the start page, each demo, the bench.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { absent, golden, shots, site, smollm } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { headersOf } from "./lib/headers.mjs";
import { serve } from "./lib/server.mjs";

const skip = chromiumPath ? absent(site) : "Chromium: it is not installed";
const noSmol = skip || absent(smollm);
const BASE = "/some/where/";
const SMOL = "?device=cpu&model=../../models/smol.gguf";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let server, browser, page, problems;

before(async () => {
  if (skip) return;
  server = await serve({ [BASE]: site, [`${BASE}models/smol.gguf`]: smollm, [`${BASE}models/llama/`]: join(golden, "models/llama") });
  server.headers = headersOf(site, "/demos/hello/");
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(async () => {
  await page?.close();
  page = undefined;
  if (server) server.headers = headersOf(site, "/demos/hello/");
});

/** Opens a page of the site, and notes whatever goes wrong in it. */
async function open(path, { width = 1000, height = 800 } = {}) {
  page = await browser.newPage({ viewport: { width, height }, colorScheme: "light" });
  problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  // What the package aborts is no failure: it ends requests when it has what it needs.
  page.on("requestfailed", (request) => request.failure()?.errorText !== "net::ERR_ABORTED" && problems.push(`${request.url()}: ${request.failure()?.errorText}`));
  // A folder of several shards has no single one, which the package asks for, too.
  page.on("response", (response) => response.status() >= 400 && !response.url().endsWith("/llama/model.safetensors") && problems.push(`${response.url()}: ${response.status()}`));
  await page.goto(`${server.origin}${BASE}${path}`);
  return page;
}

/** What axe-core has to say, in light and dark; pictures; that a narrow screen needs no scrolling sideways; and that nothing went wrong. */
async function looksWell(name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize(colorScheme === "light" ? { width: 1000, height: 800 } : { width: 360, height: 740 });
    await page.screenshot({ path: join(shots, `site-${name}-${colorScheme}.png`), fullPage: true });
    const found = await page.evaluate(`${axe}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html).join(" ")))`);
    assert.deepEqual(found, [], colorScheme);
  }
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than a phone");
  assert.deepEqual(problems, []);
}

const state = (...wanted) => page.waitForFunction((wanted) => wanted.includes(document.body.dataset.state), wanted, { timeout: 60_000 });
const filled = (selector, length = 8) => page.waitForFunction(([s, n]) => document.querySelector(s)?.textContent.length > n, [selector, length], { timeout: 60_000 });

test("the site is whole: its links lead somewhere, and its pages allow nothing inline", { skip }, async () => {
  await open("");
  const pages = [""];
  for (const path of pages) {
    await page.goto(`${server.origin}${BASE}${path}`);
    const links = await page.evaluate(() => [...document.querySelectorAll("a[href]")].map((a) => a.href.replace(/#.*/, "")));
    for (const link of links) {
      const next = link.slice(`${server.origin}${BASE}`.length);
      if (!pages.includes(next) && !next.startsWith("chat/")) pages.push(next);
    }
    const policy = await page.getAttribute("meta[http-equiv=Content-Security-Policy]", "content");
    assert.match(policy, /^default-src 'none';/, path);
    assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|\*/, path);
  }
  assert.deepEqual(pages.sort(), ["", "bench/", ...["drop", "extract", "hello", "openai", "think", "tools"].map((name) => `demos/${name}/`)]);
  assert.deepEqual(problems, []);
  const [folder, ...others] = readdirSync(site).filter((name) => name.startsWith("minke-"));
  assert.deepEqual(others, []);
  assert.match(headersOf(site, `/${folder}/index.js`)["cache-control"], /immutable/);
  assert.equal(headersOf(site, "/bench/main.js")["cache-control"], undefined);
  await page.goto(`${server.origin}${BASE}`);
  await looksWell("start");
});

describe("demos", { skip: noSmol, timeout: 120_000 }, () => {
  test("hello answers, and shows its twelve lines", async () => {
    await open(`demos/hello/${SMOL}`);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    await page.click("#ask");
    await page.waitForFunction(() => /salt|ocean|water/i.test(document.querySelector("#output").textContent), undefined, { timeout: 60_000 });
    await filled("#source", 100);
    assert.equal((await page.innerText("#source")).split("\n").length, 12);
    await looksWell("hello");
  });

  test("hello needs no headers of its host", async () => {
    server.headers = {};
    await open(`demos/hello/${SMOL}`);
    assert.equal(await page.evaluate(() => crossOriginIsolated), false);
    await page.click("#ask");
    await page.waitForFunction(() => /salt|ocean|water/i.test(document.querySelector("#output").textContent), undefined, { timeout: 60_000 });
    assert.deepEqual(problems, []);
  });

  test("a model that is not there is told, and the page can try again", async () => {
    await open(`demos/tools/?device=cpu&model=../../models/none.gguf`);
    await page.click("#load-button");
    await page.waitForFunction(() => /network/.test(document.querySelector("#load-status").textContent), undefined, { timeout: 30_000 });
    assert.equal(await page.isVisible("#load-button"), true);
    assert.match(await page.innerText("#model-name"), /none\.gguf/);
    assert.ok(problems.every((problem) => /404/.test(problem)), problems.join("\n"));
  });

  test("think parts reasoning from the answer, within its budget", { skip: absent(golden) }, async () => {
    await open("demos/think/?device=cpu&model=../../models/llama/");
    await page.click("#load-button");
    await state("ready");
    await page.fill("#question", "Hi!");
    await page.fill("#budget", "50");
    assert.equal(await page.innerText("#limit"), "50");
    await page.click("#ask button");
    await page.waitForFunction(() => /tokens of reasoning/.test(document.querySelector("#usage").textContent), undefined, { timeout: 60_000 });
    assert.match(await page.innerText("#usage"), /^\d+ tokens of reasoning, \d+ of answer/);
    const [reasoning] = (await page.innerText("#usage")).match(/\d+/);
    assert.ok(Number(reasoning) > 0 && Number(reasoning) <= 50, reasoning);
    assert.notEqual(await page.innerText("#reasoning"), "");
    await looksWell("think");
  });

  test("extract fills its form with what the schema asks for", async () => {
    await open(`demos/extract/${SMOL}`);
    await page.click("#load-button");
    await state("ready");
    await page.click("#fill");
    await page.waitForFunction(() => /per second/.test(document.querySelector("#usage").textContent), undefined, { timeout: 60_000 });
    const json = JSON.parse(await page.innerText("#json"));
    const form = await page.evaluate(() => Object.fromEntries(new FormData(document.querySelector("#form"))));
    assert.deepEqual(Object.keys(json).sort(), Object.keys(form).sort());
    for (const [name, value] of Object.entries(json)) assert.equal(form[name], String(value), name);
    assert.match(json.firstDay, /^\d{4}-\d\d-\d\d$/);
    assert.ok(Number.isInteger(json.days));
    await looksWell("extract");
  });

  test("tools runs the calculator on what the model calls it with", async () => {
    await open(`demos/tools/${SMOL}`);
    await page.click("#load-button");
    await state("ready");
    await page.selectOption("#choice", "calculator");
    await page.click("#ask button");
    await page.waitForSelector(".log .result", { timeout: 60_000 });
    const [, expression] = (await page.innerText(".log .call")).match(/^calculator\(\{\s*"expression":\s*"([-+*/^(). \d]+)"\s*\}\)$/) ?? [];
    assert.ok(expression?.startsWith("1234"), await page.innerText(".log .call"));
    await looksWell("tools");
    const values = await page.evaluate(async (url) => {
      const { calculate } = await import(url);
      const failed = (text) => { try { return calculate(text); } catch (error) { return error.message; } };
      return ["1234 * 5678", "2+3*4^2/-(1-3)", "1,000 + 0.5", "2^3^2", "-2^2", "1e3 % 7 + 2**3", "1 +", "(1", "alert(1)"].map(failed);
    }, `${server.origin}${BASE}demos/tools/calculate.js`);
    assert.deepEqual(values, [7006652, 26, 1000.5, 512, -4, 14, "expected a number, not the end", "a parenthesis is not closed", "expected a number, not a"]);
  });

  test("openai streams an answer through the official client", async () => {
    await open(`demos/openai/${SMOL}`);
    await page.click("#load-button");
    await state("ready");
    await page.fill("#question", "What is the capital of France? Answer in a word.");
    await page.click("#ask button");
    await page.waitForFunction(() => /\d+ \+ \d+ tokens/.test(document.querySelector("#usage").textContent), undefined, { timeout: 60_000 });
    assert.match(await page.innerText("#answer"), /Paris/);
    await looksWell("openai");
  });
});

describe("drop", { skip: noSmol || absent(golden), timeout: 60_000 }, () => {
  const rows = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll("#report tr")].map((row) => [row.cells[0].textContent, row.cells[1].textContent])));

  test("tells what a GGUF file is and costs", async () => {
    await open("demos/drop/");
    await page.setInputFiles("#files", smollm);
    await state("done");
    const got = await rows();
    assert.equal(got.Architecture, "llama");
    assert.match(got.Weights, /^134\.5 million$/);
    assert.equal(got.Layers, "30");
    assert.equal(got.Vocabulary, "49,152");
    assert.match(got.Q4_1, /5\.00 bits each/);
    assert.equal(got["Runs here"], "yes");
    assert.match(got["Memory in use"], /MB$/);
    await looksWell("drop");
  });

  test("tells what a folder of safetensors is, and refuses files that are broken with the engine's own error", async () => {
    await open("demos/drop/");
    const folder = join(golden, "models/llama");
    await page.setInputFiles("#files", readdirSync(folder).filter((name) => /^(config|tokenizer|model).*\.(json|safetensors)$/.test(name)).map((name) => join(folder, name)));
    await state("done");
    assert.match((await rows()).Format, /^safetensors, 4 files$/);
    assert.equal((await rows())["Runs here"], "yes");
    const broken = mkdtempSync(join(tmpdir(), "minke-"));
    writeFileSync(join(broken, "cut.gguf"), readFileSync(smollm).subarray(0, 3_000_000));
    writeFileSync(join(broken, "words.gguf"), "these are words, and no model");
    for (const name of ["cut.gguf", "words.gguf"]) {
      await page.setInputFiles("#files", join(broken, name));
      await state("failed");
      assert.match(await page.innerText("#error"), /\(format\)$/, name);
      await page.setInputFiles("#files", []);
    }
    // The same by dropping, as a browser without entries of folders hands it over.
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["GGUF and no more"], "dropped.gguf"));
      document.querySelector("#error").textContent = "";
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.waitForFunction(() => /dropped\.gguf.*\(format\)$/.test(document.querySelector("#error").textContent));
    assert.deepEqual(problems, []);
  });
});

describe("bench", { skip, timeout: 120_000 }, () => {
  test("measures the processor, and its report is complete", async () => {
    await open("bench/?shape=tiny&device=cpu");
    await state("ready");
    const before = server.requests.length;
    await page.click("#start");
    await state("done", "failed");
    assert.equal(await page.isVisible("#error"), false, await page.innerText("#error"));
    const report = JSON.parse(await page.inputValue("#json"));
    assert.equal(report.device.kind, "cpu");
    assert.equal(report.device.threads, report.isolated ? 2 : 1);
    assert.match(report.minke, /^\d+\.\d+\.\d+$/);
    for (const rate of [report.bandwidth.gigabytesPerSecond, report.prefill.tokensPerSecond, report.start.seconds]) assert.ok(rate > 0, JSON.stringify(report));
    for (const context of [128, 4096]) {
      const { tokensPerSecond, slowest, fastest, shareOfBandwidth } = report.decode[context];
      assert.ok(slowest <= tokensPerSecond && tokensPerSecond <= fastest && shareOfBandwidth > 0, JSON.stringify(report.decode));
    }
    // The kernel's copy of weights and the counted ones differ by the padding of rows only.
    assert.ok(Math.abs(report.start.memory.weights / report.shape.bytes - 1) < 0.2, JSON.stringify(report));
    const fetched = new Set(server.requests.slice(before).map(({ path }) => path.slice(BASE.length).replace(/^minke-\w+/, "minke")));
    for (const path of fetched) assert.match(path, /^(minke\/(package\.json|worker\.js|[\w-]+\.wasm|chunk-\w+\.js)|bench\/read-worker\.js)$/, "nothing else is fetched");
    assert.ok(server.requests.every(({ method }) => method === "GET"), "nothing is sent");
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.click("#copy");
    await page.waitForFunction(() => document.querySelector("#copied").textContent === "Copied.");
    assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), report);
    await looksWell("bench");
  });

  test("noise of every shape is a model like the published one", async () => {
    await open("bench/");
    const [minke] = readdirSync(site).filter((name) => name.startsWith("minke-"));
    const got = await page.evaluate(async ([base, minke]) => {
      const [{ estimate, load }, { model: noise }, { SHAPES, size }] = await Promise.all([`${minke}/index.js`, "bench/noise.js", "bench/shapes.js"].map((path) => import(base + path)));
      const results = {};
      for (const [name, shape] of Object.entries(SHAPES)) {
        const file = noise(name, shape);
        const { downloadBytes, reasons } = await estimate(file, { device: "cpu", contextLength: 64 });
        // The shape with a layer and a few tokens computes; the whole of it would take the memory of the real one.
        const small = { ...shape, layers: 1, vocabulary: 512 };
        const model = await load(noise(name, small), { device: "cpu", cache: "none", contextLength: 64 });
        const { usage } = await model.generate(Uint32Array.from([1, 2, 3]), { temperature: 0, maxOutputTokens: 4 });
        results[name] = { ...size(shape), file: file.size, downloadBytes, architecture: model.info.architecture, counted: model.info.parameters / size(small).parameters, tokens: usage.outputTokens, reasons: reasons.map(({ code }) => code) };
        await model.unload();
      }
      return results;
    }, [`${server.origin}${BASE}`, minke]);
    // As their authors count, in billions.
    const published = { "SmolLM2-135M": 0.1345, "Qwen2.5-0.5B": 0.494, "DeepSeek-R1-Distill-Qwen-1.5B": 1.777, "Llama-3.2-3B": 3.213, "Qwen3-8B": 8.191, "Qwen3-30B-A3B": 30.53 };
    assert.deepEqual(Object.keys(got), Object.keys(published));
    for (const [name, { parameters, bytes, read, file, downloadBytes, counted, tokens, reasons }] of Object.entries(got)) {
      assert.ok(Math.abs(parameters / 1e9 / published[name] - 1) < 0.001, `${name}: ${parameters}`);
      assert.ok(read <= bytes && bytes <= downloadBytes && downloadBytes <= file && file < 1.01 * bytes, name);
      assert.deepEqual([counted, tokens], [1, 4], name);
      assert.ok(reasons.every((code) => code === "memory"), `${name}: ${reasons}`);
    }
    assert.deepEqual(problems, []);
  });

  test("reads the GPU's memory, tests its kernels, and stops", async () => {
    await open("bench/?shape=tiny&device=gpu");
    await state("ready");
    await page.click("#start");
    await page.waitForFunction(() => /passed|partly/.test(document.querySelector("#selfTest .figure").textContent), undefined, { timeout: 90_000 });
    assert.match(await page.innerText("#selfTest .figure"), /^passed \d+ ms$/);
    assert.match(await page.innerText("#bandwidth .figure"), /^[\d.]+ GB\/s$/);
    await page.click("#stop");
    await state("ready");
    assert.equal(await page.innerText("#status"), "Stopped.");
    assert.equal(await page.isVisible("#result"), false);
    assert.deepEqual(problems, []);
  });
});
