// Tests the chat's models in headless Chromium, below a sub-path and under the page's own policy: what is shown before a download, downloads
// and their faults, loading, what is stored, other tabs. Models run on the processor.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { absent, golden, root, shots, site, smollm } from "../browser/lib/app.mjs";
import { chromiumPath, launch } from "../browser/lib/chromium.mjs";
import { headersOf } from "../browser/lib/headers.mjs";
import { serve } from "../browser/lib/server.mjs";
import { importBundle } from "./lib/page.mjs";

const dist = join(site, "chat");
const llama = join(golden, "models/llama");
const skip = chromiumPath ? absent(dist) || absent(llama) : "Chromium: it is not installed";
const noSmol = skip || absent(smollm);
const BASE = "/some/where/chat/";
const axe = readFileSync(createRequire(join(root, "tests/browser/package.json")).resolve("axe-core/axe.min.js"), "utf8");

const CATALOGUE = {
  version: 1,
  models: [
    { name: "Smol", url: "../models/smol.gguf", bytes: 98362432, licence: "Apache-2.0", capabilities: ["languages"], about: { en: "A small one.", fr: "Un petit." } },
    { name: "Llama", url: "../models/llama/", about: { en: "A tiny one." } },
    { name: "Strange", url: "../models/strange/", about: { en: "Of no known kind." } },
    { name: "Gone", url: "../models/gone.gguf", bytes: 4e9 },
  ],
};
const json = (value) => ({ type: "application/json", body: JSON.stringify(value) });

let server, browser, context, problems;

before(async () => {
  if (skip) return;
  mkdirSync(shots, { recursive: true });
  browser = await launch();
});
after(() => browser?.close());
afterEach(async () => {
  await context?.close();
  await server?.close();
  context = server = undefined;
});

/** Serves the page with a catalogue of its own, in a profile of its own. */
async function begin({ catalogue = CATALOGUE, ...options } = {}) {
  const config = JSON.parse(readFileSync(join(llama, "config.json"), "utf8"));
  server = await serve({
    [BASE]: dist,
    [`${BASE}catalogue.json`]: json(catalogue),
    "/some/where/models/llama/": llama,
    "/some/where/models/strange/": llama,
    "/some/where/models/strange/config.json": json({ ...config, model_type: "strange", architectures: ["StrangeForCausalLM"] }),
    ...(existsSync(smollm) && { "/some/where/models/smol.gguf": smollm }),
  });
  server.headers = headersOf(site, "/chat/assets/index.js"); // those of the worker, too
  context = await browser.newContext({ viewport: { width: 1000, height: 900 }, colorScheme: "light", locale: "en-GB", serviceWorkers: "block", ...options });
  await context.addInitScript(() => {
    window.refused = [];
    addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) => window.refused.push(`${effectiveDirective} ${blockedURI}`));
  });
  problems = [];
}

async function open(path = "?device=cpu#/models") {
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", ({ message }) => problems.push(message));
  await page.goto(`${server.origin}${BASE}${path}`);
  await page.waitForSelector("main");
  return page;
}

const button = (within, name) => within.getByRole("button", { name, exact: true });
const card = (page, name) => page.locator("li.model", { has: page.getByRole("heading", { name, exact: true }) });
const focused = (page) => page.evaluate(() => document.activeElement?.id);

/** No error, and no violation of the policy. */
async function isCalm(page) {
  assert.deepEqual(await page.evaluate(() => window.refused), []);
  assert.deepEqual(problems, []);
}

/** No violation of the policy, no error, nothing for axe to say, and nothing wider than the window. */
async function looksWell(page, name) {
  await page.screenshot({ path: join(shots, `chat-models-${name}.png`) });
  const found = await page.evaluate(`${axe}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html).join(" ")))`);
  assert.deepEqual(found, [], name);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than the window");
  await isCalm(page);
}

