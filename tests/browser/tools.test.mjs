// Tests how tools are run, above the wasm glue, in plain Node with a fake engine that calls what a user's turn names.

import assert from "node:assert/strict";
import { join } from "node:path";
import { before, test } from "node:test";
import { WASM } from "./fake-engine.mjs";
import { buildFake } from "./lib/fake-package.mjs";

let minke, model;
before(async () => {
  minke = await import(join(await buildFake(), "index.js"));
  model = await minke.load(new Blob(["x"]), { worker: false, wasm: WASM });
});

const inputSchema = { type: "object", properties: { n: { type: "integer" } } };
const tool = (execute) => ({ description: "a tool", inputSchema, ...(execute && { execute }) });
const all = async (generation) => {
  const parts = [];
  for await (const part of generation) parts.push(part);
  return parts;
};
const results = (messages) => messages.filter((m) => m.role === "tool").map(({ name, toolCallId, content }) => [name, toolCallId, content]);

test("calls of a turn run together, their results are told to the model, and usage is that of all steps", async () => {
  let running = 0, most = 0;
  const execute = async ({ n }) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 20 - n));
    running--;
    return { twice: 2 * n };
  };
  const tools = { look: tool(execute), text: tool(() => "as it is") };
  const generation = model.stream("look 1, look 2, text 3", { tools, maxSteps: 3 });
  const parts = await all(generation);
  const result = await generation.result;
  assert.equal(most, 2);
  assert.deepEqual(results(result.messages), [["look", "call_10", '{"twice":2}'], ["look", "call_11", '{"twice":4}'], ["text", "call_12", "as it is"]]);
  assert.equal(result.text, 'so: {"twice":2},{"twice":4},as it is');
  assert.deepEqual([result.finishReason, result.toolCalls, [...result.ids]], ["stop", [], [1, 7, 5, 7]]);
  assert.deepEqual(result.usage, { inputTokens: 20, cachedTokens: 2, outputTokens: 4, reasoningTokens: 0, prefillMs: 6, decodeMs: 8, timeToFirstTokenMs: 3, tokensPerSecond: 500 });
  assert.deepEqual(result.messages.map((m) => m.role), ["user", "assistant", "tool", "tool", "tool", "assistant"]);
  const kinds = parts.map((part) => part.type);
  assert.deepEqual(kinds.filter((kind) => kind === "finish").length, 1, "one end for all steps");
  assert.deepEqual(parts.filter((part) => part.type === "tool-result").map(({ toolCallId, output }) => [toolCallId, output]),
    [["call_12", "as it is"], ["call_11", { twice: 4 }], ["call_10", { twice: 2 }]], "as they come");
  assert.deepEqual(parts.at(-1), { type: "finish", finishReason: "stop", usage: result.usage });
});

test("the engine is given the tools without their functions", async () => {
  const { options } = await model.generate("hi", { tools: { look: tool(() => 1) }, toolChoice: "auto", maxSteps: 4 });
  assert.deepEqual(options, { tools: { look: { description: "a tool", inputSchema } }, toolChoice: "auto" });
});

test("a choice forces the first step only", async () => {
  const tools = { look: tool(() => 1) };
  for (const toolChoice of ["required", { toolName: "look" }]) {
    const { options } = await model.generate("look 1", { tools, maxSteps: 2, toolChoice });
    assert.equal(options.toolChoice, "auto", "of the last step");
    assert.deepEqual((await model.generate("look 1", { tools, toolChoice })).toolCalls.length, 1);
    assert.deepEqual((await model.generate("x", { tools, toolChoice })).options.toolChoice, toolChoice);
  }
});

test("what a tool throws, an unknown name and an output without JSON are errors that the model is told", async () => {
  const fails = tool(() => {
    throw new Error("no such place");
  });
  const generation = model.stream("fails 1, unknown 2, odd 3, nothing 4", { tools: { fails, odd: tool(() => 1n), nothing: tool(() => {}) }, maxSteps: 2 });
  const parts = await all(generation);
  const { messages, text } = await generation.result;
  const contents = results(messages).map(([, , content]) => content);
  assert.deepEqual([contents[0], contents[1], contents[3]], ["Error: no such place", 'Error: there is no tool named "unknown"', "null"]);
  assert.match(contents[2], /^Error: .*BigInt/);
  assert.ok(text.includes("no such place"), "the model goes on");
  const shown = parts.filter((part) => part.type === "tool-result");
  assert.deepEqual(shown.find((part) => part.toolName === "fails"), { type: "tool-result", toolCallId: "call_10", toolName: "fails", output: "no such place", isError: true });
  assert.deepEqual(shown.find((part) => part.toolName === "nothing"), { type: "tool-result", toolCallId: "call_13", toolName: "nothing", output: undefined });
});

