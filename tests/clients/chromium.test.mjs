// The clients in Chromium, on SmolLM2.

import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { absent, smollm } from "../browser/lib/app.mjs";
import { chromiumPath, launch } from "../browser/lib/chromium.mjs";
import { serve } from "../browser/lib/server.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const skip = chromiumPath ? absent(smollm) : "Chromium: it is not installed";
const { build } = createRequire(join(here, "../../pkg/package.json"))("esbuild");

const PAGE = `
import OpenAI from "openai";
import { load } from "minke";
import { createFetch } from "minke/openai";
import { streamText } from "ai";
import { languageModel } from "minke/ai-sdk";
import { chatModel } from "minke/langchain";
import { install } from "minke/prompt-api";
const model = await load("/smol.gguf", { device: "cpu", cache: "none" });
const client = new OpenAI({ apiKey: "local", dangerouslyAllowBrowser: true, baseURL: "http://minke.local/v1", maxRetries: 0, fetch: createFetch({ smollm: model }) });
Object.assign(window, { client, model, streamText, languageModel, chatModel, install });
document.title = "ready";
`;

let server, browser, page;

before(async () => {
  if (skip) return;
  const app = mkdtempSync(join(tmpdir(), "minke-"));
  // The package is served as it is built, but for the face that imports its client; the clients are bundled.
  const minke = { name: "minke", setup: ({ onResolve }) => onResolve({ filter: /^minke/ }, ({ path }) => path === "minke/langchain" ? undefined : ({ path: `/minke/${path.split("/")[1] ?? "index"}.js`, external: true })) };
  await build({ stdin: { contents: PAGE, resolveDir: here }, bundle: true, format: "esm", outfile: join(app, "app.js"), plugins: [minke], target: "es2022", logLevel: "warning" });
  writeFileSync(join(app, "index.html"), `<!doctype html><meta charset="utf-8"><script type="module" src="app.js"></script>`);
  writeFileSync(join(app, "worker.js"), `import { WebWorkerMLCEngineHandler } from "/minke/webllm.js"; const handler = new WebWorkerMLCEngineHandler(); self.onmessage = (message) => handler.onmessage(message);`);
  server = await serve({ "/app/": app, "/minke/": join(here, "../../pkg/dist"), "/smol.gguf": smollm });
  browser = await launch();
  page = await browser.newPage();
  page.on("pageerror", (error) => console.error("page:", error.message));
  await page.goto(`${server.origin}/app/`);
  await page.waitForFunction(() => document.title === "ready", undefined, { timeout: 60_000 });
}, { timeout: 90_000 });
after(async () => {
  await browser?.close();
  await server?.close();
});

test("chats, streams, responses and completions on SmolLM2", { skip, timeout: 120_000 }, async () => {
  const got = await page.evaluate(async () => {
    const request = { model: "smollm", messages: [{ role: "user", content: "What is the capital of France?" }], temperature: 0, max_tokens: 12, logprobs: true, top_logprobs: 2 };
    const whole = await client.chat.completions.create(request);
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    const direct = await model.generate(request.messages, { temperature: 0, maxOutputTokens: 12 });
    const response = await client.responses.create({ model: "smollm", input: "What is the capital of France?", temperature: 0, max_output_tokens: 12 });
    const next = await client.responses.create({ model: "smollm", input: "And of Italy?", previous_response_id: response.id, temperature: 0, max_output_tokens: 12 });
    const raw = await client.completions.create({ model: "smollm", prompt: "The capital of France is", temperature: 0, max_tokens: 3 });
    return { whole, streamed: streamed.choices[0].message.content, direct: direct.text, response: response.output_text, next: { text: next.output_text, usage: next.usage }, raw: raw.choices[0].text };
  });
  const { choices, usage } = got.whole;
  assert.match(got.direct, /Paris/);
  assert.deepEqual([choices[0].message.content, got.streamed, got.response], [got.direct, got.direct, got.direct]);
  assert.match(got.next.text, /Rome/);
  assert.ok(got.next.usage.input_tokens_details.cached_tokens > usage.prompt_tokens, "the first turn is in the cache");
  assert.match(got.raw, /Paris/);
  assert.equal(choices[0].logprobs.content.length, usage.completion_tokens - (choices[0].finish_reason === "stop" ? 1 : 0));
  assert.ok(choices[0].logprobs.content.every(({ logprob, top_logprobs }) => logprob <= 0 && top_logprobs.length === 2));
});