describe("the catalogue", () => {
  test("the site's own is valid, in both languages, and what is wrong with one is said", async () => {
    const { readCatalogue } = await importBundle("catalogue", 'export { readCatalogue } from "./models/catalogue";');
    const own = readFileSync(join(root, "www/chat/public/catalogue.json"), "utf8");
    const choices = readCatalogue(own);
    assert.ok(choices.length >= 15);
    for (const { id, source, entry } of choices) {
      assert.ok(entry.about.en && entry.about.fr && entry.licence && entry.bytes > 1e8, id);
      assert.equal(id, source.file ? `${source.repo}/${source.file}` : source.repo);
    }
    const wrong = (change) => {
      const all = JSON.parse(own);
      change(all);
      try {
        readCatalogue(JSON.stringify(all));
      } catch ({ where, expected }) {
        return `${where}: ${expected}`;
      }
    };
    assert.equal(wrong((all) => (all.version = 2)), "version: 1");
    assert.equal(wrong((all) => delete all.models[1].name), "models[1].name: a text");
    assert.equal(wrong((all) => (all.models[2].bytes = "2 GB")), "models[2].bytes: a number of bytes");
    assert.equal(wrong((all) => (all.models[0].repo = "somewhere")), 'models[0].repo: "org/repo"');
    assert.equal(wrong((all) => (all.models[0].licenze = "MIT")), "models[0].licenze: no such field");
    assert.equal(wrong((all) => all.models.push(all.models[3])), `models[19]: no second entry for ${choices[3].id}`);
    assert.match(wrong((all) => (all.models[0].capabilities = ["magic"])), /^models\[0\].capabilities: some of reasoning/);
    assert.equal(wrong((all) => (all.models[0].integrity = { a: "sha256-x" })), "models[0].integrity: digests by file: sha256-…");
    assert.throws(() => readCatalogue("{"), { where: "the file" });
  });

  test("addresses of the hub's pages are understood", async () => {
    const { ofText } = await importBundle("choice", 'globalThis.document = { baseURI: "https://site.example/chat/" }; export { ofText } from "./models/choice";');
    const id = (text) => ofText(text).id;
    assert.equal(id(" org/repo "), "org/repo");
    assert.equal(id("org/repo/sub/x.gguf"), "org/repo/sub/x.gguf");
    assert.equal(id("https://huggingface.co/org/repo"), "org/repo");
    assert.equal(id("https://huggingface.co/org/repo/tree/main"), "org/repo");
    assert.equal(id("https://huggingface.co/org/repo/blob/main/a%20b.gguf?download=true"), "org/repo/a b.gguf");
    assert.deepEqual(ofText("https://huggingface.co/org/repo/blob/v2/x.gguf").source, { repo: "org/repo", file: "x.gguf", revision: "v2" });
    assert.equal(id("../x.gguf"), "https://site.example/x.gguf");
    assert.equal(ofText("https://other.example/a/model.gguf?sign=1").name, "model");
    assert.throws(() => id("https://"), { code: "invalid-argument" });
  });

  test("an address that the page's policy refuses is refused before anything is asked of it", { skip: noSmol }, async () => {
    await begin();
    const page = await open();
    for (const [address, reached] of [["https://other.example/x.gguf", false], ["https://huggingface.co.evil.example/x.gguf", false], ["http://huggingface.co/x.gguf", false], ["https://cdn.hf.co/x.gguf", true]]) {
      await page.getByLabel("Repository or address").fill(address);
      await page.getByRole("button", { name: "Look whether it fits" }).press("Enter");
      const refusal = page.getByRole("alert").getByText("may reach its own site and the hub only");
      if (reached) await refusal.waitFor({ state: "detached" });
      else await refusal.waitFor();
    }
    await isCalm(page);
  });

  test("each model is shown with what it costs here, before a byte of its weights", { skip: noSmol }, async () => {
    await begin();
    const page = await open();
    await card(page, "Smol").getByText("Fits", { exact: true }).waitFor();
    assert.match(await card(page, "Smol").innerText(), /96.6 MB to download · \d+ MB of memory · reads 8,192 tokens · many languages · licence: Apache-2.0/);
    await card(page, "Strange").getByText("Will not run here").waitFor();
    assert.match(await card(page, "Strange").innerText(), /kind that is not supported/);
    await page.getByLabel("Only those that run on this device").check();
    await card(page, "Strange").waitFor({ state: "detached" });
    await page.getByLabel("Only those that run on this device").uncheck();
    await card(page, "Gone").scrollIntoViewIfNeeded();
    await card(page, "Gone").getByText("Unknown").waitFor();
    assert.match(await card(page, "Gone").innerText(), /4 GB to download[^]*There is no such file/);
    const sent = server.requests.filter(({ path }) => path.endsWith("smol.gguf")).reduce((sum, { sent }) => sum + sent, 0);
    // Its header, and what was in flight when the engine had that.
    assert.ok(sent < 25e6, `${sent} bytes of the file were sent`);
    await looksWell(page, "wide");
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
    await looksWell(page, "narrow");
    // What is known is not asked for again.
    const from = server.requests.length;
    await page.reload();
    await card(page, "Smol").getByText("Fits", { exact: true }).waitFor();
    assert.ok(!server.requests.slice(from).some(({ path }) => path.endsWith("smol.gguf")));
    await page.goto("about:blank");
    await page.goto(`${server.origin}${BASE}?device=cpu&lang=fr#/models`);
    await card(page, "Smol").getByText("Convient", { exact: true }).waitFor();
    assert.match(await card(page, "Smol").innerText(), /Un petit\.[^]*à télécharger/);
  });

  test("what its owner edits reaches those who have the page offline", { skip }, async () => {
    await begin({ serviceWorkers: "allow" });
    const page = await open();
    await card(page, "Llama").waitFor();
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller ?? new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve))));
    server.mounts[`${BASE}catalogue.json`] = json({ version: 1, models: [{ name: "New", url: "../models/llama/" }] });
    await page.reload();
    await card(page, "Llama").waitFor();
    await page.waitForTimeout(300);
    await page.reload();
    await card(page, "New").waitFor();
    await context.setOffline(true);
    await page.reload();
    await card(page, "New").waitFor();
    await isCalm(page);
  });

  test("a list that is wrong is named, and another model can be loaded all the same", { skip }, async () => {
    await begin({ catalogue: { version: 1, models: [{ name: "Nothing" }] } });
    const page = await open();
    await page.getByText("models[0]: expected either repo or url").waitFor();
    await page.getByLabel("Repository or address").fill("../models/llama/");
    await page.keyboard.press("Enter");
    await card(page, "llama").getByText("Fits", { exact: true }).waitFor();
    await button(card(page, "llama"), "Load: llama").click();
    await page.waitForSelector("#message:focus");
  });
});

