// Tests `minke/ai-sdk` with the AI SDK itself. The examples of docs/guide/ai-sdk.md are among them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { convertToModelMessages, DirectChatTransport, generateObject, generateText, Output, readUIMessageStream, stepCountIs, streamText, tool, ToolLoopAgent } from "ai";
import { EngineError } from "minke";
import { languageModel } from "minke/ai-sdk";
import { echoModel } from "minke/testing";
import { z } from "zod";

const weather = tool({ description: "The weather in a city", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });
const lisbon = { toolName: "weather", input: { city: "Lisbon" }, toolCallId: "call-1" };
const prompt = [{ role: "user", content: [{ type: "text", text: "Hello" }] }];
const refused = (code, argument) => (error) => error instanceof EngineError && error.code === code && (argument === undefined || error.detail.argument === argument || assert.fail(`${error.detail.argument}: ${error.message}`));
const collect = async (stream) => {
  const all = [];
  for await (const part of stream) all.push(part);
  return all;
};

/** A model whose calls are recorded. */
function recorded(script, settings) {
  const calls = [];
  const model = echoModel({ script: (call) => (calls.push(call), typeof script === "function" ? script(call) : (script?.[call.index] ?? call.text)) });
  return { calls, model: languageModel(model, settings) };
}

describe("text", () => {
  test("streamText streams the answer", async () => {
    const model = languageModel(echoModel());
    const { textStream } = streamText({ model, prompt: "Why is the sky blue?" });
    assert.equal((await collect(textStream)).join(""), "Why is the sky blue?");
  });

  test("generateText has text, reasoning, usage and the finish reason", async () => {
    const { model } = recorded([{ reasoning: "thinking", text: "answer" }]);
    const result = await generateText({ model, prompt: "question" });
    assert.equal(result.text, "answer");
    assert.equal(result.reasoningText, "thinking");
    assert.equal(result.finishReason, "stop");
    assert.deepEqual(result.warnings, []);
    assert.equal(result.usage.outputTokens, result.usage.outputTokenDetails.textTokens + result.usage.outputTokenDetails.reasoningTokens);
    assert.ok(result.usage.inputTokens > 0 && result.usage.outputTokenDetails.reasoningTokens > 0);
    assert.equal(result.response.modelId, "echo");
  });

  test("parts of a stream come in order, each in its block", async () => {
    const { model } = recorded([{ reasoning: "hm", text: "ok", toolCalls: [lisbon] }]);
    const { stream } = await model.doStream({ prompt, tools: [{ type: "function", name: "weather", inputSchema: { type: "object" } }] });
    const parts = await collect(stream);
    const types = parts.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1]);
    assert.deepEqual(types, [
      "stream-start", "response-metadata", "reasoning-start", "reasoning-delta", "reasoning-end", "text-start", "text-delta", "text-end",
      "tool-input-start", "tool-input-delta", "tool-input-end", "tool-call", "finish",
    ]);
    const input = parts.filter(({ type }) => type === "tool-input-delta").map(({ delta }) => delta).join("");
    assert.equal(input, parts.find(({ type }) => type === "tool-call").input);
    assert.ok(parts.filter(({ type }) => type === "tool-input-delta").every(({ id }) => id === "call-1"));
    assert.deepEqual(parts.at(-1).finishReason, { unified: "tool-calls", raw: "tool-calls" });
  });

  test("raw chunks are those of the model", async () => {
    const { model } = recorded(["ok"]);
    const { stream } = await model.doStream({ prompt, includeRawChunks: true });
    const raw = (await collect(stream)).filter(({ type }) => type === "raw").map(({ rawValue }) => rawValue.type);
    assert.equal(raw.at(-1), "finish");
    assert.ok(raw.includes("text-delta"));
  });

  test("the token limit is the finish reason", async () => {
    const { model } = recorded(["a long answer"]);
    const result = await generateText({ model, prompt: "question", maxOutputTokens: 3 });
    assert.equal(result.text, "a l");
    assert.equal(result.finishReason, "length");
  });

  test("an aborted call rejects with the reason", async () => {
    const model = languageModel(echoModel({ delay: 5 }));
    const controller = new AbortController();
    const reason = new Error("enough");
    const answer = generateText({ model, prompt: "a long question that is echoed", abortSignal: controller.signal, maxRetries: 0 });
    setTimeout(() => controller.abort(reason), 20);
    await assert.rejects(answer, (error) => error === reason);
  });

  test("an aborted stream ends with a part that says so", async () => {
    const model = languageModel(echoModel({ delay: 5 }));
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    const parts = await collect(streamText({ model, prompt: "a long question that is echoed", abortSignal: controller.signal }).stream);
    assert.ok(parts.some(({ type }) => type === "abort"), parts.map(({ type }) => type).join());
  });

  test("a stream that is cancelled stops the model", async () => {
    const model = echoModel({ delay: 5 });
    const { stream } = await languageModel(model).doStream({ prompt: [{ role: "user", content: [{ type: "text", text: "x".repeat(1000) }] }] });
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel();
    assert.equal((await model.generate("next", { maxOutputTokens: 1 })).text, "n");
  });

  test("an error of a stream is a part", async () => {
    const { model } = recorded([{ text: "begun", error: new EngineError("device-lost", "the GPU is gone") }]);
    const { stream } = await model.doStream({ prompt });
    const [error, finish] = (await collect(stream)).slice(-2);
    assert.equal(error.type, "error");
    assert.equal(error.error.code, "device-lost");
    assert.deepEqual(finish.finishReason, { unified: "error", raw: "device-lost" });
  });
});

