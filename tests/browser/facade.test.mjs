// Tests everything above the wasm glue in plain Node with a fake engine: sources and their faults, calls and how they
// end.

import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { WASM } from "./fake-engine.mjs";
import { buildFake } from "./lib/fake-package.mjs";
import { serve } from "./lib/server.mjs";

const SIZE = 5_300_003;
const bytes = Uint8Array.from({ length: SIZE }, (_, i) => (i * 7 + (i >> 9)) & 255);
const sum = bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 0);

let minke, server, url;

before(async () => {
  const out = await buildFake();
  minke = await import(join(out, "index.js"));
  const folder = await mkdtemp(join(tmpdir(), "minke-"));
  await writeFile(join(folder, "model.gguf"), bytes);
  await writeFile(join(folder, "empty.gguf"), "");
  server = await serve({ "/m/": folder });
  url = `http://127.0.0.1:${server.port}/m/model.gguf`;
});
after(() => server.close());
beforeEach(() => {
  server.requests.length = 0;
  server.fault = () => undefined;
});

/** The requests of a load that finds nothing: URLs and tokens. */
const requests = async (source) => {
  const seen = [];
  const fetch = async (input, init) => (seen.push([String(input), init?.headers?.Authorization]), new Response("", { status: 404 }));
  await assert.rejects(load(source, { fetch }), (e) => e.code === "network" || e.code === "format");
  return seen;
};
const load = (source = url, options = {}) => minke.load(source, { worker: false, wasm: WASM, ...options });
const failure = (code, check = () => true) => (error) => {
  assert.ok(error instanceof minke.EngineError, `${error?.stack ?? error}`);
  assert.equal(error.code, code, error.message);
  return check(error) !== false;
};