test("who saves data is not sent headers unasked", { skip }, async () => {
  await begin();
  await context.addInitScript(() => Object.defineProperty(navigator, "connection", { value: { saveData: true } }));
  const page = await open();
  await button(card(page, "Llama"), "Look whether it fits: Llama").waitFor();
  assert.ok(!server.requests.some(({ path }) => path.includes("/models/")));
  await button(card(page, "Llama"), "Look whether it fits: Llama").click();
  await card(page, "Llama").getByText("Fits", { exact: true }).waitFor();
});

test("speed and time left count what comes over the network, and nothing else", async () => {
  const { Rate } = await importBundle("rate", 'export { Rate } from "./models/rate";');
  const rate = new Rate();
  const take = (loaded, time, fromCache = false, stage = "download") => rate.take({ stage, loaded, total: 100e6, fromCache }, time);
  assert.deepEqual(take(50e6, 0, true), {}, "half of it was here already");
  assert.deepEqual(take(51e6, 500), {}, "too early to tell");
  assert.deepEqual(take(60e6, 1000), { speed: 10e6, left: 4000 });
  assert.deepEqual(take(62e6, 11_000).speed, 200e3, "only the last seconds count");
  assert.deepEqual(take(1, 12_000, false, "compile"), {});
  assert.equal(rate.fetched, 12e6);
});

