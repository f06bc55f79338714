// Tests sessions above the wasm glue, in plain Node with a fake engine whose context holds 30 tokens: one for each
// message and one for each character of it.

import assert from "node:assert/strict";
import { join } from "node:path";
import { before, test } from "node:test";
import { WASM } from "./fake-engine.mjs";
import { buildFake } from "./lib/fake-package.mjs";

let minke;
before(async () => {
  minke = await import(join(await buildFake(), "index.js"));
});

const load = () => minke.load(new Blob(["x"]), { worker: false, wasm: WASM });
const open = async (options) => (await load()).createSession(options);
const code = (code, check = () => true) => (error) => {
  assert.ok(error instanceof minke.EngineError, `${error?.stack ?? error}`);
  assert.equal(error.code, code, error.message);
  return check(error) !== false;
};
const user = (content) => ({ role: "user", content });
const contents = (session) => session.messages.map((m) => m.content);

test("messages grow with each turn, and the options of the session are its calls'", async () => {
  const session = await open({ messages: [{ role: "system", content: "be" }], topK: 3, maxOutputTokens: 2, seed: 7 });
  assert.deepEqual([session.contextUsage, session.contextWindow, contents(session)], [3, 30, ["be"]]);
  const result = await session.generate("hi", { seed: undefined, topK: 4 });
  assert.deepEqual(result.options, { topK: 4, maxOutputTokens: 2, seed: 7 });
  assert.deepEqual(session.messages, result.messages);
  assert.deepEqual(contents(session), ["be", "hi", "0 1 "]);
  assert.equal(session.contextUsage, 3 + 3 + 1 + 2, "what the call read, with the header of the answer, and what it generated");
  const generation = session.stream([user("ho")], { maxOutputTokens: 1 });
  let text = "";
  for await (const piece of generation.textStream) text += piece;
  assert.equal(text, "0 ");
  assert.deepEqual(contents(session), ["be", "hi", "0 1 ", "ho", "0 "]);
  assert.equal(session.contextUsage, 14 + 1 + 1);
  assert.equal(session.contextUsage + (await session.measureContextUsage("abc")), 17 + 4 + 1, "what a call with it would read");
  await session.append([user("x"), user("y")]);
  assert.deepEqual([contents(session).slice(5), session.contextUsage], [["x", "y"], 17 + 4]);
  await session.truncate(2);
  assert.deepEqual([contents(session), session.contextUsage], [["be", "hi"], 6]);
  for (const wrong of [-1, 3, 0.5, "1"]) await assert.rejects(session.truncate(wrong), code("invalid-argument", (e) => e.detail.argument === "messageCount"));
});

test("turns are counted without encoding the conversation again, and without their reasoning", async () => {
  const session = await open({ maxOutputTokens: 4, reasoning: { maxTokens: 3 } });
  await session.generate("a");
  assert.equal(session.contextUsage, 2 + 1 + 4 - 3);
  await session.append("b");
  const { log } = await session.generate("c");
  assert.ok(log.length > 0 && !log.includes("encode"), log.join());
});

test("calls of a session wait for each other", async () => {
  const session = await open({ maxOutputTokens: 1 });
  const [first, , second] = await Promise.all([session.generate("a"), session.append("b"), session.generate("c")]);
  assert.deepEqual(first.messages.map((m) => m.content), ["a", "0 "]);
  assert.deepEqual(second.messages.map((m) => m.content), ["a", "0 ", "b", "c", "0 "]);
});

test("a call that rejects leaves the messages; one that is stopped keeps what it has", async () => {
  const session = await open({ messages: [user("q")] });
  for (const reason of [new Error("mine"), "text", undefined, 0]) {
    const running = new AbortController();
    const waiting = new AbortController();
    const calls = [session.generate("a", { signal: running.signal, maxOutputTokens: 10_000 }), session.append("b", { signal: waiting.signal }), session.clone({ signal: waiting.signal })];
    setTimeout(() => (waiting.abort(reason), running.abort(reason)), 10);
    const ends = await Promise.allSettled(calls);
    assert.deepEqual(ends.map((e) => e.reason), [running.signal.reason, waiting.signal.reason, waiting.signal.reason]);
  }
  await assert.rejects(session.generate("a", { signal: AbortSignal.abort("before") }), (e) => e === "before");
  assert.deepEqual(contents(session), ["q"]);
  const generation = session.stream("a", { maxOutputTokens: 10_000 });
  for await (const part of generation) if (part.text === "3 ") generation.stop();
  assert.equal((await generation.result).finishReason, "abort");
  assert.ok(contents(session)[2].startsWith("0 1 2 3 "));
  // A call that is stopped while it waits generates nothing, and the next call runs.
  await session.truncate(0);
  const first = session.stream("a", { maxOutputTokens: 3 });
  const second = session.stream("b", { maxOutputTokens: 10_000 });
  second.stop();
  await first.result;
  assert.equal((await second.result).finishReason, "abort");
});

