// Tests the built chat as an application: what it loads, that it works without a network, updates itself, and keeps its policy.

import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { HOSTILE } from "./hostile.mjs";
import { headersOf } from "../browser/lib/headers.mjs";
import { CSP } from "./lib/page.mjs";
import { answered, assert, noSmol, say, site, skip, smollm, startApp, texts } from "./lib/app.mjs";

/** Bytes of script and style, compressed, that the page loads before a model; requests until it can be used. */
const BUDGET = 120_000;
const REQUESTS = 8;

let app, visitor, page;

before(async () => {
  if (!skip) app = await startApp(noSmol ? {} : { "smol.gguf": smollm });
});
after(() => app?.close());
afterEach(async () => {
  await page?.fine();
  await visitor?.close();
  page = undefined;
});

async function open(options = {}, profile = {}) {
  visitor = await app.visitor(profile);
  page = await visitor.open(options);
  return page;
}

test("loads little before a model, and nothing from elsewhere", { skip }, async (t) => {
  const first = app.server.requests.length;
  await open({ query: "", expect: [/blocked by Playwright/] }, { serviceWorkers: "block" });
  await page.waitForSelector("#message");
  const requests = app.server.requests.slice(first).map(({ path }) => path.slice("/some/where/".length));
  const code = requests.filter((path) => /\.(js|css)$/.test(path));
  const bytes = code.reduce((sum, path) => sum + gzipSync(readFileSync(join(site, path)), { level: 9 }).length, 0);
  t.diagnostic(`${requests.length} requests; ${bytes} bytes of script and style, compressed: ${code.join(", ")}`);
  assert.ok(bytes <= BUDGET, `${bytes} bytes`);
  assert.ok(requests.length <= REQUESTS, requests.join(", "));
  assert.ok(!requests.some((path) => path.endsWith(".wasm")), "the engine waits for a model");
  assert.ok((await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => new URL(name).origin))).every((origin) => origin === app.server.origin));
});

test("its policy allows the page and the hub, and nothing inline", { skip }, async () => {
  await open({ query: "" });
  const policy = await page.getAttribute("meta[http-equiv=Content-Security-Policy]", "content");
  const directives = (text) => Object.fromEntries(text.split(";").map((part) => part.trim().split(/\s+/)).map(([name, ...sources]) => [name, sources.sort()]));
  // A frame has no directive of its own, and images no blobs: `default-src` is 'none'.
  const { "frame-src": _, ...expected } = directives(CSP);
  assert.deepEqual(directives(policy), { ...expected, "img-src": ["'self'"] });
  assert.equal(await page.locator("[style], style, script:not([src])").count(), 0);
  // Workers have no `<meta>` element: the site asks its host to send them the page's policy.
  assert.deepEqual(directives(headersOf(site, "/chat/assets/worker.js")["content-security-policy"].split(", ").at(-1)), directives(policy));
  const reached = await page.evaluate(() => fetch("https://example.org/").then(() => "reached", () => "refused"));
  assert.equal(reached, "refused");
  assert.equal(await page.evaluate(() => globalThis.violations.splice(0).length), 1);
  page.fine = () => {}; // the refusal is on the console
});

/** Waits until the service worker has the page. */
const controlled = (page) => page.waitForFunction(() => navigator.serviceWorker.controller !== null, undefined, { timeout: 60_000 });

test("works without a network, with what was stored", { skip }, async () => {
  await open({ query: "?model=echo" });
  await controlled(page);
  await say(page, "Kept for later");
  await visitor.context.setOffline(true);
  await page.locator(".bar").getByText("Offline").waitFor();
  await page.reload();
  await page.waitForSelector(".message.assistant .md p");
  assert.deepEqual(await texts(page, ".said"), ["Kept for later"]);
  await say(page, "And more: $x^2$");
  await page.waitForSelector(".md math");
  const french = await visitor.open({ query: "?model=echo&lang=fr" });
  assert.equal(await french.getAttribute("html", "lang"), "fr");
  await french.fine();
});

test("answers with a real model, and again without a network", { skip: noSmol, timeout: 240_000 }, async () => {
  await open({ query: "?model=../smol.gguf&device=cpu" });
  await say(page, "What is the capital of France?");
  assert.match((await texts(page, ".message.assistant .md")).at(-1), /Paris/);
  await controlled(page);
  await visitor.context.setOffline(true);
  await page.reload();
  await say(page, "And what is the capital of Italy?");
  assert.match((await texts(page, ".message.assistant .md")).at(-1), /\w/);
  assert.equal(await page.locator(".ending.alarm").count(), 0);
});