describe("tools", () => {
  test("steps go on with results", async () => {
    const { model, calls } = recorded([{ toolCalls: [lisbon] }, "It is sunny."]);
    const { text, steps } = await generateText({ model, prompt: "What is the weather in Lisbon?", tools: { weather }, stopWhen: stepCountIs(5) });
    assert.equal(text, "It is sunny.");
    assert.equal(steps.length, 2);
    assert.equal(steps[0].finishReason, "tool-calls");
    assert.deepEqual(calls[1].messages.slice(1), [
      { role: "assistant", content: "", toolCalls: [{ toolCallId: "call-1", toolName: "weather", input: '{"city":"Lisbon"}' }] },
      { role: "tool", content: "sunny in Lisbon", name: "weather", toolCallId: "call-1" },
    ]);
    assert.equal(calls[0].options.tools.weather.description, "The weather in a city");
    assert.equal(calls[0].options.tools.weather.inputSchema.properties.city.type, "string");
  });

  test("streamText runs steps, too, and failed calls are told to the model", async () => {
    const failing = tool({ inputSchema: z.object({ city: z.string() }), execute: async () => { throw new Error("no network"); } });
    const { model, calls } = recorded([{ toolCalls: [lisbon] }, "Sorry."]);
    const { textStream } = streamText({ model, prompt: "Lisbon?", tools: { weather: failing }, stopWhen: stepCountIs(5) });
    assert.equal((await collect(textStream)).join(""), "Sorry.");
    assert.match(calls[1].messages.at(-1).content, /no network/);
  });

  test("each choice is the model's", async () => {
    for (const [given, expected] of [["auto", "auto"], ["none", "none"], ["required", "required"], [{ type: "tool", toolName: "weather" }, { toolName: "weather" }]]) {
      const { model, calls } = recorded(() => (given === "auto" || given === "none" ? "ok" : { toolCalls: [lisbon] }));
      await generateText({ model, prompt: "?", tools: { weather }, toolChoice: given });
      assert.deepEqual(calls[0].options.toolChoice, expected);
    }
  });

  test("a call that is cut is told apart", async () => {
    const { model } = recorded([{ toolCalls: [lisbon] }]);
    const result = await model.doGenerate({ prompt, maxOutputTokens: 12, tools: [{ type: "function", name: "weather", inputSchema: { type: "object" } }] });
    assert.equal(result.finishReason.unified, "length");
    assert.ok(!result.content.some(({ type }) => type === "tool-call"));
    assert.equal(result.providerMetadata.minke.incompleteToolCall.toolName, "weather");
  });
});

