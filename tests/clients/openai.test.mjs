// `minke/openai` with the official client: models, chats, completions, errors.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { EngineError } from "minke";
import { createFetch } from "minke/openai";
import { echoModel } from "minke/testing";

const client = (models, options = {}) => new OpenAI({ apiKey: "local", baseURL: "http://minke.local/v1", maxRetries: 0, fetch: createFetch(models), ...options });
/** A client of a model with a script. */
const scripted = (script, options) => client({ m: echoModel({ script, ...options }) });
const user = (content = "Hello") => [{ role: "user", content }];
const model = "m";

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", description: "The weather", parameters, strict: true } }];
const call = (city) => ({ toolName: "weather", input: { city } });

/** The options that the model received for a request. */
async function received(request) {
  let got;
  const api = client({ m: echoModel({ script: (call) => ((got = call), call.options.tools && call.options.toolChoice !== "none" ? { toolCalls: [{ toolName: "weather", input: {} }] } : '{"a":1}') }) });
  await api.chat.completions.create({ model, messages: user(), ...request });
  return got;
}
const refused = (promise, status, param, code) =>
  assert.rejects(Promise.resolve(promise).then(() => { throw new Error(`accepted, and not refused for ${param}`); }), (error) => {
    assert.ok(error instanceof OpenAI.APIError, String(error?.stack));
    assert.deepEqual([error.status, error.param, error.code], [status, param, code], error.message);
    assert.match(error.requestID, /^req_/);
    return true;
  });

describe("models", () => {
  test("the list, one of it, one that is missing", async () => {
    const api = client({ a: echoModel(), "org/b": echoModel() });
    const list = [];
    for await (const { id, object, owned_by } of api.models.list()) list.push([id, object, owned_by]);
    assert.deepEqual(list, [["a", "model", "minke"], ["org/b", "model", "minke"]]);
    assert.equal((await api.models.retrieve("org/b")).id, "org/b");
    await refused(api.models.retrieve("c"), 404, "model", "model_not_found");
    await refused(api.chat.completions.create({ model: "toString", messages: user() }), 404, "model", "model_not_found");
  });

  test("a model is loaded once, when it is first used, and again after a failure", async () => {
    let loads = 0;
    const load = async () => {
      if (++loads === 1) throw new EngineError("network", "offline", { retryable: true });
      return echoModel();
    };
    const api = client({ m: load, n: Promise.resolve(echoModel()) }, { maxRetries: 0 });
    await api.models.list();
    assert.equal(loads, 0);
    const failed = api.chat.completions.create({ model, messages: user() });
    await assert.rejects(failed, (error) => error instanceof OpenAI.InternalServerError && error.code === "network" && error.headers.get("x-should-retry") === "true");
    await Promise.all([1, 2].map(() => api.chat.completions.create({ model, messages: user() })));
    assert.equal(loads, 2);
    assert.equal((await api.chat.completions.create({ model: "n", messages: user() })).choices[0].message.content, "Hello");
    loads = 0;
    const patient = client({ m: load }, { maxRetries: 1 });
    assert.equal((await patient.chat.completions.create({ model, messages: user() })).choices[0].message.content, "Hello");
  });
});

