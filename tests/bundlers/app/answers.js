// What the application of every bundler does: it answers by the package's own API, within a constraint (whose WebAssembly is a
// file of its own), and through two sub-paths.

import { load } from "minke";
import { languageModel } from "minke/ai-sdk";
import { createFetch } from "minke/openai";

const QUESTION = "What is the capital of France?";
const SCHEMA = { type: "object", properties: { capital: { enum: ["Paris", "Rome", "Madrid"] } }, required: ["capital"], additionalProperties: false };

export async function answers(source, options) {
  const model = await load(source, { device: "cpu", cache: "none", contextLength: 256, ...options });
  const { text: seeded } = await model.generate(QUESTION, { seed: 7, temperature: 0.9, maxOutputTokens: 8 });
  const { text: constrained } = await model.generate(QUESTION, { temperature: 0, responseConstraint: { json: SCHEMA } });
  const messages = [{ role: "user", content: QUESTION }];
  const body = JSON.stringify({ model: "smollm", messages, temperature: 0, max_tokens: 6 });
  const response = await createFetch({ smollm: model })("http://minke.local/v1/chat/completions", { method: "POST", body });
  const openai = (await response.json()).choices[0].message.content;
  const prompt = [{ role: "user", content: [{ type: "text", text: QUESTION }] }];
  const { content } = await languageModel(model).doGenerate({ prompt, temperature: 0, maxOutputTokens: 6 });
  const device = model.info.device.name;
  await model.unload();
  return { seeded, constrained, openai, sdk: content[0].text, device };
}

/** Answers for the model that the page's address names, and leaves the answers, or the error, where the test reads them; `options` are of the load. */
export async function run(options = {}) {
  const parameters = new URLSearchParams(location.search);
  try {
    window.outcome = { answers: await answers(parameters.get("model"), { threads: Number(parameters.get("threads")), ...options }) };
  } catch (error) {
    window.outcome = { error: `${error.code ?? error.name}: ${error.message}` };
  }
}