test("a model of the hub, from its list to the message field; one that is not for everyone says so", { skip }, async () => {
  await begin();
  delete server.mounts[`${BASE}catalogue.json`];
  const asked = [];
  const shared = { "access-control-allow-origin": "*", "access-control-expose-headers": "etag, content-range" };
  await context.route("https://huggingface.co/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    asked.push([pathname, await route.request().headerValue("referer")]);
    const answer = (status, body = "", headers = {}) => route.fulfill({ status, headers: { ...shared, ...headers }, body });
    if (pathname.startsWith("/api/models/")) return answer(200, "[]", { "content-type": "application/json" });
    if (pathname.includes("gemma")) return answer(401);
    const [, name] = /^\/HuggingFaceTB\/SmolLM2-135M-Instruct\/resolve\/main\/(.*)$/.exec(pathname) ?? [];
    if (!name || !existsSync(join(llama, name))) return answer(404);
    const all = readFileSync(join(llama, name));
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(await route.request().headerValue("range"));
    const part = all.subarray(Number(start), Number(end) + 1);
    return answer(206, part, { etag: `"${all.length}"`, "content-range": `bytes ${start}-${Number(start) + part.length - 1}/${all.length}` });
  });
  const page = await open();
  await card(page, "Gemma 3 1B").scrollIntoViewIfNeeded();
  await card(page, "Gemma 3 1B").getByText(/The hub does not give this file to everyone/).waitFor();
  await card(page, "SmolLM2 135M").scrollIntoViewIfNeeded();
  await card(page, "SmolLM2 135M").getByText("Fits", { exact: true }).waitFor();
  await button(card(page, "SmolLM2 135M"), "Load: SmolLM2 135M").click();
  await page.waitForSelector("#message:focus");
  assert.ok(asked.some(([path]) => path === "/api/models/HuggingFaceTB/SmolLM2-135M-Instruct/tree/main"));
  assert.ok(asked.every(([, referrer]) => referrer === null));
  await isCalm(page);
});

