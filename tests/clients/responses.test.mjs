// `minke/openai` with the official client: responses.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { EngineError } from "minke";
import { createFetch } from "minke/openai";
import { echoModel } from "minke/testing";

const scripted = (script, options) => new OpenAI({ apiKey: "local", baseURL: "http://minke.local/v1", maxRetries: 0, fetch: createFetch({ m: echoModel({ script, ...options }) }) });
const model = "m";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const tools = [{ type: "function", name: "weather", description: "The weather", parameters, strict: true }];
const refused = (promise, status, param, code) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof OpenAI.APIError, String(error?.stack));
    assert.deepEqual([error.status, error.param, error.code], [status, param, code], error.message);
    return true;
  });

test("a response as a whole", async () => {
  const response = await scripted([{ reasoning: "Hm.", text: "Hi." }]).responses.create({ model, input: "Hello", instructions: "Be brief.", metadata: { a: "b" }, max_output_tokens: 50 });
  assert.match(response.id, /^resp_/);
  assert.equal(response.output_text, "Hi.");
  assert.deepEqual(response.output.map(({ id, ...item }) => item), [
    { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "Hm." }], status: "completed" },
    { type: "message", role: "assistant", content: [{ type: "output_text", text: "Hi.", annotations: [], logprobs: [] }], status: "completed" },
  ]);
  assert.deepEqual([response.status, response.error, response.incomplete_details, response.metadata, response.max_output_tokens, response.instructions], ["completed", null, null, { a: "b" }, 50, "Be brief."]);
  assert.deepEqual([response.usage.output_tokens, response.usage.output_tokens_details.reasoning_tokens, response.usage.input_tokens_details.cached_tokens], [7, 3, 0]);
});

test("events come in order, and add up to the response", async () => {
  const api = scripted([{ reasoning: "Hm.", text: "So", toolCalls: [{ toolName: "weather", input: { city: "Oslo" } }, { toolName: "weather", input: { city: "Rome" } }] }]);
  const events = [];
  const stream = api.responses.stream({ model, input: "Weather?", tools });
  stream.on("event", (event) => events.push(event));
  const final = await stream.finalResponse();
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
  const runs = events.map(({ type }) => type.replace("response.", "")).filter((type, i, all) => type !== all[i - 1]);
  const item = (content, delta) => ["output_item.added", ...(content ? ["content_part.added"] : []), `${delta}.delta`, `${delta}.done`, ...(content ? ["content_part.done"] : []), "output_item.done"];
  assert.deepEqual(runs, ["created", "in_progress", ...item(true, "reasoning_text"), ...item(true, "output_text"), ...item(false, "function_call_arguments"), ...item(false, "function_call_arguments"), "completed"]);
  assert.deepEqual(final.output.map(({ type }) => type), ["reasoning", "message", "function_call", "function_call"]);
  assert.equal(final.output[3].arguments, '{"city":"Rome"}');
  const { output } = events.at(-1).response;
  assert.deepEqual(output.map(({ id }) => id), final.output.map(({ id }) => id));
  assert.deepEqual([output[0].content, output[1].content[0].text, output[2].arguments], [[{ type: "reasoning_text", text: "Hm." }], "So", '{"city":"Oslo"}']);
  const added = events.filter(({ type }) => type === "response.output_item.added");
  assert.deepEqual(added.map(({ item, output_index }) => [item.status, output_index]), [0, 1, 2, 3].map((i) => ["in_progress", i]));
});

