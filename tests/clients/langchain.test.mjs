// Tests `minke/langchain` with LangChain itself. The examples of docs/guide/langchain.md are among them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AIMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { tool } from "@langchain/core/tools";
import { EngineError } from "minke";
import { ChatMinke, chatModel } from "minke/langchain";
import { echoModel } from "minke/testing";
import { z } from "zod";

const weather = tool(async ({ city }) => `sunny in ${city}`, { name: "weather", description: "The weather in a city", schema: z.object({ city: z.string() }) });
const lisbon = { toolName: "weather", input: { city: "Lisbon" }, toolCallId: "call-1" };
const refused = (code) => (error) => error instanceof EngineError && error.code === code;
const joke = z.object({ setup: z.string(), punchline: z.string() });
const cat = { setup: "Why?", punchline: "Cat." };

/** A model whose calls are recorded. */
function recorded(script, fields) {
  const calls = [];
  const model = echoModel({ script: (call) => (calls.push(call), script?.[call.index] ?? call.text) });
  return { calls, model: chatModel(model, fields) };
}

/** The sum of a stream's chunks, and how many there were. */
async function summed(stream) {
  let sum;
  let count = 0;
  for await (const chunk of await stream) {
    sum = sum === undefined ? chunk : sum.concat(chunk);
    count++;
  }
  return { sum, count };
}

describe("answers", () => {
  test("stream has the text in chunks", async () => {
    const model = chatModel(echoModel(), { temperature: 0.2 });
    let text = "";
    for await (const chunk of await model.stream([["system", "You are brief."], ["human", "Why is the sky blue?"]])) text += chunk.text;
    assert.equal(text, "Why is the sky blue?");
  });

  test("invoke has text, reasoning, usage and metadata", async () => {
    const { model } = recorded([{ reasoning: "hm", text: "ok" }]);
    const message = await model.invoke("question");
    assert.ok(AIMessage.isInstance(message));
    assert.equal(message.text, "ok");
    assert.equal(message.additional_kwargs.reasoning_content, "hm");
    assert.equal(message.usage_metadata.total_tokens, message.usage_metadata.input_tokens + message.usage_metadata.output_tokens);
    assert.ok(message.usage_metadata.output_token_details.reasoning > 0);
    assert.equal(message.response_metadata.finish_reason, "stop");
    assert.equal(message.response_metadata.model_name, "echo");
    assert.deepEqual(message.contentBlocks, [{ type: "reasoning", reasoning: "hm" }, { type: "text", text: "ok" }]);
  });

  test("a stream sums up to what invoke returns", async () => {
    const turn = { reasoning: "hm", text: "ok", toolCalls: [lisbon, { ...lisbon, toolCallId: "call-2" }] };
    const { model } = recorded([turn, turn]);
    const bound = model.bindTools([weather]);
    const whole = await bound.invoke("question");
    const { sum, count } = await summed(bound.stream("question"));
    assert.ok(count > 5);
    assert.equal(sum.text, whole.text);
    assert.deepEqual(sum.tool_calls, whole.tool_calls);
    assert.equal(sum.additional_kwargs.reasoning_content, whole.additional_kwargs.reasoning_content);
    assert.deepEqual(sum.contentBlocks.map(({ type }) => type), whole.contentBlocks.map(({ type }) => type));
    assert.equal(sum.usage_metadata.output_tokens, whole.usage_metadata.output_tokens);
    assert.equal(sum.response_metadata.finish_reason, "tool-calls");
    assert.equal(sum.response_metadata.model_provider, "minke");
  });

  test("chains, batches and events work", async () => {
    const { model } = recorded();
    const chain = ChatPromptTemplate.fromMessages([["human", "Tell me about {topic}."]]).pipe(model).pipe(new StringOutputParser());
    assert.deepEqual(await chain.batch([{ topic: "cats" }, { topic: "rain" }]), ["Tell me about cats.", "Tell me about rain."]);
    const events = [];
    for await (const { event } of chain.streamEvents({ topic: "cats" }, { version: "v2" })) events.push(event);
    assert.ok(events.includes("on_chat_model_stream") && events.includes("on_chat_model_end"));
  });

  test("standard content, where it is asked for", async () => {
    const { model } = recorded([{ reasoning: "hm", text: "ok" }], { outputVersion: "v1" });
    assert.deepEqual((await model.invoke("question")).content, [{ type: "reasoning", reasoning: "hm" }, { type: "text", text: "ok" }]);
  });

  test("signal and timeout end a call", async () => {
    const model = chatModel(echoModel({ delay: 5 }));
    const long = "a question that is echoed slowly, letter by letter";
    await assert.rejects(model.invoke(long, { signal: AbortSignal.timeout(20) }));
    await assert.rejects(model.invoke(long, { timeout: 20 }));
    await assert.rejects(summed(model.stream(long, { timeout: 20 })));
    assert.equal((await model.invoke("on")).text, "on");
  });
});