describe("sources", () => {
  test("a file is read by few ranges, whatever the reads' size", async () => {
    for (const step of [7_001, 100_000, 3_000_000, SIZE]) {
      server.requests.length = 0;
      const model = await load(url, { contextLength: step });
      assert.equal(model.info.sum, sum);
      assert.ok(server.requests.length <= 7, `${server.requests.length} requests for steps of ${step}`);
      assert.ok(server.requests.every((r) => r.range && r.headers.referer === undefined));
    }
  });

  test("an empty file has size 0", async () => {
    assert.equal((await load(url.replace("model", "empty"))).info.bytes, 0);
  });

  const faults = {
    "a server without ranges": () => ({ ignoreRange: true }),
    "a server that drops ranges half-way": ({ count }) => ({ ignoreRange: count > 1 }),
    "answers cut short": ({ count }) => (count % 2 ? { cutAfter: 300_000 } : undefined),
    "an opening answer cut short": ({ count }) => (count === 0 ? { cutAfter: 100 } : undefined),
    "a whole answer cut short": ({ count }) => ({ ignoreRange: true, ...(count === 0 ? { cutAfter: 1000 } : {}) }),
    "a 206 with other bytes": ({ count }) => (count === 2 ? { shift: 17 } : undefined),
    "500 twice": ({ count }) => (count === 1 || count === 2 ? { status: 500 } : undefined),
    "429 that names a time": ({ count }) => (count === 1 ? { status: 429, headers: { "retry-after": "0" } } : undefined),
    "a hidden Content-Range": () => ({ headers: { "content-range": "" } }),
  };
  for (const [name, fault] of Object.entries(faults)) {
    test(`${name}: the same bytes`, async () => {
      server.fault = fault;
      assert.equal((await load()).info.sum, sum);
    });
  }

  test("what stays broken is a typed error with address and status", async () => {
    for (const status of [403, 404]) {
      server.fault = () => ({ status });
      await assert.rejects(load(), failure("network", (e) => e.detail.status === status && e.message.includes(url) && !e.retryable));
    }
    await assert.rejects(load("http://127.0.0.1:9/m/model.gguf"), failure("network", (e) => e.retryable && e.detail.status === null));
  });

  test("a file that changes while it is read is read anew, one that goes on changing refused", async () => {
    server.fault = ({ count }) => (count > 1 ? { headers: { etag: '"other"' } } : undefined);
    assert.equal((await load()).info.sum, sum);
    server.fault = ({ count }) => ({ headers: { etag: `"${count}"` } });
    await assert.rejects(load(), failure("network", (e) => /changed/.test(e.message) && e.retryable));
  });

  test("a server's limit is kept: one request asks whether it is over", async () => {
    let until = 0;
    let [early, late] = [0, 0];
    server.fault = ({ count }) => {
      if (count === 2) until = performance.now() + 300;
      if (count > 2 && performance.now() < until - 20) early++;
      if (performance.now() < until) return { status: 429, headers: { ratelimit: '"api";r=0;t=6' } };
      if (count > 2 && late++ === 0) return { status: 429, headers: { "retry-after": "0" } };
      return undefined;
    };
    assert.equal((await load(url, { internal: { clockRate: 20 } })).info.sum, sum);
    assert.ok(early <= 4, `${early} requests that were under way when the limit was told`);
  });

  test("names resolve to the addresses one expects", async () => {
    const asked = async (source) => {
      const seen = await requests(source);
      return seen.find(([address]) => !/\/api\/models\//.test(address)); // the hub's record is requested first
    };
    assert.deepEqual(await asked("org/repo"), ["https://huggingface.co/org/repo/resolve/main/model.bin", undefined]);
    assert.deepEqual(await asked("org/repo/a/b.gguf"), ["https://huggingface.co/org/repo/resolve/main/a/b.gguf", undefined]);
    assert.deepEqual(await asked({ repo: "o/r", file: "x.gguf", revision: "v/1", endpoint: "https://mirror.test/hf/", token: "t" }),
      ["https://mirror.test/hf/o/r/resolve/v%2F1/x.gguf", "Bearer t"]);
    assert.deepEqual((await requests("https://host.test/models/llama")).map(([address]) => address),
      ["config.json", "", "model.bin"].map((name) => `https://host.test/models/llama${name && `/${name}`}`));
    assert.deepEqual(await asked(new URL("https://host.test/m/?sig=1")), ["https://host.test/m/model.bin?sig=1", undefined]);
    for (const source of ["", 7, null, {}, { repo: "x" }, { repo: "o/r", branch: "b" }, { files: [] }, "ftp://host/x.gguf"]) {
      await assert.rejects(load(source), failure("invalid-argument", (e) => e.detail.argument.startsWith("source")));
    }
  });

  test("what is odd in names is asked for as it is", async () => {
    const h = "https://host.test";
    const hub = "https://huggingface.co/org/repo/resolve/main";
    for (const [source, ...wanted] of [
      // URLs: invalid escapes are kept; "#" is part of a name unless a complete URL precedes it.
      [`${h}/m/100%.gguf`, `${h}/m/100%.gguf`],
      [`${h}/50%/x%20y%zz.gguf`, `${h}/50%/x%20y%zz.gguf`],
      [`${h}/m/%ff%fe.gguf`, `${h}/m/%ff%fe.gguf`],
      [`${h}/m/a#b.gguf`, `${h}/m/a%23b.gguf`],
      [`${h}/m#1/x.gguf#top`, `${h}/m%231/x.gguf`],
      [`${h}/m/x.gguf?sig=a%2Bb#top`, `${h}/m/x.gguf?sig=a%2Bb`],
      [`${h}/c#/m/`, `${h}/c%23/m/model.bin`],
      [`${h}/m/#readme`, `${h}/m/model.bin`],
      [`${h}/m/é 日本.gguf`, `${h}/m/%C3%A9%20%E6%97%A5%E6%9C%AC.gguf`],
      [new URL(`${h}/m/a#b.gguf`), `${h}/m/a%23b.gguf`],
      // Names of files.
      ["org/repo/a#b?c%20 é日.gguf", `${hub}/a%23b%3Fc%2520%20%C3%A9%E6%97%A5.gguf`],
      [{ repo: "org/repo", file: "q%/100%.GGUF" }, `${hub}/q%25/100%25.GGUF`],
      [{ repo: "org/repo", revision: "a#b%" }, "https://huggingface.co/org/repo/resolve/a%23b%25/model.bin"],
      // A file's name need not say what it is.
      ["org/repo/x.GGUF", `${hub}/x.GGUF`],
      [`${h}/x.GgUf`, `${h}/x.GgUf`],
      [`${h}/get?path=x`, `${h}/get?path=x`, `${h}/get/model.bin?path=x`],
      [`${h}/m?x#y`, `${h}/m?x%23y`, `${h}/m/model.bin?x%23y`],
    ]) {
      const seen = (await requests(source)).map(([address]) => address).filter((address) => !address.includes("/api/models/"));
      assert.deepEqual(seen, wanted, String(source.file ?? source));
    }
    const half = "\ud800";
    for (const [source, argument] of [[{ repo: "o/r", file: `${half}.gguf` }, "file"], [{ repo: "o/r", revision: half }, "revision"], [`o/r/${half}.gguf`, "file"]]) {
      await assert.rejects(load(source), failure("invalid-argument", (e) => e.detail.argument === `source.${argument}`));
    }
  });

  test("an address that does not say so may be a GGUF's", async () => {
    const gguf = Buffer.concat([Buffer.from("GGUF"), bytes.subarray(4)]);
    const body = (body) => ({ type: "application/octet-stream", body });
    Object.assign(server.mounts, { "/plain": body(gguf), "/get": body(gguf), "/other": body(bytes), "/m/model.bin": body("xyz") });
    for (const path of ["plain", "get?path=a/x", "get?file=x.gguf"]) assert.equal((await load(`${url.replace("m/model.gguf", path)}`)).info.bytes, SIZE, path);
    for (const path of ["other", "other?path=x"]) {
      await assert.rejects(load(url.replace("m/model.gguf", path)), failure("format", (e) => /model\.bin/.test(e.message)));
    }
    assert.equal((await load(url.replace("/model.gguf", ""))).info.bytes, 3);
  });

  test("a page in place of a file is told, one that a template begins like is none", async () => {
    const respond = (status, body, type, headers = {}) => (server.fault = () => ({ status, body, headers: { "content-type": type, ...headers } }));
    const html = "text/html; charset=utf-8";
    for (const [body, type] of [["<!doctype html><p>x", html], ["\ufeff \n<HTML lang=en>", html], ["", html], ["<!-- x -->", html], ["<script>", "application/xhtml+xml"], ["<!DOCTYPE HTML>", "application/octet-stream"], ["<html>", "text/plain"]]) {
      const length = Buffer.byteLength(body);
      for (const [status, headers] of [[200, {}], [200, { etag: '"1"', "content-length": length }], [206, { etag: '"1"', "content-range": `bytes 0-${length - 1}/${length}` }]]) {
        if (status === 206 && length === 0) continue;
        respond(status, body, type, headers);
        await assert.rejects(load(), failure("network", (e) => e.detail.status === status && e.message.includes(`page (${type})`) && e.message.includes(url) && !e.retryable));
      }
    }
    for (const body of ["{% for m in messages %}<html>", "<|im_start|>", "<header-of-mine>", "<htmlx>"]) {
      respond(200, body, html);
      assert.equal((await load()).info.bytes, body.length, body);
    }
  });

  test("without a secure page the reason is told", async () => {
    globalThis.isSecureContext = false;
    try {
      await assert.rejects(minke.store.download(url, { wasm: WASM }), failure("storage", (e) => /https:.*localhost/.test(e.message)));
    } finally {
      delete globalThis.isSecureContext;
    }
  });

  test("dropped files are read without any request", async () => {
    const fetch = () => assert.fail("nothing may be fetched");
    assert.equal((await load(new Blob([bytes]), { fetch })).info.sum, sum);
    const folder = await load({ files: [new File(["{}"], "config.json"), new File([bytes], "model.bin")] }, { fetch });
    assert.equal(folder.info.sum, sum);
  });
});

describe("calls", () => {
  test("two at once run in turn, and a stream's parts come in order", async () => {
    const model = await load();
    const [first, second] = await Promise.all([model.generate("a"), model.generate("b")]);
    assert.deepEqual(second.log, ["begin a", "end a", "begin b", "end b"]);
    assert.equal(first.text, "0 1 2 3 4 ");
    assert.equal(first.parts, false, "nobody reads parts of generate()");
    const generation = model.stream("c", { maxOutputTokens: 3 });
    let text = "";
    for await (const piece of generation.textStream) text += piece;
    assert.equal(text, "0 1 2 ");
    const parts = [];
    for await (const part of generation) parts.push(part.type);
    assert.deepEqual(parts, ["text-delta", "text-delta", "text-delta", "finish"]);
    assert.equal((await generation.result).parts, true);
    assert.equal(model.memory().scratch, 4);
    assert.deepEqual((await model.generate("d", { topK: 3, seed: undefined, logprobs: 2, reasoning: { maxTokens: 5 } })).options, { topK: 3, logprobs: 2, reasoning: { maxTokens: 5 } });
  });

  test("stop keeps what was generated; leaving a loop stops too", async () => {
    const model = await load();
    const generation = model.stream("a", { maxOutputTokens: 10_000 });
    for await (const part of generation) if (part.text === "3 ") generation.stop();
    const result = await generation.result;
    assert.equal(result.finishReason, "abort");
    assert.ok(result.text.startsWith("0 1 2 3 "));
    const left = model.stream("b", { maxOutputTokens: 10_000 });
    for await (const _ of left) break;
    assert.equal((await left.result).finishReason, "abort");
  });

  test("an abort rejects with exactly the reason, running or waiting, and the model stays usable", async () => {
    const model = await load();
    for (const reason of [new Error("mine"), "text", undefined, 0]) {
      const running = new AbortController();
      const waiting = new AbortController();
      const one = model.generate("a", { signal: running.signal, maxOutputTokens: 10_000 });
      const two = model.generate("b", { signal: waiting.signal });
      setTimeout(() => (waiting.abort(reason), running.abort(reason)), 10);
      await one.then(() => assert.fail(), (e) => assert.equal(e, running.signal.reason));
      await two.then(() => assert.fail(), (e) => assert.equal(e, waiting.signal.reason));
    }
    const generation = model.stream("a", { signal: AbortSignal.abort("before") });
    await assert.rejects(async () => { for await (const _ of generation); }, (e) => e === "before");
    assert.equal((await model.generate("c")).text, "0 1 2 3 4 ");
  });

  test("an aborted load rejects with the reason and asks for nothing more", async () => {
    const reason = { my: "reason" };
    const controller = new AbortController();
    await assert.rejects(load(url, { signal: controller.signal, onProgress: () => controller.abort(reason) }), (e) => e === reason);
    const pause = () => new Promise((resolve) => setTimeout(resolve, 50));
    await pause(); // pending data arrives
    const count = server.requests.length;
    await pause();
    assert.equal(server.requests.length, count);
    await assert.rejects(load(url, { signal: AbortSignal.abort(reason) }), (e) => e === reason);
  });

  test("a trap rejects everything, now and later, and a new load works", async () => {
    for (const input of ["trap", "trap later"]) {
      const model = await load();
      const other = await load();
      const calls = [model.generate(input), model.generate("b"), model.tokenizer.encode("1")];
      const ends = await Promise.allSettled(calls);
      assert.deepEqual(ends.map((e) => e.reason?.code), ["internal", "internal", undefined]);
      assert.ok(ends[0].reason.retryable);
      await assert.rejects(model.generate("c"), failure("internal"));
      await model.unload();
      assert.equal((await other.generate("d")).text, "0 1 2 3 4 ", "another model is untouched");
    }
  });

  test("engine errors keep their facts; unloading ends what is under way", async () => {
    const model = await load();
    await assert.rejects(model.generate("refuse"), failure("context-overflow", (e) => e.detail.inputTokens === 9));
    const call = model.generate("a", { maxOutputTokens: 10_000 });
    const unloaded = model.unload();
    await assert.rejects(call, failure("invalid-argument"));
    await unloaded;
    assert.deepEqual(model.memory(), { weights: 0, kv: 0, scratch: 0 });
    await assert.rejects(model.generate("b"), failure("invalid-argument"));
    await model[Symbol.asyncDispose]();
  });

  test("the tokenizer's defaults are what the types say", async () => {
    const { tokenizer } = await load();
    assert.deepEqual([...(await tokenizer.encode("12"))], [1, 1, 2]);
    assert.deepEqual([...(await tokenizer.encode("12", { addSpecialTokens: false }))], [0, 1, 2]);
    assert.equal(await tokenizer.decode(new Set([3, 4])), "3,4 false");
    assert.equal(await tokenizer.applyChatTemplate([{ role: "user", content: "x" }]), "x");
  });
});

describe("options", () => {
  test("nothing is silently ignored", async () => {
    const model = await load();
    const bad = (options, name) => assert.rejects(model.generate("x", options), failure("invalid-argument", (e) => e.detail.argument === name && e.message.includes(name)));
    const cycle = {};
    cycle.cycle = cycle;
    // What JSON can express stands in options.json, which options.test.mjs runs.
    for (const [name, value] of Object.entries({ signal: {}, templateArgs: cycle, topK: 5n, stopSequences: cycle })) await bad({ [name]: value }, name);
    for (const options of [{ integrity: [] }, { integrity: { "x": "sha256-" } }, { onProgress: 1 }, { worker: true, fetch }, { wasm: 5 }]) {
      const name = Object.keys(options).at(-1);
      await assert.rejects(load(url, options), failure("invalid-argument", (e) => e.detail.argument.startsWith(name)));
    }
    await assert.rejects(model.generate([{ role: "robot", content: "x" }]), failure("invalid-argument", (e) => e.detail.argument === "messages[0].role"));
    await assert.rejects(model.generate([{ role: "user", content: "x", prefix: true }]), failure("invalid-argument"));
    await assert.rejects(model.generate([]), failure("invalid-argument"));
    await assert.rejects(model.generate(5), failure("invalid-argument", (e) => e.detail.argument === "input"));
    await assert.rejects(model.tokenizer.applyChatTemplate([{ role: "user", content: "x" }], { tools: [] }), failure("invalid-argument", (e) => e.detail.argument === "tools"));
  });

  test("messages as clients of OpenAI's API send them", async () => {
    const model = await load();
    const said = async (message) => (await model.generate([{ role: "user", content: "?" }, message])).messages[1];
    const text = (text) => ({ type: "text", text });
    const call = { id: "c1", type: "function", function: { name: "f", arguments: "{}" } };
    const calls = [{ toolCallId: "c1", toolName: "f", input: "{}" }];
    for (const [given, expected] of [
      [{ role: "developer", content: "d", name: "n" }, { role: "developer", content: "d", name: "n" }],
      [{ role: "user", content: [text("a"), text("b")] }, { role: "user", content: "a\nb" }],
      [{ role: "user", content: [] }, { role: "user", content: "" }],
      [{ role: "assistant", content: null, refusal: null, audio: null, function_call: null, annotations: [], tool_calls: null }, { role: "assistant", content: "" }],
      [{ role: "assistant", tool_calls: [call] }, { role: "assistant", content: "", toolCalls: calls }],
      [{ role: "assistant", content: null, reasoning_content: "r", tool_calls: [{ ...call, type: undefined }] }, { role: "assistant", content: "", reasoning: "r", toolCalls: calls }],
      [{ role: "assistant", content: "x", reasoning_content: null }, { role: "assistant", content: "x" }],
      [{ role: "tool", tool_call_id: "c1", content: [text("12")] }, { role: "tool", content: "12", toolCallId: "c1" }],
    ]) {
      assert.deepEqual(await said(given), expected, JSON.stringify(given));
    }
    const refused = (message, argument, word) => assert.rejects(said(message), failure("invalid-argument", (e) => e.detail.argument === argument && e.message.includes(word)));
    await refused({ role: "user", content: [text("a"), { type: "image_url", image_url: { url: "x" } }] }, "messages[1].content[1]", '"image_url"');
    await refused({ role: "user", content: [{ type: "input_audio" }] }, "messages[1].content[0]", '"input_audio"');
    await refused({ role: "user", content: ["a"] }, "messages[1].content[0]", "expected");
    await refused({ role: "user", content: 5 }, "messages[1].content", "expected");
    await refused({ role: "user" }, "messages[1].content", "missing");
    await refused({ role: "assistant", content: null, refusal: "no" }, "messages[1].refusal", "not support");
    await refused({ role: "assistant", content: "", function_call: { name: "f" } }, "messages[1].function_call", "not support");
    await refused({ role: "assistant", content: "", tool_calls: [{ ...call, type: "custom" }] }, "messages[1].tool_calls", "function");
    const session = await model.createSession({ messages: [{ role: "developer", content: [text("d")] }] });
    assert.deepEqual(session.messages, [{ role: "developer", content: "d" }]);
  });

  test("without workers, the default says what to do", async () => {
    await assert.rejects(minke.load(url, { wasm: WASM }), failure("invalid-argument", (e) => e.detail.argument === "worker"));
    assert.equal((await minke.deviceInfo()).webgpu, false);
  });
});
