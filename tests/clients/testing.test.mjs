// `minke/testing`: the echo model behaves as a loaded model does.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EngineError } from "minke";
import { echoModel } from "minke/testing";

const parts = async (generation) => {
  const all = [];
  for await (const part of generation) all.push(part);
  return all;
};
const joined = (all, type, field = "text") => all.filter((part) => part.type === type).map((part) => part[field]).join("");
const fails = (promise, code, argument) =>
  assert.rejects(promise, (error) => error instanceof EngineError && error.code === code && (argument === undefined || error.detail.argument === argument), `${code} ${argument}`);

const weather = { description: "The weather of a city", inputSchema: { type: "object", properties: { city: { type: "string" }, days: { type: "integer", minimum: 1 } }, required: ["city", "days"] } };

describe("answers", () => {
  test("the last user message, token by token", async () => {
    const model = echoModel();
    const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Grüße 🌊" }];
    const generation = model.stream(messages);
    const all = await parts(generation);
    assert.equal(joined(all, "text-delta"), "Grüße 🌊");
    assert.equal(all.filter((part) => part.type === "text-delta").length, 7, "a part for each character");
    const result = await generation.result;
    assert.equal(result.text, "Grüße 🌊");
    assert.equal(result.finishReason, "stop");
    assert.deepEqual(result.messages, [...messages, { role: "assistant", content: "Grüße 🌊" }]);
    assert.equal(await model.tokenizer.decode(result.ids, { skipSpecialTokens: true }), "Grüße 🌊");
    const prompt = await model.tokenizer.encodeMessages(messages, { addGenerationPrompt: true });
    assert.deepEqual([result.usage.inputTokens, result.usage.outputTokens, result.usage.cachedTokens], [prompt.length, 13, 0]);
  });

  test("a raw text again, and ids", async () => {
    const model = echoModel();
    assert.equal((await model.generate("abc", { raw: true })).text, "abc");
    assert.equal((await model.generate(await model.tokenizer.encode("abc"))).text, "abc");
  });

  test("a script: reasoning, text, calls, errors, a function", async () => {
    const call = { toolName: "weather", input: { city: "Bergen", days: 1 } };
    const model = echoModel({ script: [{ reasoning: "Hm.", text: "Let me look.", toolCalls: [call, call] }, "Rain.", { text: "So", error: new EngineError("memory", "full") }] });
    const all = await parts(model.stream("Weather?", { tools: { weather } }));
    assert.deepEqual([joined(all, "reasoning-delta"), joined(all, "text-delta")], ["Hm.", "Let me look."]);
    const calls = all.filter((part) => part.type === "tool-call");
    assert.deepEqual(calls.map(({ type, ...call }) => call), [0, 1].map((i) => ({ toolCallId: `call_0_${i}`, toolName: "weather", input: JSON.stringify(call.input) })));
    assert.equal(joined(all, "tool-input-delta", "delta"), JSON.stringify(call.input).repeat(2));
    assert.equal(all.at(-1).finishReason, "tool-calls");
    assert.equal(all.at(-1).usage.reasoningTokens, 3);
    assert.equal((await model.generate("And?")).text, "Rain.");
    await fails(model.generate("More?"), "memory");
    await fails(model.generate("Still more?"), "invalid-argument", "script");
    const seen = [];
    const scripted = echoModel({ script: async (call) => (seen.push(call), `${call.index}: ${call.text}`) });
    assert.equal((await scripted.generate("a")).text, "0: a");
    assert.equal((await scripted.generate("b", { temperature: 0 })).text, "1: b");
    assert.deepEqual(seen[1].options, { temperature: 0 });
  });

  test("a delay before each token", async () => {
    const before = performance.now();
    const { usage } = await echoModel({ delay: 5 }).generate("abcdef");
    assert.ok(performance.now() - before >= 25);
    assert.ok(usage.tokensPerSecond > 0 && usage.tokensPerSecond < 250);
  });
});

