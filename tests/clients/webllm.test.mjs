// `minke/webllm`: what WebLLM's examples do.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EngineError } from "minke";
import { echoModel } from "minke/testing";
import { CreateMLCEngine, hasModelInCache, MLCEngine, prebuiltAppConfig } from "minke/webllm";

const messages = [{ role: "user", content: "Hello" }];
const fails = (promise, code, argument) => assert.rejects(promise, (error) => error instanceof EngineError && error.code === code && error.detail.argument === argument, `${code} ${argument}`);

describe("chats", () => {
  test("an answer, its usage, the latest message", async () => {
    const engine = await CreateMLCEngine(echoModel());
    const reply = await engine.chat.completions.create({ messages, n: 2, temperature: 1.5, max_tokens: 256, logit_bias: { 46: -100 }, logprobs: true, top_logprobs: 2 });
    assert.deepEqual(reply.choices.map(({ message, finish_reason }) => [message.content, finish_reason]), [["Hello", "stop"], ["Hello", "stop"]]);
    assert.equal(reply.model, "echo");
    assert.equal(await engine.getMessage(), "Hello");
    assert.equal(reply.usage.completion_tokens, 12);
    for (const name of ["prefill_tokens_per_s", "decode_tokens_per_s", "e2e_latency_s", "time_to_first_token_s", "time_per_output_token_s"]) assert.ok(reply.usage.extra[name] >= 0, name);
    assert.match(await engine.runtimeStatsText(), /^prefill: [\d.]+ tokens\/sec, decoding: [\d.]+ tokens\/sec$/);
    await engine.resetChat();
    assert.equal(await engine.getMessage(), "");
  });

  test("a stream, and one that is interrupted", async () => {
    const engine = await CreateMLCEngine(echoModel());
    let text = "";
    let usage;
    for await (const chunk of await engine.chat.completions.create({ messages, stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.deepEqual([text, await engine.getMessage(), usage.completion_tokens], ["Hello", "Hello", 6]);
    const slow = await CreateMLCEngine(echoModel({ delay: 2 }));
    let finish;
    for await (const { choices } of await slow.chat.completions.create({ messages: [{ role: "user", content: "A long answer" }], stream: true })) {
      if (choices[0]?.delta.content === "l") slow.interruptGenerate();
      finish = choices[0]?.finish_reason ?? finish;
    }
    assert.deepEqual([await slow.getMessage(), finish], ["A l", "abort"]);
  });

  test("WebLLM's own fields", async () => {
    let seen;
    const engine = await CreateMLCEngine(echoModel({ script: ({ options }) => ((seen = options), "{}") }), undefined, { temperature: 0.5 });
    await engine.chatCompletion({ messages, model: null, extra_body: { enable_thinking: false }, response_format: { type: "json_object", schema: '{"type":"object"}' }, repetition_penalty: 1.1 });
    assert.deepEqual(seen, { temperature: 0.5, repetitionPenalty: 1.1, reasoning: "none", responseConstraint: { json: { type: "object" } } });
    const create = (request) => engine.chat.completions.create({ messages, ...request });
    await fails(create({ response_format: { type: "grammar", grammar: "root ::= x" } }), "feature", "response_format.grammar");
    await fails(create({ response_format: { type: "json_object", schema: "{" } }), "invalid-argument", "response_format.schema");
    await fails(create({ ignore_eos: true }), "feature", "ignore_eos");
    await fails(create({ top_p: 3 }), "invalid-argument", "topP");
    await fails(create({ top_logprobs: 3 }), "invalid-argument", "top_logprobs");
    await fails(create({ banana: 3 }), "feature", "banana");
    await fails(create({ model: "other" }), "invalid-argument", "model");
  });

  test("tools", async () => {
    const engine = await CreateMLCEngine(echoModel({ script: [{ toolCalls: [{ toolName: "f", input: { a: 1 } }] }] }));
    const { choices } = await engine.chat.completions.create({ messages, tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }], tool_choice: "auto" });
    assert.deepEqual(choices[0].message.tool_calls[0].function, { name: "f", arguments: '{"a":1}' });
  });

  test("completions", async () => {
    const engine = await CreateMLCEngine(echoModel());
    const reply = await engine.completions.create({ prompt: "ab", echo: true, max_tokens: 1 });
    assert.deepEqual([reply.choices[0].text, await engine.getMessage()], ["aba", "aba"]);
    let text = "";
    for await (const { choices } of await engine.completion({ prompt: "abc", stream: true })) text += choices[0]?.text ?? "";
    assert.equal(text, "abc");
  });
});

describe("models", () => {
  test("one at a time: reload and unload", async () => {
    const engine = new MLCEngine();
    await fails(engine.chat.completions.create({ messages }), "invalid-argument", "model");
    const model = echoModel();
    await engine.reload([model]);
    assert.equal((await engine.chat.completions.create({ messages })).choices[0].message.content, "Hello");
    await engine.reload(echoModel({ id: "second" }));
    assert.equal((await engine.chat.completions.create({ messages })).model, "second");
    await engine.unload();
    await fails(engine.chat.completions.create({ messages }), "invalid-argument", "model");
    assert.equal((await model.generate("still here")).text, "still here", "a model that was given stays loaded");
  });

  test("what is refused", async () => {
    await fails(CreateMLCEngine(echoModel(), {}, { sliding_window_size: 1024 }), "feature", "sliding_window_size");
    await fails(CreateMLCEngine(echoModel(), {}, { context_window_size: 1024 }), "invalid-argument", "context_window_size");
    await fails(CreateMLCEngine(echoModel(), { logitProcessorRegistry: new Map() }), "feature", "logitProcessorRegistry");
    await fails(new MLCEngine().reload(["a", "b"]), "invalid-argument", "modelId");
    await fails(new MLCEngine().embeddings.create({ input: "x" }), "feature", "embeddings");
    await fails(new MLCEngine().forwardTokensAndSample([1], true), "feature", "forwardTokensAndSample");
    assert.throws(() => new MLCEngine({ initProgressCallback: 3 }), { code: "invalid-argument" });
  });

  test("names of the list are sources, and Node stores nothing", async () => {
    assert.ok(prebuiltAppConfig.model_list.some(({ model_id }) => model_id === "SmolLM2-135M-Instruct"));
    assert.equal(await hasModelInCache("SmolLM2-135M-Instruct"), false);
    assert.equal(await hasModelInCache("mine", { model_list: [{ model_id: "mine", model: "https://huggingface.co/org/repo/resolve/main/" }] }), false);
  });
});