describe("loading", () => {
  test("by keyboard, to the message field; the conversation stays; the next time it takes one click", { skip }, async () => {
    await begin();
    const page = await open("?device=cpu");
    await page.locator("#message").fill("What I had begun");
    await page.keyboard.press("Control+Shift+M");
    await page.waitForSelector("h1:focus");
    await button(card(page, "Llama"), "Load: Llama").focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("#message:focus");
    assert.equal(await page.locator("#message").inputValue(), "What I had begun");
    await page.getByRole("button", { name: "Model: Llama, on the processor" }).waitFor();
    await page.keyboard.press("Control+Shift+M");
    await page.getByRole("heading", { name: "Loaded" }).waitFor();
    await looksWell(page, "loaded");
    await page.reload();
    await button(page.locator(".bar"), "Load Llama").click();
    await page.getByRole("button", { name: "Model: Llama, on the processor" }).waitFor();
    // And by itself, if that is switched on.
    await page.keyboard.press("Control+Shift+M");
    await page.getByLabel("Load the last model when this page opens").check();
    await page.waitForTimeout(300);
    await page.goto(`${server.origin}${BASE}`);
    await page.getByRole("button", { name: "Model: Llama, on the processor" }).waitFor();
    await isCalm(page);
  });

  test("cancelled, it leaves no model; what is wrong is said, with a button that helps", { skip: noSmol }, async () => {
    await begin();
    server.pace = 16_000;
    const page = await open();
    await button(card(page, "Smol"), "Load: Smol").click();
    await page.locator(".present").getByText("Downloading").waitFor();
    await page.locator(".present").getByText(/of 96.6 MB/).waitFor();
    await page.screenshot({ path: join(shots, "chat-models-loading.png") });
    await button(page.locator(".present"), "Cancel").click();
    await button(page.locator(".bar"), "Choose a model").waitFor();
    server.pace = undefined;
    await button(card(page, "Strange"), "Load anyway: Strange").click();
    const alarm = page.locator(".card.alarm");
    await alarm.getByText("The model is of a kind that is not supported.").waitFor();
    await looksWell(page, "refused");
    await button(alarm, "Choose another model").click();
    assert.equal(await focused(page), "models-choose");
    await button(card(page, "Gone"), "Load: Gone").click();
    await alarm.getByText("There is no such file.").waitFor();
    await button(alarm, "Check the address").click();
    assert.equal(await focused(page), "models-own");
    // A connection that is cut: what has arrived is kept, and is not fetched again.
    server.fault = ({ path }) => (path.endsWith("smol.gguf") ? { drop: true } : undefined);
    await button(card(page, "Llama"), "Load: Llama").click();
    await page.waitForSelector("#message:focus");
  });

  test("the user's own files, without a request for them", { skip }, async () => {
    await begin({ catalogue: { version: 1, models: [] } });
    const page = await open();
    await page.getByRole("heading", { name: "Another model" }).waitFor();
    const [input] = await page.locator("input[type=file]").all();
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["no model at all"], "notes.gguf"));
      const tell = (type) => document.querySelector(".models-page").dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
      tell("dragover");
      tell("drop");
    });
    await card(page, "notes").getByText("Whether it fits is not known.").waitFor();
    await button(card(page, "notes"), "Load: notes").click();
    await page.getByText("These files are no model that can be read.").first().waitFor();
    await button(page.locator(".card.alarm"), "Choose other files").waitFor();
    const names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"];
    const weights = Object.values(JSON.parse(readFileSync(join(llama, "model.safetensors.index.json"), "utf8")).weight_map);
    const files = [...new Set([...names, ...weights])].map((name) => join(llama, name)).filter(existsSync);
    await input.setInputFiles(files);
    await card(page, `${files.length} files`).getByText("Fits", { exact: true }).waitFor();
    const from = server.requests.length;
    await button(card(page, `${files.length} files`), `Load: ${files.length} files`).click();
    await page.waitForSelector("#message:focus");
    assert.ok(!server.requests.slice(from).some(({ path }) => path.includes("/models/")));
    await isCalm(page);
  });

  test("a model that is lost is loaded again with one click", { skip }, async () => {
    await begin();
    const page = await open("?device=cpu&model=../models/llama/");
    await page.getByRole("button", { name: "Model: Llama, on the processor" }).waitFor();
    // A command that the processor's last worker cannot read ends it, and with it the model.
    await page.workers().at(-1).evaluate(() => {
      const data = { minkeWorker: 1, kind: "command", command: new Uint8Array([255, 255]) };
      self.dispatchEvent(new MessageEvent("message", { data }));
    });
    await page.getByText("The model was lost").waitFor();
    await button(page.locator(".bar"), "No model: see why").click();
    await button(page.locator(".card.alarm"), "Load the model again").waitFor();
    await isCalm(page);
    await button(page.locator(".notices"), "Load the model again").click();
    await page.waitForSelector("#message:focus");
  });

  test("another tab's model is named, and freed if the user wants that", { skip }, async () => {
    await begin();
    const first = await open("?model=echo");
    await first.getByRole("button", { name: "Model: echo" }).waitFor();
    const page = await open();
    await page.getByText("Another tab has a model loaded: echo.").waitFor();
    await button(card(page, "Llama"), "Load: Llama").click();
    const dialog = page.getByRole("dialog", { name: "A model is loaded in another tab" });
    await dialog.waitFor();
    await looksWell(page, "other-tab");
    await page.keyboard.press("Escape");
    await button(card(page, "Llama"), "Load: Llama").click();
    await button(dialog, "Free it there and load here").click();
    await page.waitForSelector("#message:focus");
    await first.getByText("Another tab took the memory of the model.").waitFor();
    await button(first.locator(".bar"), "Choose a model").waitFor();
  });
});