describe("options", () => {
  test("limits, stop sequences, reasoning", async () => {
    const script = Array(5).fill({ reasoning: "thinking", text: "one two three" });
    const model = echoModel({ script });
    const cut = await model.generate("?", { maxOutputTokens: 11 });
    assert.deepEqual([cut.text, cut.finishReason, cut.usage.outputTokens], ["one", "length", 11]);
    const stopped = await model.generate("?", { stopSequences: ["three", " two"] });
    assert.deepEqual([stopped.text, stopped.finishReason], ["one", "stop"]);
    assert.equal((await model.generate("?", { reasoning: "none" })).reasoning, "");
    assert.equal((await model.generate("?", { reasoning: { maxTokens: 5 } })).reasoning, "think");
    const half = await model.generate("?", { maxOutputTokens: 3 });
    assert.deepEqual([half.reasoning, half.text, half.finishReason], ["thi", "", "length"]);
  });

  test("a call that is cut", async () => {
    const model = echoModel({ script: [{ toolCalls: [{ toolName: "weather", input: { city: "Bergen", days: 1 } }] }] });
    const { toolCalls, incompleteToolCall, finishReason } = await model.generate("?", { tools: { weather }, maxOutputTokens: 8 });
    assert.deepEqual({ toolCalls, incompleteToolCall, finishReason }, { toolCalls: [], incompleteToolCall: { toolName: "weather", input: '{"city":' }, finishReason: "length" });
  });

  test("a signal and stop()", async () => {
    const model = echoModel({ delay: 2 });
    const reason = new Error("enough");
    const ended = new AbortController();
    const running = model.stream("a long answer", { signal: ended.signal });
    for await (const part of running) if (part.type === "text-delta") { ended.abort(reason); break; }
    await assert.rejects(running.result, reason);
    const stopping = model.stream("another long answer");
    for await (const part of stopping) if (part.type === "text-delta" && part.text === "t") stopping.stop();
    const { text, finishReason } = await stopping.result;
    assert.deepEqual([text, finishReason], ["anot", "abort"]);
    assert.equal((await model.generate("ok")).text, "ok");
  });

  test("log-probabilities and scores", async () => {
    const model = echoModel();
    const { logprobs, ids } = await model.generate("ab", { logprobs: 2 });
    assert.deepEqual(logprobs.map(({ id, top }) => [id, top.length]), [...ids].map((id) => [id, 2]));
    assert.deepEqual([logprobs[0].token, logprobs[0].bytes, logprobs[0].logprob], ["a", [97], -Math.LN2]);
    assert.equal((await model.generate("ab")).logprobs, undefined);
    assert.deepEqual((await model.score("abc", { raw: true })).map(({ token }) => token), ["b", "c"]);
    const logits = await model.forward(Uint32Array.of(5, 7), { rows: "all" });
    assert.deepEqual([logits.length, logits[5], logits[model.info.vocabSize + 7]], [2 * model.info.vocabSize, 1, 1]);
  });

  test("unknown and wrong options are refused", async () => {
    await fails(echoModel().generate("x", { temprature: 1 }), "invalid-argument", "temprature");
    await fails(echoModel().generate("x", { tools: { weather: {} } }), "invalid-argument", "tools.weather.inputSchema");
    assert.throws(() => echoModel({ latency: 1 }), { code: "invalid-argument" });
    await fails(echoModel({ contextLength: 10 }).generate("more than ten bytes"), "context-overflow");
  });
});