describe("conversations", () => {
  test("a response goes on from another, with the results of its calls", async () => {
    const seen = [];
    const api = scripted(({ index, messages }) => (seen.push(messages), index === 0 ? { reasoning: "Hm.", toolCalls: [{ toolName: "weather", input: { city: "Oslo" }, toolCallId: "c1" }] } : `answer ${index}`));
    const first = await api.responses.create({ model, input: "Weather?", instructions: "Be brief.", tools });
    const second = await api.responses.create({ model, previous_response_id: first.id, input: [{ type: "function_call_output", call_id: "c1", output: "sun" }], tools });
    assert.deepEqual(seen[1], [
      { role: "user", content: "Weather?" },
      { role: "assistant", content: "", reasoning: "Hm.", toolCalls: [{ toolCallId: "c1", toolName: "weather", input: '{"city":"Oslo"}' }] },
      { role: "tool", toolCallId: "c1", content: "sun" },
    ], "the instructions are those of each request");
    const third = await api.responses.create({ model, previous_response_id: second.id, input: "Thanks", store: false });
    assert.deepEqual(seen[2].slice(3), [{ role: "assistant", content: "answer 1" }, { role: "user", content: "Thanks" }]);
    assert.equal(third.previous_response_id, second.id);
    await refused(api.responses.create({ model, previous_response_id: third.id, input: "x" }), 400, "previous_response_id", "previous_response_not_found");
    assert.deepEqual((await api.responses.retrieve(second.id)).output, second.output);
    const items = [];
    for await (const item of api.responses.inputItems.list(second.id)) items.push(item.type);
    assert.deepEqual(items, ["function_call_output"]);
    await api.responses.delete(second.id);
    await refused(api.responses.retrieve(second.id), 404, "response_id", "not_found");
  });

  test("the output can be sent back as input", async () => {
    let seen;
    const api = scripted(({ messages }) => ((seen = messages), { reasoning: "Hm.", text: "Hi." }));
    const input = [{ role: "user", content: [{ type: "input_text", text: "Hello" }] }];
    const { output } = await api.responses.create({ model, input });
    await api.responses.create({ model, input: [{ role: "developer", content: "Be kind." }, ...input, ...output, { role: "user", content: "And?" }] });
    assert.deepEqual(seen, [{ role: "developer", content: "Be kind." }, { role: "user", content: "Hello" }, { role: "assistant", content: "Hi.", reasoning: "Hm." }, { role: "user", content: "And?" }]);
  });
});

test("parse() with a zod schema, log-probabilities, an answer that is cut", async () => {
  const Event = z.object({ name: z.string(), day: z.enum(["Monday", "Friday"]) });
  const parsed = await scripted().responses.parse({ model, input: "Ann dines on Friday.", text: { format: zodTextFormat(Event, "event") } });
  assert.deepEqual(parsed.output_parsed, { name: "", day: "Monday" });
  const { output } = await scripted().responses.create({ model, input: "ab", include: ["message.output_text.logprobs"], top_logprobs: 2 });
  assert.deepEqual(output[0].content[0].logprobs.map(({ token, top_logprobs }) => [token, top_logprobs.length]), [["a", 2], ["b", 2]]);
  const cut = await scripted().responses.create({ model, input: "abc", max_output_tokens: 2 });
  assert.deepEqual([cut.status, cut.incomplete_details, cut.output_text, cut.output[0].status], ["incomplete", { reason: "max_output_tokens" }, "ab", "incomplete"]);
  const one = await scripted([{ toolCalls: [{ toolName: "weather", input: {} }, { toolName: "weather", input: {} }] }]).responses.create({ model, input: "x", tools, parallel_tool_calls: false, tool_choice: { type: "function", name: "weather" } });
  assert.equal(one.output.length, 1);
});

test("what cannot be honoured is refused by name, and failures are errors", async () => {
  for (const [request, param, code] of [
    [{ background: true }, "background", "unsupported_value"], [{ conversation: "c" }, "conversation", "unsupported_value"], [{ truncation: "auto" }, "truncation", "unsupported_value"],
    [{ include: ["reasoning.encrypted_content"] }, "include", "unsupported_value"], [{ tools: [{ type: "web_search" }] }, "tools[0].type", "unsupported_value"], [{ text: { verbosity: "low" } }, "text.verbosity", "unsupported_value"],
    [{ reasoning: { effort: "huge" } }, "reasoning.effort", "invalid_value"], [{ input: [{ type: "item_reference", id: "x" }] }, "input[0].type", "unsupported_value"], [{ input: 3 }, "input", "invalid_value"],
    [{ input: [{ role: "user", content: [{ type: "input_image" }] }] }, "input[0].content[0]", "unsupported_value"], [{ input: undefined }, "input", "missing_required_parameter"], [{ max_tokens: 3 }, "max_tokens", "unknown_parameter"],
    [{ temperature: -1 }, "temperature", "invalid_value"], [{ text: { format: { type: "json_schema", name: "x", schema: { pattern: "x" } } } }, "text.format", "invalid_value"],
  ]) await refused(scripted().responses.create({ model, input: "x", ...request }), 400, param, code);
  await refused(scripted(undefined, { contextLength: 5 }).responses.create({ model, input: "too long" }), 400, "input", "context_length_exceeded");
  const failing = await scripted([{ text: "So", error: new EngineError("non-finite", "not a number") }]).responses.create({ model, input: "x", stream: true });
  let text = "";
  await assert.rejects(async () => {
    for await (const event of failing) if (event.type === "response.output_text.delta") text += event.delta;
  }, (error) => error instanceof OpenAI.APIError && error.code === "non-finite");
  assert.equal(text, "So");
});
