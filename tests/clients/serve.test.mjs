// The official client against `minke serve`, on SmolLM2.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { absent, smollm } from "../browser/lib/app.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
// The tests in Rust have built it.
const program = join(root, "target/debug", process.platform === "win32" ? "minke.exe" : "minke");
const skip = existsSync(program) ? absent(smollm) : "target/debug/minke: `cargo build` makes it";
const user = (content) => [{ role: "user", content }];
let server, client, model;

before(async () => {
  if (skip) return;
  server = spawn(program, ["serve", smollm, "--port", "0", "--device", "cpu"], { stdio: ["ignore", "pipe", "ignore"] });
  const { value: line } = await createInterface({ input: server.stdout })[Symbol.asyncIterator]().next();
  const [, baseURL, id] = /^(http:\S+\/v1) serves (.+)$/.exec(line);
  client = new OpenAI({ apiKey: "local", baseURL, maxRetries: 0 });
  model = id;
});
after(() => server?.kill());

test("models and answers, whole and streamed", { skip }, async () => {
  assert.deepEqual((await client.models.list()).data.map(({ id }) => id), [model]);
  const request = { model, messages: user("Say hello."), max_completion_tokens: 8, temperature: 0 };
  const { choices: [{ message, finish_reason }], usage } = await client.chat.completions.create(request);
  assert.deepEqual([finish_reason, usage.completion_tokens], ["length", 8]);
  const stream = client.chat.completions.stream(request);
  assert.equal((await stream.finalChatCompletion()).choices[0].message.content, message.content);
  const { choices: [{ text }] } = await client.completions.create({ model, prompt: "1, 2, 3, 4,", max_tokens: 3, temperature: 0 });
  assert.match(text, /5/);
});

test("answers of a schema, and tools that are run", { skip }, async () => {
  const forecast = z.object({ city: z.enum(["Oslo", "Bergen"]), days: z.number().int().min(1).max(9) });
  const { choices: [{ message }] } = await client.chat.completions.parse({ model, messages: user("A forecast for Oslo."), response_format: zodResponseFormat(forecast, "forecast") });
  assert.equal(forecast.safeParse(message.parsed).success, true);
  const ran = [];
  const parameters = z.toJSONSchema(z.object({ city: z.enum(["Oslo", "Bergen"]) }));
  const weather = { type: "function", function: { name: "weather", description: "The weather of a city", parameters, parse: JSON.parse, function: ({ city }) => (ran.push(city), "rain") } };
  const runner = client.chat.completions.runTools({ model, messages: user("The weather?"), tools: [weather], tool_choice: { type: "function", function: { name: "weather" } } }, { maxChatCompletions: 1 });
  await runner.done();
  assert.equal(ran.length, 1);
  assert.ok(["Oslo", "Bergen"].includes(ran[0]));
});

test("responses, and what goes on with them", { skip }, async () => {
  const first = await client.responses.create({ model, input: "Hello", max_output_tokens: 6 });
  assert.ok(first.output_text.length > 0);
  const stream = client.responses.stream({ model, input: "And?", previous_response_id: first.id, max_output_tokens: 6 });
  const types = [];
  for await (const { type } of stream) types.push(type);
  assert.deepEqual([types[0], types.at(-1)], ["response.created", "response.incomplete"]);
  const last = await stream.finalResponse();
  assert.ok(last.usage.input_tokens > first.usage.input_tokens);
});

test("errors, and a client that leaves", { skip }, async () => {
  const refused = (request, status, code) => assert.rejects(client.chat.completions.create({ model, messages: user("x"), ...request }), (error) => error instanceof OpenAI.APIError && error.status === status && (code === undefined || error.code === code));
  await refused({ model: "other" }, 404, "model_not_found");
  await refused({ temperature: -1 }, 400);
  await refused({ messages: user("word ".repeat(20_000)) }, 400, "context_length_exceeded");
  const stream = await client.chat.completions.create({ model, messages: user("Write a long story."), stream: true });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 3) break; // which closes the connection
  const { usage } = await client.chat.completions.create({ model, messages: user("Hello"), max_completion_tokens: 2 });
  assert.equal(usage.completion_tokens, 2);
});
