import { chosen, told } from "../model.js";

const text = { type: "string" };
const count = { type: "integer", minimum: 0, maximum: 999 };
const schema = {
  type: "object",
  properties: {
    name: text, organisation: text, email: text, telephone: text,
    firstDay: { type: "string", format: "date" },
    days: count, adults: count, children: count,
  },
  additionalProperties: false,
};
schema.required = Object.keys(schema.properties);
const instructions = "You copy facts from a message into JSON. Adults and children are counts of people. "
  + "Leave a text empty if the message does not say it.";

const [message, fill, form, json, usage] = ["text", "fill", "form", "json", "usage"]
  .map((id) => document.getElementById(id));
const model = await chosen("Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf");
fill.disabled = false;

fill.addEventListener("click", async () => {
  fill.disabled = true;
  form.reset();
  json.textContent = usage.textContent = "";
  try {
    const messages = [{ role: "system", content: instructions }, { role: "user", content: message.value }];
    const options = { responseConstraint: { json: schema }, temperature: 0, maxOutputTokens: 400 };
    const generation = model.stream(messages, options);
    for await (const part of generation) if (part.type === "text-delta") json.append(part.text);
    const { text, usage: { outputTokens, tokensPerSecond } } = await generation.result;
    usage.textContent = `${outputTokens} tokens, ${tokensPerSecond.toFixed(1)} per second`;
    for (const [name, value] of Object.entries(JSON.parse(text))) form.elements[name].value = value;
  } catch (error) {
    usage.textContent = told(error);
  }
  fill.disabled = false;
});