describe("options", () => {
  test("fields, call options and LangChain's own reach the model", async () => {
    const { model, calls } = recorded(undefined, { temperature: 0.5, minP: 0.1 });
    await model.invoke("question", { stop: ["END"], temperature: 0, seed: 7, reasoning: "none", maxOutputTokens: 5 });
    await model.withConfig({ topK: 40 }).invoke("question");
    const { temperature, minP, stopSequences, seed, reasoning, maxOutputTokens } = calls[0].options;
    assert.deepEqual({ temperature, minP, stopSequences, seed, reasoning, maxOutputTokens }, { temperature: 0, minP: 0.1, stopSequences: ["END"], seed: 7, reasoning: "none", maxOutputTokens: 5 });
    assert.equal(calls[1].options.topK, 40);
    await assert.rejects(model.invoke("question", { temperature: -1 }), refused("invalid-argument"));
  });

  test("log-probabilities are metadata, also of a stream", async () => {
    const { model } = recorded(["ok", "ok"]);
    const tokens = ({ response_metadata: { logprobs } }) => logprobs.slice(0, 2).map(({ token }) => token);
    assert.deepEqual(tokens(await model.invoke("?", { logprobs: true })), ["o", "k"]);
    assert.deepEqual(tokens((await summed(model.stream("?", { logprobs: true }))).sum), ["o", "k"]);
  });
});

describe("messages", () => {
  test("every kind that is text is shown", async () => {
    const { model, calls } = recorded(["ok"]);
    await model.invoke([
      new SystemMessage("Be brief."),
      new HumanMessage({ content: [{ type: "text", text: "a" }, { type: "text", text: "b" }], name: "Ana" }),
      new AIMessage({ content: "t", additional_kwargs: { reasoning_content: "r" }, tool_calls: [{ id: "1", name: "f", args: { a: 1 } }] }),
      new ToolMessage({ content: "done", tool_call_id: "1" }),
      new AIMessage({ contentBlocks: [{ type: "reasoning", reasoning: "r" }, { type: "text", text: "t" }, { type: "tool_call", id: "2", name: "f", args: {} }] }),
      new ToolMessage({ content: "again", tool_call_id: "2" }),
    ]);
    assert.deepEqual(calls[0].messages, [
      { role: "system", content: "Be brief." },
      { role: "user", content: "ab", name: "Ana" },
      { role: "assistant", content: "t", reasoning: "r", toolCalls: [{ toolCallId: "1", toolName: "f", input: '{"a":1}' }] },
      { role: "tool", content: "done", toolCallId: "1" },
      { role: "assistant", content: "t", reasoning: "r", toolCalls: [{ toolCallId: "2", toolName: "f", input: "{}" }] },
      { role: "tool", content: "again", toolCallId: "2" },
    ]);
  });

  test("what is no text is refused", async () => {
    const { model } = recorded();
    await assert.rejects(model.invoke([new HumanMessage({ content: [{ type: "image_url", image_url: "data:," }] })]), refused("feature"));
    await assert.rejects(model.invoke([new HumanMessage("a"), new FunctionMessage({ name: "f", content: "b" })]), refused("feature"));
  });
});