describe("tools and constraints", () => {
  test("a required call has the simplest input", async () => {
    for (const toolChoice of ["required", { toolName: "weather" }]) {
      const { toolCalls, finishReason } = await echoModel().generate("x", { tools: { weather }, toolChoice });
      assert.deepEqual([JSON.parse(toolCalls[0].input), finishReason], [{ city: "", days: 1 }, "tool-calls"]);
    }
    assert.deepEqual((await echoModel().generate("x", { tools: { weather } })).toolCalls, []);
  });

  test("calls are run, and the model goes on with their results", async () => {
    const call = { toolName: "weather", input: { city: "Bergen", days: 1 } };
    const execute = async ({ city }) => ({ city, sky: "rain" });
    const model = echoModel({ script: [{ toolCalls: [call] }, "Rain."] });
    const generation = model.stream("Weather?", { tools: { weather: { ...weather, execute } }, maxSteps: 3 });
    const all = await parts(generation);
    assert.deepEqual(all.find((part) => part.type === "tool-result").output, { city: "Bergen", sky: "rain" });
    const { text, messages, finishReason } = await generation.result;
    assert.deepEqual([text, finishReason, messages.map(({ role }) => role)], ["Rain.", "stop", ["user", "assistant", "tool", "assistant"]]);
  });

  test("a script must obey the choice", async () => {
    const script = [{ toolCalls: [{ toolName: "weather", input: {} }] }];
    await fails(echoModel({ script }).generate("x"), "invalid-argument", "script");
    await fails(echoModel({ script }).generate("x", { tools: { weather }, toolChoice: "none" }), "invalid-argument", "script");
    await fails(echoModel({ script: ["text"] }).generate("x", { tools: { weather }, toolChoice: "required" }), "invalid-argument", "script");
  });

  test("answers fit a constraint where that is easy", async () => {
    const answer = async (responseConstraint, text = "x") => (await echoModel().generate(text, { responseConstraint })).text;
    const schema = { type: "object", properties: { name: { type: "string", minLength: 2 }, tags: { type: "array", items: { enum: ["a", "b"] }, minItems: 2 }, more: { $ref: "#/$defs/n" } }, required: ["name", "tags", "more"], $defs: { n: { anyOf: [{ type: "null" }, { type: "number" }] } } };
    assert.deepEqual(JSON.parse(await answer({ json: schema })), { name: "aa", tags: ["a", "a"], more: null });
    assert.equal(await answer({ choice: ["yes", "no"] }), "yes");
    assert.equal(await answer({ choice: ["yes", "no"] }, "no"), "no");
    assert.equal(await answer(/\d+/, "42"), "42");
    await fails(answer(/\d+/, "a 42"), "constraint");
    await fails(answer({ grammar: "start: /x/" }), "constraint");
    await fails(answer({ json: { type: "string", pattern: "^x$" } }), "constraint");
    const scripted = (text) => echoModel({ script: [text] }).generate("x", { responseConstraint: { json: { type: "object" } } });
    assert.equal((await scripted('{"a":1}')).text, '{"a":1}');
    await fails(scripted("{"), "constraint");
  });
});

describe("sessions", () => {
  test("messages, reuse, clones, saved states", async () => {
    const model = echoModel();
    const session = await model.createSession({ messages: [{ role: "system", content: "Be brief." }] });
    await session.generate("one");
    const second = await session.generate("two");
    assert.ok(second.usage.cachedTokens > 0 && second.usage.cachedTokens < second.usage.inputTokens);
    assert.deepEqual(session.messages.map(({ content }) => content), ["Be brief.", "one", "one", "two", "two"]);
    assert.equal(session.contextUsage, second.usage.inputTokens + second.usage.outputTokens);
    const copy = await session.clone();
    await copy.generate("three");
    assert.equal(session.messages.length, 5);
    const restored = await model.createSession({ state: await copy.save() });
    assert.deepEqual(restored.messages, copy.messages);
    await restored.truncate(1);
    assert.equal(restored.messages.length, 1);
    session.destroy();
    await fails(session.generate("x"), "invalid-argument", "session");
    await fails(model.createSession({ state: new Blob(["other"]) }), "format");
  });

  test("the oldest turns are dropped when the context is full", async () => {
    const session = await echoModel({ contextLength: 60 }).createSession();
    const dropped = [];
    session.addEventListener("contextoverflow", (event) => dropped.push(event.detail.messages.length));
    for (let i = 0; i < 4; i++) await session.generate(`question ${i}`);
    assert.ok(dropped.length > 0 && dropped.every((count) => count === 2));
  });

  test("an unloaded model ends its calls", async () => {
    const model = echoModel({ delay: 5 });
    const running = model.generate("a long answer");
    await model.unload();
    await fails(running, "invalid-argument", "model");
    await fails(model.generate("x"), "invalid-argument", "model");
  });
});