test("the AI SDK, LangChain and the Prompt API answer as the model does", { skip, timeout: 120_000 }, async () => {
  const got = await page.evaluate(async () => {
    const question = "What is the capital of France?";
    const { text: direct } = await model.generate(question, { temperature: 0, maxOutputTokens: 12 });
    const sdk = streamText({ model: languageModel(model), prompt: question, temperature: 0, maxOutputTokens: 12 });
    const chain = await chatModel(model, { temperature: 0, maxOutputTokens: 12 }).invoke(question);
    const installed = install({ model, defaults: { maxOutputTokens: 12 }, force: true });
    const session = await LanguageModel.create({ samplingMode: "most-predictable" });
    const streamed = (await Array.fromAsync(session.promptStreaming(question))).join("");
    const usage = session.contextUsage;
    const next = await session.measureContextUsage("And of Italy?");
    const italy = await session.prompt("And of Italy?");
    return { direct, sdk: await sdk.text, chain: chain.text, installed, streamed, italy, added: session.contextUsage - usage, next };
  });
  assert.match(got.direct, /Paris/);
  assert.deepEqual([got.sdk, got.chain, got.streamed, got.installed], [got.direct, got.direct, got.direct, true]);
  assert.match(got.italy, /Rome/);
  assert.ok(got.added > got.next && got.added < got.next + 20, `${got.added} tokens, ${got.next} were measured without the answer`);
});

test("WebLLM's engine, in a worker of the application", { skip, timeout: 120_000 }, async () => {
  const got = await page.evaluate(async () => {
    const { CreateWebWorkerMLCEngine, deleteModelAllInfoInCache, hasModelInCache } = await import("/minke/webllm.js");
    const reports = [];
    const worker = new Worker("worker.js", { type: "module" });
    const config = { initProgressCallback: ({ progress }) => reports.push(progress), loadOptions: { device: "cpu", threads: 1 } };
    const engine = await CreateWebWorkerMLCEngine(worker, "/smol.gguf", config, { context_window_size: 256, temperature: 0 });
    const { choices } = await engine.chat.completions.create({ messages: [{ role: "user", content: "What is the capital of France?" }], max_tokens: 12 });
    await engine.unload();
    worker.terminate();
    const before = await hasModelInCache("/smol.gguf");
    await deleteModelAllInfoInCache("/smol.gguf");
    return { text: choices[0].message.content, last: reports.at(-1), before, after: await hasModelInCache("/smol.gguf") };
  });
  assert.match(got.text, /Paris/);
  assert.deepEqual([got.last, got.before, got.after], [1, true, false]);
});

test("an aborted stream leaves the model usable, a context that is too long is refused", { skip, timeout: 120_000 }, async () => {
  const got = await page.evaluate(async () => {
    const messages = [{ role: "user", content: "Write a long story." }];
    let chunks = 0;
    for await (const _ of await client.chat.completions.create({ model: "smollm", messages, max_tokens: 400, stream: true })) if (++chunks === 5) break;
    const after = await client.chat.completions.create({ model: "smollm", messages, max_tokens: 2 });
    const words = "word ".repeat(model.info.contextLength + 10);
    const error = await client.chat.completions.create({ model: "smollm", messages: [{ role: "user", content: words }] }).catch((error) => error);
    return { chunks, tokens: after.usage.completion_tokens, status: error.status, code: error.code, param: error.param };
  });
  assert.deepEqual(got, { chunks: 5, tokens: 2, status: 400, code: "context_length_exceeded", param: "messages" });
});