test("by default calls are run, but not answered; without execute they are the caller's", async () => {
  const once = await model.generate("look 1", { tools: { look: tool(() => 5) } });
  assert.deepEqual([once.finishReason, results(once.messages), once.toolCalls.length], ["tool-calls", [["look", "call_10", "5"]], 1]);
  const none = await model.generate("look 1", { tools: { look: tool() }, maxSteps: 5 });
  assert.deepEqual([none.finishReason, results(none.messages), none.toolCalls.length], ["tool-calls", [], 1]);
  // Of two calls one is run here; the generation waits for the result of the other.
  const half = await model.generate("look 1, mine 2", { tools: { look: tool(() => 5), mine: tool() }, maxSteps: 5 });
  assert.deepEqual([half.finishReason, results(half.messages)], ["tool-calls", [["look", "call_10", "5"]]]);
});

test("an abort reaches the tools and rejects; stop ends with what there is", async () => {
  const abort = new AbortController();
  let seen;
  const waits = tool((_, { signal, toolCallId }) => {
    seen = { signal, toolCallId };
    return new Promise(() => {});
  });
  const pending = model.generate("waits 1", { tools: { waits }, maxSteps: 2, signal: abort.signal });
  while (seen === undefined) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.deepEqual([seen.toolCallId, seen.signal.aborted], ["call_10", false]);
  abort.abort("enough");
  await assert.rejects(pending, (reason) => reason === "enough");
  assert.ok(seen.signal.aborted);
  seen = undefined;
  const generation = model.stream("waits 1", { tools: { waits }, maxSteps: 2 });
  while (seen === undefined) await new Promise((resolve) => setTimeout(resolve, 2));
  generation.stop();
  const { finishReason, toolCalls, messages } = await generation.result;
  assert.deepEqual([finishReason, toolCalls.length, results(messages)], ["abort", 1, []]);
  assert.ok(seen.signal.aborted);
});

test("sessions keep the turns of all steps, and take results as turns", async () => {
  const session = await model.createSession({ tools: { look: tool(({ n }) => n + 1) }, maxSteps: 2 });
  const { text } = await session.generate("look 1");
  assert.equal(text, "so: 2");
  assert.deepEqual(session.messages.map((m) => m.role), ["user", "assistant", "tool", "assistant"]);
  assert.equal(session.contextUsage, 12, "of the last step");
  const mine = await session.generate("look 5", { tools: { look: tool() } });
  assert.deepEqual([mine.finishReason, session.messages.length], ["tool-calls", 6]);
  const answered = await session.generate([{ role: "tool", toolCallId: mine.toolCalls[0].toolCallId, content: "six" }]);
  assert.deepEqual([answered.text, session.messages.length], ["so: six", 8]);
  // A call that fails in a later step leaves the session as it was.
  const abort = new AbortController();
  const waits = tool(() => {
    abort.abort("enough");
    return new Promise(() => {});
  });
  await assert.rejects(session.generate("look 1", { tools: { look: waits }, signal: abort.signal }), (reason) => reason === "enough");
  assert.equal(session.messages.length, 8);
});

test("what is not a tool is refused", async () => {
  const refused = (options, argument) => assert.rejects(model.generate("x", options), (e) => e.code === "invalid-argument" && e.detail.argument === argument);
  await refused({ tools: { look: { inputSchema: { "~standard": {} } } } }, "tools.look.inputSchema");
  await refused({ tools: { look: { inputSchema, execute: "x" } } }, "tools.look.execute");
  await refused({ tools: { look: 5 } }, "tools.look");
  await refused({ tools: {}, toolChoice: "required" }, "toolChoice");
});