test("works on a page that is not secure, without what only secure ones have", { skip }, async () => {
  await open({ insecure: true });
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await say(page, "Hello");
  await page.reload();
  await page.waitForSelector(".md p");
  assert.deepEqual(await texts(page, ".md"), ["Hello"]);
  await page.goto(page.url().replace(/#.*/, "#/models"));
  await page.getByText("Browsers offer WebGPU only to pages from https:// or from localhost.").waitFor();
  page.fine = () => {}; // the hub cannot be reached from here
});

test("where nothing can be stored the page goes on without, and says so", { skip }, async () => {
  visitor = await app.visitor();
  await visitor.context.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("refused by the test", "SecurityError");
    };
  });
  page = await visitor.context.newPage();
  page.fine = () => {};
  await page.goto(`${app.server.origin}/some/where/chat/?model=echo`);
  await page.getByText("does not let the page store anything").waitFor();
  await page.getByRole("button", { name: "Go on without storing" }).press("Enter");
  await page.getByText("Nothing is stored").waitFor();
  await say(page, "Hello");
  await page.keyboard.press("Control+Shift+O");
  await page.waitForFunction(() => document.querySelector(".message") === null);
  await page.locator(".sidebar .conversation a").click();
  await page.waitForSelector(".md p");
  assert.deepEqual(await page.locator(".message.assistant .md").allTextContents(), ["Hello"]);
});

test("a new version is offered, and taken when the user wants it", { skip }, async () => {
  await open();
  await controlled(page);
  const path = join(tmpdir(), `minke-sw-${process.pid}.js`);
  writeFileSync(path, `${readFileSync(join(site, "chat/sw.js"), "utf8")}\n// the next version`);
  app.server.fault = ({ path: asked }) => (asked.endsWith("/chat/sw.js") ? { file: path } : undefined);
  await page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).update());
  await page.getByText("A new version of this page is ready.").waitFor();
  await page.fill("#message", "not lost");
  await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Reload" }).click()]);
  await page.waitForFunction(() => document.querySelector("#message")?.value === "not lost");
  app.server.fault = () => undefined;
});

test("hostile answers do nothing in the application either", { skip, timeout: 240_000 }, async () => {
  // All of them, as one conversation: each is streamed at every split in text.test.mjs.
  const answers = HOSTILE.map((one) => (typeof one === "string" ? one : one.text));
  const file = JSON.stringify({
    format: "minke-chat",
    version: 1,
    presets: [],
    conversations: [
      {
        conversation: { id: "hostile", title: answers.find((text) => text.includes("<script")) ?? "", created: 1, updated: 1, pinned: false, tags: [answers[1]], root: "root", leaf: `m${answers.length - 1}` },
        messages: answers.map((text, at) => ({ id: `m${at}`, conversation: "hostile", parent: at === 0 ? "root" : `m${at - 1}`, role: at % 2 ? "assistant" : "user", created: at + 1, text: at % 2 ? text : answers[at], ...(at % 2 && { reasoning: answers[at - 1] }) })),
      },
    ],
  });
  await open();
  await controlled(page); // it has fetched what it keeps
  const first = app.server.requests.length;
  await importText(page, file);
  await page.locator(".sidebar .conversation a").first().click();
  await page.waitForSelector(".md p");
  await page.waitForFunction((count) => document.querySelectorAll(".message").length === count, answers.length);
  await page.evaluate(async () => {
    // Everything is drawn: what is out of sight waits for it.
    for (const message of document.querySelectorAll(".message")) {
      message.scrollIntoView();
      await new Promise((done) => requestAnimationFrame(done));
    }
    for (const summary of document.querySelectorAll(".thinking summary")) summary.click();
    await new Promise((done) => setTimeout(done, 500));
  });
  const asked = app.server.requests.slice(first).map(({ path }) => path).filter((path) => !path.startsWith("/some/where/chat/assets/"));
  assert.deepEqual(asked, []);
  assert.equal(await page.locator(".md script, .md style, .md img, .md iframe, .md svg, .md object, .md [style], .md [onclick], .md form, .md input:not([type=checkbox])").count(), 0);
  assert.equal(visitor.context.pages().length, 1);
});

