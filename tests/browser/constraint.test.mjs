// Tests answers within a constraint, of SmolLM2 in Chromium through the packed package.

import assert from "node:assert/strict";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import { absent, installApp, smollm } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { CASES, fault } from "./lib/constraints.mjs";
import { serve } from "./lib/server.mjs";

const skip = (!chromiumPath && "Chromium: it is not installed") || absent(smollm);
const MODEL = "/smollm/SmolLM2-135M-Instruct.Q4_1.gguf";

describe("constraints", { skip, timeout: 300_000 }, () => {
  let server, browser, page;
  const fetched = () => server.requests.filter(({ path }) => path.endsWith("minke_constraint_bg.wasm")).length;
  before(async () => {
    server = await serve({ "/smollm/": dirname(smollm), "/": installApp("constraint-app") });
    browser = await launch();
    page = await browser.newPage();
    await page.goto(`${server.origin}/`);
    await page.waitForFunction(() => document.title === "ready");
    await page.evaluate(async (url) => (window.model = models.get((await open(url, { cache: "none", contextLength: 512 })).model)), MODEL);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });
  /** What a call answers, or the facts of its error. */
  const generate = (input, options) => page.evaluate(async ([input, { regex, ...options }]) => {
    if (regex !== undefined) options.responseConstraint = new RegExp(...regex);
    return model.generate(input, options).then(({ text, finishReason, usage }) => ({ text, finishReason, tokens: usage.outputTokens }), (error) => facts(error));
  }, [input, options]);

  test("the module is fetched when a constraint is first used, and once", async () => {
    await generate("Hi!", { maxOutputTokens: 2 });
    assert.equal(fetched(), 0);
    for (const choice of [["yes", "no"], ["no", "yes"]]) {
      const { text, finishReason } = await generate("Is water wet?", { responseConstraint: { choice } });
      assert.ok(choice.includes(text) && finishReason === "stop", text);
    }
    assert.equal(fetched(), 1);
  });

  test("answers at temperature 1 are valid by their schemas", async () => {
    for (const [seed, [name, { prompt, schema }]] of Object.entries(CASES).entries()) {
      const { text, finishReason } = await generate(prompt, { responseConstraint: { json: schema }, temperature: 1, seed, maxOutputTokens: 200 });
      assert.equal(finishReason, "stop", `${name}: ${text}`);
      assert.equal(fault(name, text), undefined, `${name}: ${text}`);
    }
  });

  test("regular expressions and grammars bind, in sessions and in raw text, too", async () => {
    const { text } = await generate("A code.", { regex: ["^[A-Z]{3}-\\d{2}$", "g"], temperature: 1, seed: 1 });
    assert.match(text, /^[A-Z]{3}-\d{2}$/);
    const sum = await generate("A sum:", { raw: true, responseConstraint: { grammar: 'start: NUMBER " + " NUMBER\nNUMBER: /[0-9]{1,2}/' }, temperature: 1, seed: 2 });
    assert.match(sum.text, /^\d{1,2} \+ \d{1,2}$/);
    const turns = await page.evaluate(async () => {
      const session = await model.createSession({ responseConstraint: { choice: ["left", "right"] } });
      const first = (await session.generate("Where?")).text;
      const second = (await session.generate("And then?", { responseConstraint: /\d/ })).text;
      await session[Symbol.asyncDispose]();
      return [first, second];
    });
    assert.ok(["left", "right"].includes(turns[0]) && /^\d$/.test(turns[1]), turns.join());
    const cut = await generate("A text.", { regex: ["[a-z ]{300}"], maxOutputTokens: 4 });
    assert.equal(cut.finishReason, "length");
  });

  test("forced calls are bound by the schemas of their tools", async () => {
    const city = { enum: ["Oslo", "Bergen"] };
    const tools = { weather: { description: "The weather of a city", inputSchema: { type: "object", properties: { city }, required: ["city"], additionalProperties: false } } };
    for (const [seed, toolChoice] of ["required", { toolName: "weather" }].entries()) {
      const { toolCalls, finishReason } = await page.evaluate(async (options) => model.generate("Will it rain?", options), { tools, toolChoice, temperature: 1, seed, maxOutputTokens: 200 });
      assert.equal(finishReason, "tool-calls");
      assert.ok(toolCalls.length > 0);
      for (const { toolName, input } of toolCalls) assert.ok(toolName === "weather" && city.enum.includes(JSON.parse(input).city), input);
    }
  });

  test("what cannot be honoured is refused by name, and the model goes on", async () => {
    for (const [responseConstraint, keyword, path] of [
      [{ json: { properties: { a: { not: {} } } } }, "not", "#/properties/a/not"],
      [{ json: { $ref: "https://example.com/schema.json" } }, "$ref", "#/$ref"],
      [{ choice: [] }, "choice", null],
    ]) {
      const { code, detail } = await generate("x", { responseConstraint });
      assert.deepEqual([code, detail?.keyword, detail?.path], ["constraint", keyword, path]);
    }
    const { code, detail } = await generate("x", { regex: ["a(?=b)"] });
    assert.deepEqual([code, detail.keyword], ["constraint", "(?="]);
    assert.equal((await generate("Hi!", { maxOutputTokens: 3 })).tokens, 3);
  });
});