describe("tools", () => {
  test("the model calls what is bound", async () => {
    const { model, calls } = recorded([{ toolCalls: [lisbon] }]);
    const answer = await model.bindTools([weather]).invoke("What is the weather in Lisbon?");
    assert.deepEqual(answer.tool_calls, [{ type: "tool_call", id: "call-1", name: "weather", args: { city: "Lisbon" } }]);
    assert.equal(calls[0].options.tools.weather.inputSchema.properties.city.type, "string");
    assert.equal((await weather.invoke(answer.tool_calls[0])).content, "sunny in Lisbon");
  });

  test("each choice is the model's", async () => {
    for (const [given, expected] of [["any", "required"], ["required", "required"], ["weather", { toolName: "weather" }], [{ type: "function", function: { name: "weather" } }, { toolName: "weather" }]]) {
      const { model, calls } = recorded([{ toolCalls: [lisbon] }]);
      await model.bindTools([weather], { tool_choice: given }).invoke("?");
      assert.deepEqual(calls[0].options.toolChoice, expected);
    }
    await assert.rejects(recorded().model.bindTools([weather], { tool_choice: {} }).invoke("?"), refused("invalid-argument"));
    await assert.rejects(recorded().model.bindTools([{ type: "web_search" }]).invoke("?"), refused("invalid-argument"));
  });

  test("a call that is cut is invalid", async () => {
    const { model } = recorded([{ toolCalls: [lisbon] }]);
    const { tool_calls, invalid_tool_calls } = await model.bindTools([weather]).invoke("?", { maxOutputTokens: 12 });
    assert.deepEqual(tool_calls, []);
    assert.equal(invalid_tool_calls[0].name, "weather");
  });
});

describe("structured output", () => {
  test("a Zod schema binds the answer", async () => {
    const { model, calls } = recorded([JSON.stringify(cat)]);
    assert.deepEqual(await model.withStructuredOutput(joke).invoke("Tell a joke about cats, with a setup and a punchline."), cat);
    assert.deepEqual(calls[0].options.responseConstraint.json.required, ["setup", "punchline"]);
  });

  test("a JSON Schema does, and includeRaw has the message", async () => {
    const { model } = recorded([JSON.stringify(cat)]);
    const { raw, parsed } = await model.withStructuredOutput(z.toJSONSchema(joke), { includeRaw: true }).invoke("?");
    assert.deepEqual(parsed, cat);
    assert.equal(raw.text, JSON.stringify(cat));
  });

  test("a function is called that has the schema", async () => {
    const { model, calls } = recorded([{ toolCalls: [{ toolName: "extract", input: cat }] }]);
    assert.deepEqual(await model.withStructuredOutput(joke, { method: "functionCalling" }).invoke("?"), cat);
    assert.deepEqual(calls[0].options.toolChoice, { toolName: "extract" });
  });

  test("any JSON is parsed in jsonMode; other methods are refused", async () => {
    const { model, calls } = recorded(['{"a":1}']);
    assert.deepEqual(await model.withStructuredOutput({ type: "object" }, { method: "jsonMode" }).invoke("?"), { a: 1 });
    assert.deepEqual(calls[0].options.responseConstraint, { json: {} });
    assert.throws(() => model.withStructuredOutput(joke, { method: "xml" }), refused("invalid-argument"));
    assert.throws(() => model.withStructuredOutput(joke, { strict: false }), refused("invalid-argument"));
  });
});

test("chatModel makes a ChatMinke", () => {
  const model = chatModel(echoModel());
  assert.ok(model instanceof ChatMinke);
  assert.equal(model._llmType(), "minke");
});