test("a long answer leaves the page free", { skip, timeout: 600_000 }, async (t) => {
  const length = process.env.MINKE_ALL ? 300_000 : 40_000;
  const part = (i) => `## Part ${i}\n\nSome **bold** and *slanted* text with \`code\` and [a link](https://example.org/${i}) that goes on until it is wrapped on the page.\n\n- one\n- two\n\n\`\`\`js\nconst x${i} = ${i};\n\`\`\`\n\n| a | b |\n|---|---|\n| ${i} | $x^${i}$ |\n\n`;
  await open({ query: "?model=echo&context=1000000", script: `({ text: asked }) => { if (asked === "x") return "x $y$"; const part = ${part}; let text = ""; for (let i = 0; text.length < ${length}; i++) text += part(i); return text; }` });
  await say(page, "x"); // what is loaded with the first answer is there
  await page.keyboard.press("Control+Shift+O");
  await page.waitForFunction(() => document.querySelector(".message") === null);
  await page.evaluate(() => {
    globalThis.tasks = [];
    new PerformanceObserver((list) => globalThis.tasks.push(...list.getEntries().map(({ duration }) => Math.round(duration)))).observe({ type: "longtask" });
  });
  await page.fill("#message", "Long");
  await page.press("#message", "Enter");
  await page.waitForFunction(() => document.querySelector(".message.live") === null && document.querySelector(".message.assistant"), undefined, { timeout: 560_000 });
  await page.waitForTimeout(1000);
  const tasks = (await page.evaluate(() => globalThis.tasks)).sort((a, b) => b - a);
  t.diagnostic(`${length} characters: ${tasks.length} tasks over 50 ms, the longest: ${tasks.slice(0, 5).join(", ") || "none"}`);
  // A machine that does something else beside it makes every task longer; what grows with the square of the answer is seconds.
  assert.ok((tasks[0] ?? 0) < 1000, `a task of ${tasks[0]} ms`);
});

/** Imports a file by the dialog. */
async function importText(page, text) {
  await page.getByRole("button", { name: "Export and import" }).click();
  await page.setInputFiles("dialog input[type=file]", { name: "all.json", mimeType: "application/json", buffer: Buffer.from(text) });
  await page.locator("dialog .import .button.main").click({ timeout: 120_000 });
  await page.getByText(/imported\./).waitFor({ timeout: 240_000 });
  await page.keyboard.press("Escape");
}

test("a thousand conversations are listed, found and opened at once", { skip, timeout: 600_000 }, async (t) => {
  const [many, length] = [1000, process.env.MINKE_ALL ? 100 : 10];
  const word = (n) => `w${(n * 2654435761) % 9973}`;
  const conversations = Array.from({ length: many }, (_, c) => ({
    conversation: { id: `c${c}`, title: `Conversation ${c} about ${word(c)}`, created: c, updated: c, pinned: false, tags: [], root: `r${c}`, leaf: `m${c}-${length - 1}` },
    messages: Array.from({ length }, (_, m) => ({
      id: `m${c}-${m}`, conversation: `c${c}`, parent: m === 0 ? `r${c}` : `m${c}-${m - 1}`, role: m % 2 ? "assistant" : "user", created: m,
      text: `${Array.from({ length: 30 }, (_, i) => word(c * 7919 + m * 31 + i)).join(" ")}.${m % 4 === 3 ? "\n\n- one\n- **two**\n\n```js\nlet x = 1;\n```" : ""}`,
    })),
  }));
  conversations[500].messages[5].text = "A needle in it.";
  await open();
  await importText(page, JSON.stringify({ format: "minke-chat", version: 1, presets: [], conversations }));
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll(".sidebar .conversation").length >= 50);
  /** Milliseconds from what happens to the picture of what follows, of the best of three. */
  const best = async (run) => Math.round(Math.min(await run(), await run(), await run()));
  const measure = (act, done) => page.evaluate(`(async () => {
    const began = performance.now();
    (${act})();
    while (!(${done})()) await new Promise((next) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = next; port2.postMessage(0); });
    await new Promise(requestAnimationFrame);
    return performance.now() - began;
  })()`);
  const search = (text) => `() => { const field = document.querySelector("#search"); field.value = ${JSON.stringify(text)}; field.dispatchEvent(new InputEvent("input", { bubbles: true })); }`;
  await measure(search("needle"), '() => document.querySelector(".list .hint")?.textContent.trim() === "1 conversation"'); // the index is there
  const found = await best(async () => {
    await measure(search(""), '() => document.querySelectorAll(".sidebar .conversation").length >= 50');
    return measure(search("needle"), '() => document.querySelector(".list .hint")?.textContent.trim() === "1 conversation"');
  });
  const listed = await best(async () => {
    await measure(search("needle"), '() => document.querySelector(".list .hint")?.textContent.trim() === "1 conversation"');
    return measure(search(""), '() => document.querySelectorAll(".sidebar .conversation").length >= 50');
  });
  let next = 10;
  const opened = await best(() => {
    const id = `c${many - ++next}`;
    return measure(`() => { location.hash = "#/c/${id}"; }`, `() => document.querySelector(".conversation.current a")?.hash === "#/c/${id}" && document.querySelectorAll(".message").length === ${length} && document.querySelector(".message:last-child .md p, .message .md p") !== null`);
  });
  t.diagnostic(`of ${many} conversations of ${length} messages: listed in ${listed} ms, searched in ${found} ms, opened in ${opened} ms`);
  assert.ok(listed < 100 && found < 100 && opened < 200, `listed ${listed}, found ${found}, opened ${opened}`);
});