test("what does not fit loses its oldest turns, told of each; unless it is told not to", async () => {
  const session = await open({ messages: [{ role: "system", content: "be" }, user("first"), { role: "assistant", content: "one" }, user("second")], maxOutputTokens: 1 });
  const left = [];
  session.addEventListener("contextoverflow", (event) => left.push(event.detail.messages.map((m) => m.content)));
  await session.generate("1234567890");
  assert.deepEqual(left, [["first", "one"]]);
  assert.deepEqual(contents(session), ["be", "second", "1234567890", "0 "]);
  await session.append("12345678901234567890");
  assert.deepEqual(left.slice(1), [["second"], ["1234567890", "0 "]]);
  const before = contents(session);
  await assert.rejects(session.generate("x".repeat(28)), code("context-overflow", (e) => e.detail.inputTokens === 32));
  assert.deepEqual(contents(session), before, "what is too long by itself changes nothing");
  session.addEventListener("contextoverflow", (event) => event.preventDefault());
  await assert.rejects(session.generate("123456789"), code("context-overflow"));
  assert.deepEqual(contents(session), before);
});

test("clones and saved sessions go their own ways", async () => {
  const model = await load();
  const session = await model.createSession({ messages: [user("a")], maxOutputTokens: 1 });
  const clone = await session.clone();
  await clone.generate("b");
  assert.deepEqual([contents(session), contents(clone)], [["a"], ["a", "b", "0 "]]);
  const state = await clone.save();
  assert.ok(state instanceof Blob);
  const restored = await model.createSession({ state, maxOutputTokens: 2 });
  assert.deepEqual([contents(restored), restored.contextUsage], [contents(clone), clone.contextUsage]);
  assert.equal((await restored.generate("c")).text, "0 1 ");
  await assert.rejects(model.createSession({ state: new Blob(["nothing"]) }), code("format"));
  await assert.rejects(model.createSession({ state: new Blob(["state {}"]) }), code("format"));
  await assert.rejects(model.createSession({ state: "x" }), code("invalid-argument", (e) => e.detail.argument === "state"));
  await assert.rejects(model.createSession({ state, messages: [] }), code("invalid-argument", (e) => e.detail.argument === "messages"));
  await assert.rejects(model.createSession({ topK: -1 }), code("invalid-argument", (e) => e.detail.argument === "topK"));
  await assert.rejects(model.createSession({ nonsense: 1 }), code("invalid-argument"));
});

test("raw text and ids have sessions too, and do not mix with messages", async () => {
  const session = await open({ raw: true, maxOutputTokens: 2 });
  await session.generate("12");
  assert.equal(session.contextUsage, 3 + 2, "with the token that texts begin with");
  await session.generate(Uint32Array.of(5, 6));
  assert.deepEqual([session.contextUsage, session.messages], [9, []]);
  assert.equal(await session.measureContextUsage(Uint32Array.of(1, 2, 3)), 3);
  await assert.rejects(session.append([user("x")]), code("invalid-argument"));
  await assert.rejects(session.generate("x", { raw: false }), code("invalid-argument"));
  const chat = await open({ messages: [user("x")] });
  await assert.rejects(chat.generate(Uint32Array.of(1)), code("invalid-argument"));
  await assert.rejects(chat.append([{ role: "assistant", content: "x", prefix: true }]), code("invalid-argument"));
});

test("a destroyed session ends its calls; an unloaded or trapped model ends its sessions", async () => {
  const model = await load();
  const session = await model.createSession();
  const other = await model.createSession({ maxOutputTokens: 1 });
  const calls = [session.generate("a", { maxOutputTokens: 10_000 }), session.generate("b")];
  setTimeout(() => session.destroy(), 10);
  const ends = await Promise.allSettled(calls);
  assert.deepEqual(ends.map((e) => e.reason.code), ["invalid-argument", "invalid-argument"]);
  await assert.rejects(session.generate("c"), code("invalid-argument", (e) => e.detail.argument === "session"));
  assert.throws(() => session.destroy() ?? assert.fail("again is fine"), /again is fine/);
  assert.equal((await other.generate("d")).text, "0 ");
  await other[Symbol.asyncDispose]();
  await assert.rejects(other.save(), code("invalid-argument"));
  const last = await model.createSession();
  const call = last.generate("e", { maxOutputTokens: 10_000 });
  const unloaded = model.unload();
  await assert.rejects(call, code("invalid-argument"));
  await unloaded;
  await assert.rejects(last.append("f"), code("invalid-argument"));
  await assert.rejects(model.createSession(), code("invalid-argument"));

  const trapping = await load();
  const lost = await trapping.createSession({ raw: true });
  await assert.rejects(trapping.generate("trap"), code("internal"));
  await assert.rejects(lost.generate("1"), code("internal"));
});

test("a template that shows nothing without a question is asked again with one", async () => {
  const session = await open({ messages: [user("unshown")], maxOutputTokens: 1 });
  assert.deepEqual(contents(session), ["unshown"]);
  assert.deepEqual((await session.generate("q")).messages.map((m) => m.content), ["unshown", "q", "0 "]);
});