describe("downloads and storage", { skip: noSmol }, () => {
  test("pause, reload, resume, cancel, delete", async () => {
    await begin();
    server.pace = 12_000;
    const page = await open();
    const row = page.locator("li.download", { hasText: "Smol" });
    await button(card(page, "Smol").last(), "Download: Smol").click();
    await row.getByText(/(\d\d|[5-9])(\.\d)? MB of 98.4 MB/).waitFor();
    const other = await open();
    await button(card(other, "Smol"), "Load: Smol").click();
    await other.getByText("Another tab is downloading this model.").waitFor();
    await button(other.locator(".present"), "Cancel").click();
    await other.close();
    await button(row, "Pause: Smol").click();
    await row.getByText("Paused", { exact: true }).waitFor();
    await looksWell(page, "paused");
    // Others need not wait for it.
    await button(card(page, "Llama"), "Download: Llama").click();
    await page.locator("li.download", { hasText: "Llama" }).getByText("Complete and checked").waitFor();
    const from = server.requests.length;
    await page.reload();
    await page.getByText("The download of Smol is not complete.").waitFor();
    assert.ok(!server.requests.slice(from).some(({ path }) => path.endsWith("smol.gguf")));
    server.pace = undefined;
    await button(row, "Resume: Smol").click();
    await row.getByText("Complete and checked").waitFor();
    const sent = server.requests.slice(from).filter(({ path }) => path.endsWith("smol.gguf")).reduce((sum, { sent }) => sum + sent, 0);
    assert.ok(sent < 94e6, `${sent} bytes were sent: what had arrived was fetched again`);
    await button(row, "Dismiss: Smol").click();
    const stored = page.locator(".stored li", { hasText: "smol.gguf" });
    await stored.getByText(/98.4 MB/).waitFor();
    await page.getByRole("heading", { name: "Storage" }).scrollIntoViewIfNeeded();
    await isCalm(page);
    await button(stored, "Delete Smol?").click();
    await button(page.getByRole("dialog"), "Delete").click();
    await stored.waitFor({ state: "detached" });
    // Cancelling deletes what has arrived.
    server.pace = 12_000;
    await button(card(page, "Smol").last(), "Download: Smol").click();
    await row.getByText(/\d MB of 98.4 MB/).waitFor();
    await button(row, "Cancel and delete: Smol").click();
    await button(page.getByRole("dialog"), "Cancel and delete").click();
    await row.waitFor({ state: "detached" });
    await page.waitForFunction(async () => (await (await (await navigator.storage.getDirectory()).getDirectoryHandle("minke")).keys().next()).done || document.querySelectorAll(".stored li").length === 1);
    assert.deepEqual(problems, []);
  });

  test("a full storage asks what may go; what has arrived is kept", async () => {
    await begin();
    const page = await open();
    await button(card(page, "Llama"), "Download: Llama").click();
    await page.locator("li.download", { hasText: "Llama" }).getByText("Complete and checked").waitFor();
    const session = await context.newCDPSession(page);
    await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize: 12e6 });
    await button(card(page, "Smol"), "Download: Smol").click();
    const dialog = page.getByRole("dialog", { name: "The storage is full" });
    await dialog.waitFor();
    await dialog.getByRole("checkbox", { name: /Llama/ }).check();
    await looksWell(page, "full");
    assert.ok(await button(dialog, "Delete and go on").isDisabled(), "it would not be enough");
    await button(dialog, "Stop the download").click();
    const row = page.locator("li.download", { hasText: "Smol" });
    await row.getByText("The storage of this browser is not enough for the model.").waitFor();
    await button(row, "Free space").click();
    assert.equal(await focused(page), "models-storage");
    // With room, it goes on where it stopped.
    await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin });
    await button(row, "Try again").click();
    await row.getByText(/(1[2-9]|[2-9]\d)(\.\d)? MB of 98.4 MB/).waitFor();
    assert.deepEqual(problems, []);
  });
});
