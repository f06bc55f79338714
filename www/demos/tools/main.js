import { chosen, told } from "../model.js";
import { calculate } from "./calculate.js";

// Where a call is forced, it is bound by its schema: the calculator gets nothing but arithmetic.
const schema = (properties) => (
  { type: "object", properties, required: Object.keys(properties), additionalProperties: false }
);
const tools = {
  calculator: {
    description: "Computes an arithmetic expression with + - * / ^ and parentheses",
    inputSchema: schema({ expression: { type: "string", pattern: "^[0-9][-+*/^(). 0-9]{0,40}[0-9)]$" } }),
    execute: ({ expression }) => calculate(expression),
  },
  clock: {
    description: "The date and time now, in a time zone such as Europe/Oslo",
    inputSchema: schema({ timeZone: { type: "string", minLength: 1, maxLength: 40 } }),
    execute: ({ timeZone }) => new Date().toLocaleString("en", { timeZone, dateStyle: "full", timeStyle: "long" }),
  },
};

const [ask, question, choice, log] = ["ask", "question", "choice", "log"]
  .map((id) => document.getElementById(id));
const model = await chosen("Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf");
ask.hidden = false;

ask.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  const add = (kind, text) => {
    log.append(Object.assign(document.createElement("p"), { className: kind, textContent: text }));
    return log.lastChild;
  };
  add("question", question.value);
  const toolChoice = choice.value in tools ? { toolName: choice.value } : choice.value;
  let answer;
  try {
    const options = { tools, toolChoice, maxSteps: 4, maxOutputTokens: 400, temperature: 0 };
    for await (const part of model.stream(question.value, options)) {
      if (part.type === "tool-call") add("call", `${part.toolName}(${part.input})`);
      if (part.type === "tool-result") add("result", String(part.output));
      if (part.type.startsWith("tool-")) answer = undefined;
      if (part.type === "text-delta") (answer ??= add("answer", "")).append(part.text);
    }
  } catch (error) {
    add("result", told(error));
  }
  button.disabled = false;
});