describe("structured output", () => {
  test("the schema binds the answer", async () => {
    const schema = z.object({ name: z.string(), servings: z.number().int() });
    const { model, calls } = recorded(['{"name":"Lasagne","servings":4}', '{"name":"Lasagne","servings":4}']);
    const { output } = await generateText({ model, prompt: "A lasagne: name and number of servings, as JSON.", output: Output.object({ schema }) });
    assert.deepEqual(output, { name: "Lasagne", servings: 4 });
    assert.equal(calls[0].options.responseConstraint.json.properties.servings.type, "integer");
    const { object } = await generateObject({ model, prompt: "the same", schema });
    assert.deepEqual(object, { name: "Lasagne", servings: 4 });
  });

  test("without a schema, the answer is any JSON", async () => {
    const { model, calls } = recorded(["[1]"]);
    assert.deepEqual((await generateText({ model, prompt: "?", output: Output.json() })).output, [1]);
    assert.deepEqual(calls[0].options.responseConstraint, { json: {} });
  });

  test("two constraints at once are refused", async () => {
    const { model } = recorded();
    const call = model.doGenerate({ prompt, responseFormat: { type: "json" }, providerOptions: { minke: { responseConstraint: { choice: ["a"] } } } });
    await assert.rejects(call, refused("invalid-argument", "providerOptions.minke.responseConstraint"));
  });
});

describe("options", () => {
  test("settings of the SDK and of this package reach the model", async () => {
    const { model, calls } = recorded(undefined, { repetitionPenalty: 1.1, minP: 0.1 });
    await generateText({
      model, prompt: "question", temperature: 0.5, topP: 0.9, topK: 40, presencePenalty: 0.1, frequencyPenalty: 0.2, stopSequences: ["END"], seed: 7, maxOutputTokens: 50,
      providerOptions: { minke: { minP: 0.05, reasoning: { maxTokens: 300 } }, other: { anything: 1 } },
    });
    const { temperature, topP, topK, presencePenalty, frequencyPenalty, stopSequences, seed, maxOutputTokens, minP, repetitionPenalty, reasoning } = calls[0].options;
    assert.deepEqual(
      { temperature, topP, topK, presencePenalty, frequencyPenalty, stopSequences, seed, maxOutputTokens, minP, repetitionPenalty, reasoning },
      { temperature: 0.5, topP: 0.9, topK: 40, presencePenalty: 0.1, frequencyPenalty: 0.2, stopSequences: ["END"], seed: 7, maxOutputTokens: 50, minP: 0.05, repetitionPenalty: 1.1, reasoning: { maxTokens: 300 } },
    );
  });

  test("efforts are budgets; the call's own option wins", async () => {
    const { model, calls } = recorded(undefined, { reasoning: "none" });
    await generateText({ model, prompt: "?" });
    await generateText({ model, prompt: "?", reasoning: "low" });
    await generateText({ model, prompt: "?", reasoning: "max" });
    await generateText({ model, prompt: "?", reasoning: "low", providerOptions: { minke: { reasoning: "auto" } } });
    assert.deepEqual(calls.map(({ options: { reasoning } }) => reasoning), ["none", { maxTokens: 512 }, "auto", "auto"]);
    assert.deepEqual(calls.map(({ options: { templateArgs } }) => templateArgs?.reasoning_effort), [undefined, "low", "high", undefined]);
  });

  test("what has no effect is warned of", async () => {
    const model = languageModel(echoModel({ capabilities: { reasoning: false } }));
    const responseFormat = { type: "json", schema: { type: "object" }, name: "n", description: "d" };
    const tools = [
      { type: "provider", id: "other.search", name: "search", args: {} },
      { type: "function", name: "f", inputSchema: { type: "object" }, strict: false, inputExamples: [{ input: {} }] },
    ];
    const answers = [
      await model.doGenerate({ prompt, headers: { "user-agent": "ai", authorization: "x" }, reasoning: "high", responseFormat }),
      await model.doGenerate({ prompt, tools }),
    ];
    const warnings = answers.flatMap(({ warnings }) => warnings);
    assert.ok(warnings.every(({ type }) => type === "unsupported"));
    assert.deepEqual(warnings.map(({ feature }) => feature).sort(), [
      "headers", "reasoning", "responseFormat.description", "responseFormat.name", "tool f: inputExamples", "tool f: strict: false", "tool other.search",
    ]);
  });

  test("log-probabilities are metadata", async () => {
    const { model } = recorded(["ok", "ok"]);
    const options = { prompt, providerOptions: { minke: { logprobs: 1 } } };
    const { providerMetadata } = await model.doGenerate(options);
    assert.deepEqual(providerMetadata.minke.logprobs.slice(0, 2).map(({ token }) => token), ["o", "k"]);
    const deltas = (await collect((await model.doStream(options)).stream)).filter(({ type }) => type === "text-delta");
    assert.equal(deltas.flatMap(({ providerMetadata }) => providerMetadata.minke.logprobs).length, 2);
  });

  test("unknown names are refused", async () => {
    assert.throws(() => languageModel(echoModel(), { temprature: 1 }), refused("invalid-argument", "settings.temprature"));
    const { model } = recorded();
    await assert.rejects(model.doGenerate({ prompt, providerOptions: { minke: { temperature: 1 } } }), refused("invalid-argument", "providerOptions.minke.temperature"));
    await assert.rejects(generateText({ model, prompt: "?", temperature: -1 }), refused("invalid-argument", "temperature"));
  });
});

