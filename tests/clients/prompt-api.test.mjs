// Tests `minke/prompt-api` on the echo model. The examples of docs/guide/prompt-api.md are among them.

import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { EngineError } from "minke";
import { install, LanguageModel, LanguageModelToolCall, LanguageModelToolError, LanguageModelToolSuccess } from "minke/prompt-api";
import { echoModel } from "minke/testing";
import { WASM } from "../browser/fake-engine.mjs";
import { buildFake } from "../browser/lib/fake-package.mjs";
import { serve } from "../browser/lib/server.mjs";

const named = (name) => (error) => error instanceof DOMException && error.name === name || assert.fail(`${error?.name}: ${error?.message}, not ${name}`);
const refused = (argument) => (error) => error instanceof EngineError && error.code === "invalid-argument" && error.detail.argument === argument;
const weather = {
  name: "weather", description: "The weather in a city",
  inputSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const toolOptions = (tool = weather) => ({
  expectedInputs: [{ type: "tool-response" }, { type: "tool-call" }], expectedOutputs: [{ type: "tool-call" }], tools: [tool],
});
const collect = async (stream) => {
  const all = [];
  for await (const part of stream) all.push(part);
  return all;
};

/** Installs an echo model whose calls are recorded. */
function recorded({ script, ...options } = {}, installed = {}) {
  const calls = [];
  const model = echoModel({ ...options, script: (call) => (calls.push(call), script?.[calls.length - 1] ?? call.text) });
  install({ model, ...installed });
  return calls;
}

afterEach(() => {
  for (const name of ["LanguageModel", "LanguageModelToolCall", "LanguageModelToolSuccess", "LanguageModelToolError"]) delete globalThis[name];
});

describe("install", () => {
  test("it puts the class on the global where there is none", async () => {
    assert.equal("LanguageModel" in globalThis, false);
    assert.equal(install({ model: echoModel() }), true);
    assert.equal(globalThis.LanguageModel, LanguageModel);
    const session = await globalThis.LanguageModel.create({ initialPrompts: [{ role: "system", content: "You are brief." }] });
    assert.equal(await session.prompt("Why is the sky blue?"), "Why is the sky blue?");
  });

  test("a browser's own stays, unless force says otherwise", () => {
    const own = (globalThis.LanguageModel = class {});
    assert.equal(install({ model: echoModel() }), false);
    assert.equal(globalThis.LanguageModel, own);
    assert.equal(install({ model: echoModel(), force: true }), true);
    assert.equal(globalThis.LanguageModel, LanguageModel);
  });

  test("options that cannot have an effect are refused", () => {
    assert.throws(() => install({ model: echoModel(), loadOptions: { contextLength: 1 } }), refused("loadOptions"));
    assert.throws(() => install({ model: "a/b", loadOptions: { signal: new AbortController().signal } }), refused("loadOptions.signal"));
    assert.throws(() => install({ model: echoModel(), defaults: { tools: {} } }), refused("defaults.tools"));
    assert.throws(() => install({ model: echoModel(), defaults: { temprature: 1 } }), refused("temprature"));
    assert.throws(() => install({ model: echoModel(), replace: true }), refused("replace"));
    assert.throws(() => install({ model: "a/b", loadOptions: { device: "tpu" } }), refused("device"));
    assert.throws(() => new LanguageModel(), TypeError);
  });

  test("defaults apply to every session", async () => {
    const calls = recorded({}, { defaults: { reasoning: "none", maxOutputTokens: 3 } });
    assert.equal(await (await LanguageModel.create()).prompt("abcdef"), "abc");
    assert.equal(calls[0].options.reasoning, "none");
  });
});

describe("availability and create", () => {
  test("what models cannot do is unavailable", async () => {
    recorded({ capabilities: { tools: false } });
    assert.equal(await LanguageModel.availability(), "available");
    assert.equal(await LanguageModel.availability({ expectedInputs: [{ type: "text", languages: ["en", "pt-BR"] }] }), "available");
    for (const options of [{ expectedInputs: [{ type: "image" }] }, { expectedOutputs: [{ type: "text", languages: ["unk"] }] }, toolOptions()]) {
      assert.equal(await LanguageModel.availability(options), "unavailable");
      await assert.rejects(LanguageModel.create(options), named("NotSupportedError"));
    }
    await assert.rejects(LanguageModel.availability({ expectedInputs: [{ type: "soup" }] }), TypeError);
    await assert.rejects(LanguageModel.create({ expectedInputs: [{ type: "text", languages: ["en-abc-invalid"] }] }), RangeError);
  });

  test("progress goes from 0 to 1, also for a model that is there", async () => {
    recorded();
    const seen = [];
    await LanguageModel.create({ monitor: (m) => m.addEventListener("downloadprogress", (e) => seen.push([e.loaded, e.total])) });
    assert.deepEqual(seen, [[0, 1], [1, 1]]);
    const error = new Error("from the monitor");
    await assert.rejects(LanguageModel.create({ monitor() { throw error; } }), (thrown) => thrown === error);
  });

  test("sampling modes and legacy options are the model's temperature and top-k", async () => {
    const calls = recorded();
    for (const options of [{ samplingMode: "most-predictable" }, { samplingMode: "balanced" }, {}, { topK: 3.5, temperature: 0.5 }, { topK: Infinity }]) {
      await (await LanguageModel.create(options)).prompt("?");
    }
    assert.deepEqual(calls.map(({ options: { temperature, topK } }) => [temperature, topK]), [[0, undefined], [undefined, undefined], [undefined, undefined], [0.5, 3], [undefined, 4294967295]]);
    assert.equal((await LanguageModel.create()).samplingMode, "balanced");
    await assert.rejects(LanguageModel.create({ samplingMode: "creative", topK: 3 }), TypeError);
    await assert.rejects(LanguageModel.create({ temperature: -1 }), RangeError);
    await assert.rejects(LanguageModel.create({ topK: 0 }), RangeError);
  });

  test("the signal of create ends the session later", async () => {
    recorded();
    const controller = new AbortController();
    const session = await LanguageModel.create({ signal: controller.signal });
    const clone = await session.clone();
    const reason = new Error("enough");
    controller.abort(reason);
    await assert.rejects(session.prompt("?"), (error) => error === reason);
    await assert.rejects(LanguageModel.create({ signal: controller.signal }), (error) => error === reason);
    assert.equal(await clone.prompt("?"), "?");
  });
});

describe("prompts", () => {
  test("turns are a conversation; append adds to it", async () => {
    const calls = recorded();
    const session = await LanguageModel.create({ initialPrompts: [{ role: "system", content: "s" }, { role: "user", content: "a" }, { role: "assistant", content: "b" }] });
    await session.append([{ role: "user", content: [{ type: "text", value: "c" }, { type: "text", value: "d" }] }]);
    assert.equal(await session.prompt("e"), "e");
    assert.deepEqual(calls[0].messages.map(({ role, content }) => [role, content]), [["system", "s"], ["user", "a"], ["assistant", "b"], ["user", "cd"], ["user", "e"]]);
  });

  test("values are converted as WebIDL does", async () => {
    recorded();
    const session = await LanguageModel.create();
    assert.equal(await session.prompt({}), "[object Object]");
    assert.equal(await session.prompt(null), "null");
    assert.equal(typeof (await session.prompt([])), "string");
    for (const message of [{ role: "user" }, { role: "tool", content: "x" }, { role: "user", content: [{ type: "text" }] }, { role: "user", content: [{ type: "text", value: {} }] }]) {
      await assert.rejects(session.prompt([message]), TypeError);
    }
    assert.throws(() => session.promptStreaming([{ role: "none", content: "" }]), TypeError);
  });

  test("what is out of place is refused", async () => {
    recorded();
    const session = await LanguageModel.create();
    const user = { role: "user", content: "u" };
    await assert.rejects(session.prompt([user, { role: "system", content: "s" }]), TypeError);
    await assert.rejects(session.prompt([{ ...user, prefix: true }]), named("SyntaxError"));
    await assert.rejects(session.prompt([{ role: "assistant", content: "a", prefix: true }, user]), named("SyntaxError"));
    await assert.rejects(session.append([user, { role: "assistant", content: "a", prefix: true }]), named("NotSupportedError"));
    await assert.rejects(session.prompt([{ role: "user", content: [{ type: "image", value: "x" }] }]), named("NotSupportedError"));
    const first = session.prompt("now");
    await assert.rejects(session.prompt([{ role: "system", content: "s" }]), TypeError);
    await first;
  });

  test("a prefix is continued", async () => {
    const calls = recorded();
    const session = await LanguageModel.create();
    await session.prompt([{ role: "user", content: "u" }, { role: "assistant", content: "So", prefix: true }]);
    assert.deepEqual(calls[0].messages.at(-1), { role: "assistant", content: "So", prefix: true });
  });

  test("streams have chunks, and reject with the signal's reason", async () => {
    recorded({ delay: 2 });
    const session = await LanguageModel.create();
    const chunks = await collect(session.promptStreaming("hello"));
    assert.ok(chunks.length > 1);
    assert.equal(chunks.join(""), "hello");
    const controller = new AbortController();
    const stream = session.promptStreaming("a long text to stream", { signal: controller.signal });
    const reason = new Error("enough");
    setTimeout(() => controller.abort(reason), 10);
    await assert.rejects(collect(stream), (error) => error === reason);
    assert.throws(() => session.promptStreaming("x", { signal: controller.signal }), (error) => error === reason);
    const usage = session.contextUsage;
    await session.promptStreaming("another long text").cancel();
    assert.equal(await session.prompt("after"), "after");
    assert.ok(session.contextUsage - usage < 30, "the cancelled prompt is not kept");
  });

  test("destroy ends calls, and properties stay", async () => {
    recorded({ delay: 2 });
    const session = await LanguageModel.create();
    const answer = session.prompt("a long text");
    session.destroy();
    await assert.rejects(answer, named("InvalidStateError"));
    for (const call of [() => session.prompt("x"), () => session.append("x"), () => session.clone(), () => session.measureContextUsage("x")]) await assert.rejects(call(), named("InvalidStateError"));
    assert.equal(typeof session.contextUsage, "number");
  });

  test("an error of the engine is the cause of an exception", async () => {
    recorded({ script: [{ error: new EngineError("device-lost", "the GPU is gone") }] });
    await assert.rejects((await LanguageModel.create()).prompt("?"), (error) => named("UnknownError")(error) && error.cause.code === "device-lost");
  });
});

describe("context", () => {
  test("measures are what calls add", async () => {
    recorded();
    const session = await LanguageModel.create();
    assert.equal(session.contextUsage, 0);
    const usage = await session.measureContextUsage("Hello");
    await session.append("Hello");
    assert.equal(session.contextUsage, usage);
    const more = await session.measureContextUsage("again");
    await session.append("again");
    assert.equal(session.contextUsage, usage + more);
  });

  test("a clone goes on by itself", async () => {
    recorded();
    const session = await LanguageModel.create();
    await session.prompt("one");
    const clone = await session.clone();
    assert.equal(clone.contextUsage, session.contextUsage);
    await clone.prompt("two");
    assert.ok(clone.contextUsage > session.contextUsage);
  });

  test("the oldest turns go, and never the initial prompts", async () => {
    const calls = recorded({ contextLength: 100 });
    const session = await LanguageModel.create({ initialPrompts: [{ role: "user", content: "initial" }, { role: "assistant", content: "kept" }] });
    let events = 0;
    session.oncontextoverflow = () => events++;
    for (const letter of "abc") await session.prompt(letter.repeat(20));
    assert.equal(events, 1);
    assert.deepEqual(calls.at(-1).messages.map(({ content }) => content[0]), ["i", "k", "b", "b", "c"]);
  });

  test("what never fits is a QuotaExceededError, and nothing is lost", async () => {
    recorded({ contextLength: 50 });
    const session = await LanguageModel.create();
    await session.prompt("kept");
    const usage = session.contextUsage;
    const requested = usage + (await session.measureContextUsage("x".repeat(60)));
    const exceeded = (error) => named("QuotaExceededError")(error) && error.requested === requested && error.quota === 50;
    await assert.rejects(session.prompt("x".repeat(60)), exceeded);
    await assert.rejects(session.append("x".repeat(60)), exceeded);
    assert.equal(session.contextUsage, usage);
    await assert.rejects(LanguageModel.create({ initialPrompts: [{ role: "system", content: "x".repeat(60) }] }), named("QuotaExceededError"));
  });
});

describe("constraints", () => {
  const schema = { type: "object", properties: { rating: { type: "number", minimum: 0, maximum: 5 } }, required: ["rating"] };

  test("a schema binds the answer, and is shown to the model", async () => {
    const calls = recorded({ script: ['{"rating":4}', '{"rating":4}'] });
    const session = await LanguageModel.create();
    const { rating } = JSON.parse(await session.prompt("Rate this from 0 to 5: the food was delicious.", { responseConstraint: schema }));
    assert.equal(rating, 4);
    assert.deepEqual(calls[0].options.responseConstraint, { json: schema });
    assert.ok(calls[0].text.endsWith(JSON.stringify(schema)));
    await session.prompt("hello", { responseConstraint: schema, omitResponseConstraintInput: true });
    assert.equal(calls[1].text, "hello");
  });

  test("so does a regular expression", async () => {
    const calls = recorded({ script: ["yes"] });
    assert.equal(await (await LanguageModel.create()).prompt("?", { responseConstraint: /yes|no/ }), "yes");
    assert.deepEqual(calls[0].options.responseConstraint, /yes|no/);
  });

  test("measures count what is shown", async () => {
    recorded();
    const session = await LanguageModel.create();
    const [with_, without] = await Promise.all([false, true].map((omitResponseConstraintInput) => session.measureContextUsage("x", { responseConstraint: schema, omitResponseConstraintInput })));
    assert.ok(with_ > without);
    assert.equal(without, await session.measureContextUsage("x"));
  });

  test("what cannot be a constraint is refused, and a cut answer is none", async () => {
    recorded({ script: ['{"rating":4}'] }, { defaults: { maxOutputTokens: 4 } });
    const session = await LanguageModel.create();
    const cycle = {};
    cycle.self = cycle;
    await assert.rejects(session.prompt("?", { responseConstraint: cycle }), named("NotSupportedError"));
    await assert.rejects(session.prompt("?", { responseConstraint: "x" }), TypeError);
    await assert.rejects(session.prompt("?", { omitResponseConstraintInput: true }), TypeError);
    await assert.rejects(session.prompt([{ role: "assistant", content: "{", prefix: true }], { responseConstraint: schema }), named("NotSupportedError"));
    await assert.rejects(session.prompt("?", { responseConstraint: schema }), named("SyntaxError"));
  });
});

describe("tools", () => {
  test("without execute, calls are the answer, and results a message", async () => {
    const calls = recorded({ script: [{ text: "Let me see.", toolCalls: [{ toolName: "weather", input: { city: "Lisbon" }, toolCallId: "1" }] }, "It is sunny."] });
    const session = await LanguageModel.create(toolOptions());
    const [text, call] = await session.prompt("The weather in Lisbon?");
    assert.deepEqual(text, { type: "text", value: "Let me see." });
    assert.ok(call.value instanceof LanguageModelToolCall);
    assert.deepEqual({ ...call.value }, { callID: "1", name: "weather", arguments: { city: "Lisbon" } });
    const { callID, name } = call.value;
    const value = new LanguageModelToolSuccess({ callID, name, result: [{ type: "text", value: "sunny" }, { type: "object", value: { degrees: 20 } }] });
    assert.equal(await session.prompt([{ role: "user", content: [{ type: "tool-response", value }] }]), "It is sunny.");
    assert.deepEqual(calls[1].messages.at(-1), { role: "tool", toolCallId: "1", name: "weather", content: 'sunny\n{"degrees":20}' });
  });

  test("calls are chunks of a stream, and may be given as history", async () => {
    const calls = recorded({ script: [{ toolCalls: [{ toolName: "weather", input: { city: "Lisbon" }, toolCallId: "1" }] }, "ok"] });
    const session = await LanguageModel.create(toolOptions());
    const [chunk] = (await collect(session.promptStreaming("?"))).filter(({ type }) => type === "tool-call");
    assert.equal(chunk.value.name, "weather");
    const other = await LanguageModel.create(toolOptions());
    await other.append([{ role: "assistant", content: [chunk] }]);
    const value = new LanguageModelToolError({ callID: "1", name: "weather", errorMessage: "no network" });
    await other.prompt([{ role: "user", content: [{ type: "tool-response", value }] }]);
    assert.deepEqual(calls[1].messages.map(({ role, content }) => [role, content]), [["assistant", ""], ["tool", "no network"]]);
  });

  test("results that are no data are refused", async () => {
    recorded();
    const session = await LanguageModel.create(toolOptions());
    const answered = (type, value) => session.prompt([{ role: "user", content: [{ type: "tool-response", value: new LanguageModelToolSuccess({ callID: "1", name: "weather", result: [{ type, value }] }) }] }]);
    for (const value of [() => {}, 1n, new Map(), undefined]) await assert.rejects(answered("text", value), named("DataError"));
    await assert.rejects(answered("image", {}), named("NotSupportedError"));
    await assert.rejects((await LanguageModel.create()).prompt([{ role: "user", content: [{ type: "tool-response", value: {} }] }]), named("NotSupportedError"));
  });

  test("calls as history are checked", async () => {
    recorded();
    const session = await LanguageModel.create(toolOptions());
    const given = (role, value) => session.prompt([{ role, content: [{ type: value instanceof LanguageModelToolCall ? "tool-call" : "tool-response", value }] }]);
    const call = (args) => new LanguageModelToolCall({ callID: "1", name: "weather", arguments: args });
    const cycle = {};
    cycle.self = cycle;
    await assert.rejects(given("assistant", call([])), named("DataError"));
    await assert.rejects(given("assistant", call(cycle)), named("DataError"));
    await assert.rejects(given("user", call({})), TypeError);
    await assert.rejects(given("assistant", new LanguageModelToolError({ callID: "1", name: "weather", errorMessage: "" })), TypeError);
    assert.deepEqual(call(undefined).arguments, {});
  });

  test("with execute, calls are run, and the model goes on", async () => {
    const calls = recorded({ script: [{ toolCalls: [{ toolName: "weather", input: { city: "Lisbon" } }, { toolName: "weather", input: { city: "Porto" } }] }, "It is sunny.", { toolCalls: [{ toolName: "weather", input: { city: "" } }] }, "I do not know."] });
    const session = await LanguageModel.create(toolOptions({
      ...weather,
      async execute({ city }) {
        if (city === "") throw new Error("no city");
        return `sunny in ${city}`;
      },
    }));
    assert.equal(await session.prompt("The weather in Lisbon and Porto?"), "It is sunny.");
    assert.deepEqual(calls[1].messages.slice(-2).map(({ role, content }) => [role, content]), [["tool", "sunny in Lisbon"], ["tool", "sunny in Porto"]]);
    assert.deepEqual((await collect(session.promptStreaming("And elsewhere?"))).join(""), "I do not know.");
    assert.match(calls[3].messages.at(-1).content, /no city/);
    const usage = session.contextUsage + (await session.measureContextUsage("And tomorrow?"));
    await session.append("And tomorrow?");
    assert.equal(session.contextUsage, usage, "measures count the tools");
  });

  test("results that exceed the context do not run tools again", async () => {
    let runs = 0;
    const calls = recorded({ contextLength: 700, script: ["ok", { text: "Let me see.", toolCalls: [{ toolName: "weather", input: { city: "Lisbon" } }] }] });
    const session = await LanguageModel.create(toolOptions({ ...weather, execute: () => (runs++, "x".repeat(600)) }));
    await session.prompt("Hello");
    const chunks = [];
    await assert.rejects(async () => { for await (const chunk of session.promptStreaming("The weather in Lisbon?")) chunks.push(chunk); }, named("QuotaExceededError"));
    assert.deepEqual([runs, chunks.join(""), calls.length], [1, "Let me see.", 2]);
    assert.equal(await session.prompt("Bye"), "Bye");
  });

  test("tools are checked", async () => {
    recorded();
    const execute = () => "";
    for (const tool of [{ ...weather, name: "" }, { ...weather, description: "" }, { ...weather, inputSchema: { type: "string" } }, { ...weather, inputSchema: null }, { ...weather, execute: 1 }]) {
      await assert.rejects(LanguageModel.create(toolOptions(tool)), TypeError);
    }
    await assert.rejects(LanguageModel.create({ tools: [weather] }), TypeError);
    await assert.rejects(LanguageModel.create({ ...toolOptions(), tools: [weather, weather] }), TypeError);
    await assert.rejects(LanguageModel.create({ ...toolOptions(), tools: [weather, { ...weather, name: "other", execute }] }), TypeError);
  });
});

describe("a model by its source, with the fake engine", () => {
  let fake, server, options;

  before(async () => {
    fake = await import(join(await buildFake(), "prompt-api.js"));
    const folder = await mkdtemp(join(tmpdir(), "minke-"));
    await writeFile(join(folder, "model.gguf"), new Uint8Array(5_300_003));
    server = await serve({ "/m/": folder });
    options = { model: `http://127.0.0.1:${server.port}/m/model.gguf`, loadOptions: { worker: false, wasm: WASM, contextLength: 500_000 } };
  });
  after(() => server.close());

  test("the first create loads it, for all that wait", async () => {
    fake.install(options);
    assert.equal(await fake.LanguageModel.availability(), "downloadable");
    const seen = [];
    const gone = new AbortController();
    const left = fake.LanguageModel.create({ signal: gone.signal, monitor: (m) => (m.ondownloadprogress = () => gone.abort(new Error("enough"))) });
    const stays = fake.LanguageModel.create({ monitor: (m) => (m.ondownloadprogress = (e) => seen.push(e.loaded)) });
    await assert.rejects(left, { message: "enough" });
    assert.equal(await fake.LanguageModel.availability(), "downloading");
    const session = await stays;
    assert.deepEqual([seen[0], seen.at(-1)], [0, 1]);
    assert.ok(seen.length > 4 && seen.every((loaded, i) => i === 0 || loaded > seen[i - 1]), seen.join());
    assert.equal(await fake.LanguageModel.availability(), "available");
    assert.ok((await session.prompt("?")).length > 0);
    const requests = server.requests.length;
    await fake.LanguageModel.create();
    assert.equal(server.requests.length, requests, "it is loaded once");
  });

  test("a load that nobody waits for is aborted, and may be begun again", async () => {
    fake.install(options);
    const controller = new AbortController();
    server.pace = 100;
    const created = fake.LanguageModel.create({ signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await assert.rejects(created, named("AbortError"));
    server.pace = undefined;
    const { length } = server.requests;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(server.requests.length, length);
    assert.equal(await fake.LanguageModel.availability(), "downloadable");
    await fake.LanguageModel.create();
  });

  test("a source that is not there is a NetworkError", async () => {
    fake.install({ ...options, model: options.model.replace("model", "none") });
    await assert.rejects(fake.LanguageModel.create(), named("NetworkError"));
  });
});