describe("chats", () => {
  test("an answer as a whole", async () => {
    const api = scripted([{ reasoning: "Hm.", text: "Hi there." }, "Again."]);
    const answer = await api.chat.completions.create({ model, messages: user() });
    assert.match(answer.id, /^chatcmpl-/);
    assert.deepEqual(answer.choices, [{ index: 0, finish_reason: "stop", logprobs: null, message: { role: "assistant", content: "Hi there.", refusal: null, reasoning_content: "Hm." } }]);
    const { usage } = answer;
    assert.equal(usage.completion_tokens, 13);
    assert.equal(usage.total_tokens, usage.prompt_tokens + 13);
    assert.equal(usage.completion_tokens_details.reasoning_tokens, 3);
    assert.equal(usage.prompt_tokens_details.cached_tokens, 0);
    const { data, request_id } = await api.chat.completions.create({ model, messages: [...user(), answer.choices[0].message, ...user("And?")] }).withResponse();
    assert.ok(data.usage.prompt_tokens_details.cached_tokens > 0);
    assert.match(request_id, /^req_/);
  });

  test("a stream: reasoning, text, usage", async () => {
    const api = scripted([{ reasoning: "Hm.", text: "Hi" }]);
    const chunks = [];
    for await (const chunk of await api.chat.completions.create({ model, messages: user(), stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    assert.deepEqual(chunks.map(({ choices }) => choices[0]?.delta), [{ role: "assistant", content: "" }, { reasoning_content: "H" }, { reasoning_content: "m" }, { reasoning_content: "." }, { content: "H" }, { content: "i" }, {}, undefined]);
    assert.deepEqual(chunks.slice(0, -1).map(({ usage }) => usage), Array(7).fill(null));
    assert.equal(chunks.at(-1).usage.completion_tokens, 6);
    assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
    assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  });

  test(".stream() with its events", async () => {
    const stream = scripted(["Hi there."]).chat.completions.stream({ model, messages: user() });
    let seen = "";
    stream.on("content", (delta) => (seen += delta));
    assert.equal((await stream.finalChatCompletion()).choices[0].message.content, "Hi there.");
    assert.equal(seen, "Hi there.");
  });

  test("several choices have their own seeds", async () => {
    const seeds = [];
    const api = client({ m: echoModel({ script: ({ index, options }) => (seeds.push(options.seed), `answer ${index}`) }) });
    const { choices, usage } = await api.chat.completions.create({ model, messages: user(), n: 3, seed: 7 });
    assert.deepEqual(choices.map(({ index, message }) => [index, message.content]), [[0, "answer 0"], [1, "answer 1"], [2, "answer 2"]]);
    assert.deepEqual(seeds, [7, 8, 9]);
    assert.equal(usage.completion_tokens, 27);
    const stream = api.chat.completions.stream({ model, messages: user(), n: 2 });
    assert.deepEqual((await stream.finalChatCompletion()).choices.map(({ message }) => message.content), ["answer 3", "answer 4"]);
  });

  test("log-probabilities, whole and in chunks", async () => {
    const api = client({ m: echoModel() });
    const request = { model, messages: user("ab"), logprobs: true, top_logprobs: 2 };
    const { content } = (await api.chat.completions.create(request)).choices[0].logprobs;
    assert.deepEqual(content.map(({ token, top_logprobs }) => [token, top_logprobs.length]), [["a", 2], ["b", 2]]);
    const streamed = (await api.chat.completions.stream(request).finalChatCompletion()).choices[0].logprobs.content;
    assert.deepEqual(streamed, content);
  });

  test("parameters reach the model by their own names", async () => {
    const { options, messages } = await received({
      temperature: 0.5, top_p: 0.9, presence_penalty: 0.1, frequency_penalty: 0.2, seed: 3, stop: "x", max_completion_tokens: 20, logit_bias: { 5: -1 }, top_k: 4, min_p: 0.1, repetition_penalty: 1.1,
      reasoning_effort: "high", response_format: { type: "json_object" }, user: "u", metadata: {}, store: true, service_tier: "auto",
      messages: [{ role: "developer", content: "d" }, { role: "user", name: "Ann", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] }],
    });
    assert.deepEqual(options, {
      temperature: 0.5, topP: 0.9, presencePenalty: 0.1, frequencyPenalty: 0.2, seed: 3, stopSequences: ["x"], maxOutputTokens: 20, logitBias: { 5: -1 }, topK: 4, minP: 0.1, repetitionPenalty: 1.1,
      templateArgs: { reasoning_effort: "high" }, responseConstraint: { json: { type: "object" } },
    });
    assert.deepEqual(messages, [{ role: "developer", content: "d" }, { role: "user", name: "Ann", content: "a\nb" }]);
    assert.deepEqual((await received({ reasoning_effort: "none", max_tokens: 9, stop: ["a", "b"] })).options, { reasoning: "none", maxOutputTokens: 9, stopSequences: ["a", "b"] });
    assert.deepEqual((await received({ tools, tool_choice: "required" })).options, { tools: { weather: { description: "The weather", inputSchema: parameters } }, toolChoice: "required" });
    assert.deepEqual((await received({ tools, tool_choice: { type: "function", function: { name: "weather" } } })).options.toolChoice, { toolName: "weather" });
  });

  test("parameters that cannot be honoured are refused by name", async () => {
    const api = client({ m: echoModel() });
    const create = (request) => api.chat.completions.create({ model, messages: user(), ...request });
    for (const [request, param, code] of [
      [{ n: 0 }, "n", "invalid_value"], [{ temperature: -1 }, "temperature", "invalid_value"], [{ top_p: 2 }, "top_p", "invalid_value"], [{ temperature: "warm" }, "temperature", "invalid_value"],
      [{ max_tokens: 3, max_completion_tokens: 4 }, "max_tokens", "invalid_value"], [{ max_tokens: 0 }, "max_tokens", "invalid_value"], [{ stop: [""] }, "stop", "invalid_value"], [{ logit_bias: { a: 1 } }, "logit_bias", "invalid_value"],
      [{ top_logprobs: 2 }, "top_logprobs", "invalid_value"], [{ stream_options: { include_usage: true } }, "stream_options", "invalid_value"],
      [{ temprature: 1 }, "temprature", "unknown_parameter"], [{ verbosity: "low" }, "verbosity", "unsupported_value"], [{ modalities: ["audio"] }, "modalities", "unsupported_value"], [{ audio: {} }, "audio", "unsupported_value"],
      [{ functions: [] }, "functions", "unsupported_value"], [{ web_search_options: {} }, "web_search_options", "unsupported_value"],
      [{ response_format: { type: "xml" } }, "response_format.type", "invalid_value"], [{ response_format: { type: "json_schema", json_schema: { name: "x" } } }, "response_format.json_schema.schema", "missing_required_parameter"],
      [{ response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "string", pattern: "x" } } } }, "response_format", "invalid_value"],
      [{ tools: [{ type: "custom", custom: { name: "x" } }] }, "tools[0].type", "unsupported_value"], [{ tools: [...tools, ...tools] }, "tools[1].function.name", "invalid_value"], [{ tool_choice: "required" }, "tool_choice", "invalid_value"],
      [{ tools, tool_choice: { type: "function", function: { name: "x" } } }, "tool_choice.function.name", "invalid_value"],
      [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:" } }] }] }, "messages[0].content[0]", "invalid_value"], [{ messages: [] }, "messages", "invalid_value"], [{ messages: undefined }, "messages", "missing_required_parameter"],
      [{ messages: [{ role: "function", content: "x", name: "y" }] }, "messages[0].role", "invalid_value"],
    ]) {
      await refused(create(request), 400, param, code);
      if (param !== "stream_options") await refused(create({ stream: true, ...request }), 400, param, code);
    }
    await refused(api.embeddings.create({ model, input: "x" }), 400, "model", "unsupported_model");
    await refused(api.files.list(), 404, null, "unknown_url");
    const fetch = createFetch({ m: echoModel() });
    for (const [path, body, status, code] of [["/chat/completions", "{", 400, "invalid_json"], ["/chat/completions", "3", 400, "missing_required_parameter"], ["/files", "x", 404, "unknown_url"]]) {
      const response = await fetch(`http://minke.local/v1${path}`, { method: "POST", body });
      assert.deepEqual([response.status, (await response.json()).error.code, response.headers.get("x-should-retry")], [status, code, "false"]);
    }
  });

  test("errors of the engine", async () => {
    await refused(scripted(undefined, { contextLength: 10 }).chat.completions.create({ model, messages: user("more than ten bytes") }), 400, "messages", "context_length_exceeded");
    await refused(scripted([{ error: new EngineError("device-lost", "gone") }]).chat.completions.create({ model, messages: user() }), 500, null, "device-lost");
    const failing = await scripted([{ text: "So ", error: new EngineError("non-finite", "not a number") }]).chat.completions.create({ model, messages: user(), stream: true });
    let text = "";
    await assert.rejects(async () => {
      for await (const chunk of failing) text += chunk.choices[0].delta.content;
    }, (error) => error instanceof OpenAI.APIError && error.code === "non-finite");
    assert.equal(text, "So ");
  });

  test("aborting ends the generation", async () => {
    const slow = echoModel({ delay: 3 });
    const api = client({ m: slow });
    const controller = new AbortController();
    const whole = api.chat.completions.create({ model, messages: user("a long answer, which takes a while") }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await assert.rejects(whole, OpenAI.APIUserAbortError);
    const stream = await api.chat.completions.create({ model, messages: user("a long answer, which takes a while"), stream: true });
    for await (const chunk of stream) if (chunk.choices[0].delta.content === "l") break;
    const before = performance.now();
    assert.equal((await slow.generate("x")).text, "x");
    assert.ok(performance.now() - before < 60, "the model is free again");
    const response = await createFetch({ m: slow })("http://minke.local/v1/chat/completions", { method: "POST", body: JSON.stringify({ model, messages: user("a long answer, which takes a while"), stream: true }) });
    await response.body.cancel();
    assert.equal((await slow.generate("y")).text, "y");
    await assert.rejects(api.chat.completions.create({ model, messages: user() }, { signal: AbortSignal.abort() }), OpenAI.APIUserAbortError);
  });
});

describe("tools", () => {
  test("calls, whole and in chunks", async () => {
    const expected = [0, 1].map((i) => ({ id: `call_0_${i}`, type: "function", function: { name: "weather", arguments: JSON.stringify({ city: ["Bergen", "Oslo"][i] }) } }));
    const script = [{ text: "Let me look.", toolCalls: [call("Bergen"), call("Oslo")] }];
    const whole = await scripted(script).chat.completions.create({ model, messages: user(), tools });
    assert.deepEqual([whole.choices[0].finish_reason, whole.choices[0].message], ["tool_calls", { role: "assistant", content: "Let me look.", refusal: null, tool_calls: expected }]);
    const stream = scripted(script).chat.completions.stream({ model, messages: user(), tools });
    const { choices } = await stream.finalChatCompletion();
    assert.deepEqual(choices[0].message.tool_calls.map(({ id, type, function: { name, arguments: input } }) => ({ id, type, function: { name, arguments: input } })), expected);
    const only = await scripted([{ toolCalls: [call("Bergen"), call("Oslo")] }]).chat.completions.create({ model, messages: user(), tools, parallel_tool_calls: false });
    assert.deepEqual([only.choices[0].message.content, only.choices[0].message.tool_calls.length, only.choices[0].finish_reason], [null, 1, "tool_calls"]);
    const cut = await scripted([{ toolCalls: [call("Bergen")] }]).chat.completions.create({ model, messages: user(), tools, max_tokens: 5 });
    assert.deepEqual([cut.choices[0].finish_reason, cut.choices[0].message.tool_calls[0].function.arguments], ["length", '{"cit']);
  });

  test("runTools runs them and goes on", async () => {
    const seen = [];
    const api = client({ m: echoModel({ script: ({ index, messages }) => (seen.push(messages), index === 0 ? { toolCalls: [call("Bergen")] } : "It rains in Bergen.") }) });
    const runner = api.chat.completions.runTools({
      model, messages: user("Weather?"),
      tools: [{ type: "function", function: { name: "weather", description: "The weather", parameters, parse: JSON.parse, function: ({ city }) => `rain in ${city}` } }],
    });
    assert.equal(await runner.finalContent(), "It rains in Bergen.");
    assert.deepEqual(seen[1].slice(1), [{ role: "assistant", content: "", toolCalls: [{ toolCallId: "call_0_0", toolName: "weather", input: '{"city":"Bergen"}' }] }, { role: "tool", content: "rain in Bergen", toolCallId: "call_0_0" }]);
    const streaming = scripted([{ toolCalls: [call("Oslo")] }, "Sun."]).chat.completions.runTools({
      model, messages: user("Weather?"), stream: true, tools: [zodFunction({ name: "weather", parameters: z.object({ city: z.string() }), function: async ({ city }) => `sun in ${city}` })],
    });
    assert.equal(await streaming.finalContent(), "Sun.");
  });
});

describe("structured answers", () => {
  const Event = z.object({ name: z.string(), day: z.enum(["Monday", "Friday"]), guests: z.array(z.string()) });

  test("parse() with a zod schema, whole and in a stream", async () => {
    const api = client({ m: echoModel() });
    const request = { model, messages: user("Ann and Ben dine on Friday."), response_format: zodResponseFormat(Event, "event") };
    const answer = await api.chat.completions.parse(request);
    assert.deepEqual(answer.choices[0].message.parsed, { name: "", day: "Monday", guests: [] });
    assert.deepEqual((await api.chat.completions.stream(request).finalChatCompletion()).choices[0].message.parsed, { name: "", day: "Monday", guests: [] });
    const again = await api.chat.completions.create({ model, messages: [...request.messages, answer.choices[0].message, ...user("Thanks")] });
    assert.equal(again.choices[0].message.content, "Thanks", "messages that the client has parsed can be sent back");
    await assert.rejects(scripted(['{"name":"x"}']).chat.completions.parse({ ...request, max_tokens: 3 }), OpenAI.LengthFinishReasonError);
  });
});

describe("completions", () => {
  test("texts and ids, whole and in chunks", async () => {
    const api = client({ m: echoModel() });
    const { choices, object, usage } = await api.completions.create({ model, prompt: ["ab", "cd"], n: 2, max_tokens: 10, logprobs: 1, stop: "b" });
    assert.equal(object, "text_completion");
    assert.deepEqual(choices.map(({ index, text, finish_reason }) => [index, text, finish_reason]), [[0, "a", "stop"], [1, "a", "stop"], [2, "cd", "stop"], [3, "cd", "stop"]]);
    assert.deepEqual(choices[2].logprobs, { tokens: ["c", "d"], token_logprobs: [-Math.LN2, -Math.LN2], top_logprobs: [{ c: -Math.LN2 }, { d: -Math.LN2 }], text_offset: [0, 1] });
    assert.equal(usage.prompt_tokens, 4);
    assert.equal((await api.completions.create({ model, prompt: [97, 98] })).choices[0].text, "ab");
    assert.equal((await api.completions.create({ model, prompt: "ab", echo: true })).choices[0].text, "abab");
    let text = "";
    let last;
    for await (const chunk of await api.completions.create({ model, prompt: "abc", stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.text ?? "";
      last = chunk;
    }
    assert.deepEqual([text, last.usage.completion_tokens], ["abc", 4]);
    for await (const chunk of await api.completions.create({ model, prompt: "abc", stream: true })) assert.equal(chunk.choices.length, 1);
  });

  test("parameters that cannot be honoured are refused by name", async () => {
    const api = client({ m: echoModel() });
    for (const [request, param, code] of [
      [{ suffix: "x" }, "suffix", "unsupported_value"], [{ best_of: 3 }, "best_of", "unsupported_value"], [{ prompt: [] }, "prompt", "invalid_value"], [{ prompt: null }, "prompt", "missing_required_parameter"],
      [{ echo: true, logprobs: 1 }, "echo", "invalid_value"], [{ echo: true, prompt: [1] }, "echo", "invalid_value"], [{ logprobs: 9 }, "logprobs", "invalid_value"], [{ messages: [] }, "messages", "unknown_parameter"],
    ]) await refused(api.completions.create({ model, prompt: "x", ...request }), 400, param, code);
  });
});