describe("prompts", () => {
  const sent = async (...messages) => {
    const { model, calls } = recorded();
    await model.doGenerate({ prompt: messages });
    return calls[0].messages;
  };

  test("every kind of part that is text is shown", async () => {
    const file = (data, mediaType = "text/plain") => ({ type: "file", data, mediaType });
    assert.deepEqual(
      await sent(
        { role: "system", content: "Be brief." },
        { role: "user", content: [{ type: "text", text: "a" }, file({ type: "text", text: "b" }), file({ type: "data", data: new TextEncoder().encode("ç") }), file({ type: "data", data: "ZA==" })], providerOptions: { minke: { name: "Ana" } } },
        { role: "assistant", content: [{ type: "reasoning", text: "r" }, { type: "text", text: "t" }, { type: "tool-call", toolCallId: "1", toolName: "f", input: { a: 1 } }] },
        {
          role: "tool",
          content: [
            { type: "tool-result", toolCallId: "1", toolName: "f", output: { type: "json", value: { b: 2 } } },
            { type: "tool-result", toolCallId: "2", toolName: "f", output: { type: "content", value: [{ type: "text", text: "x" }, { type: "text", text: "y" }] } },
            { type: "tool-result", toolCallId: "3", toolName: "f", output: { type: "execution-denied", reason: "no" } },
            { type: "tool-result", toolCallId: "4", toolName: "f", output: { type: "error-text", value: "broken" } },
          ],
        },
        { role: "assistant", content: [{ type: "text", text: "So" }], providerOptions: { minke: { prefix: true } } },
      ),
      [
        { role: "system", content: "Be brief." },
        { role: "user", content: "a\nb\nç\nd", name: "Ana" },
        { role: "assistant", content: "t", reasoning: "r", toolCalls: [{ toolCallId: "1", toolName: "f", input: '{"a":1}' }] },
        { role: "tool", content: '{"b":2}', name: "f", toolCallId: "1" },
        { role: "tool", content: "x\ny", name: "f", toolCallId: "2" },
        { role: "tool", content: "no", name: "f", toolCallId: "3" },
        { role: "tool", content: "broken", name: "f", toolCallId: "4" },
        { role: "assistant", content: "So", prefix: true },
      ],
    );
  });

  test("what is no text is refused, with its place", async () => {
    const image = { type: "file", data: { type: "data", data: "AA==" }, mediaType: "image/png" };
    await assert.rejects(sent({ role: "user", content: [image] }), refused("feature", "prompt[0].content[0]"));
    await assert.rejects(sent({ role: "assistant", content: [{ type: "custom", kind: "a.b" }] }), refused("feature", "prompt[0].content[0]"));
    await assert.rejects(sent({ role: "user", content: [{ type: "text", text: "a", providerOptions: { minke: { cache: true } } }] }), refused("invalid-argument"));
  });
});

test("useChat's transport runs an agent without a server", async () => {
  const { model } = recorded([{ reasoning: "hm", toolCalls: [lisbon] }, "It is sunny."]);
  const agent = new ToolLoopAgent({ model, tools: { weather } });
  const transport = new DirectChatTransport({ agent });
  const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: "Lisbon?" }] }];
  const stream = await transport.sendMessages({ trigger: "submit-message", chatId: "chat", messages, abortSignal: undefined });
  let last;
  for await (const message of readUIMessageStream({ stream })) last = message;
  assert.deepEqual(last.parts.filter(({ type }) => type !== "step-start").map(({ type }) => type), ["reasoning", "tool-weather", "text"]);
  assert.equal(last.parts.find(({ type }) => type === "tool-weather").output, "sunny in Lisbon");
  assert.ok((await convertToModelMessages([...messages, last])).length > 2);
});
