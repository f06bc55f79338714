import { chosen, told } from "../model.js";
import { calculate } from "./calculate.js";

const tools = {
  calculator: {
    description: "Computes an arithmetic expression with + - * / ^ and parentheses",
    inputSchema: { type: "object", properties: { expression: { type: "string", minLength: 1, maxLength: 60 } }, required: ["expression"], additionalProperties: false },
    execute: ({ expression }) => calculate(expression),
  },
  clock: {
    description: "The date and time now, in a time zone such as Europe/Oslo",
    inputSchema: { type: "object", properties: { timeZone: { type: "string", minLength: 1, maxLength: 40 } }, required: ["timeZone"], additionalProperties: false },
    execute: ({ timeZone }) => new Date().toLocaleString("en", { timeZone, dateStyle: "full", timeStyle: "long" }),
  },
};

const [ask, question, choice, log] = ["ask", "question", "choice", "log"].map((id) => document.getElementById(id));
const model = await chosen("Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf");
ask.hidden = false;

ask.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  const add = (kind, text) => {
    const item = Object.assign(document.createElement("p"), { className: kind, textContent: text });
    log.append(item);
    return item;
  };
  add("question", question.value);
  const toolChoice = choice.value in tools ? { toolName: choice.value } : choice.value;
  let answer;
  try {
    for await (const part of model.stream(question.value, { tools, toolChoice, maxSteps: 4, maxOutputTokens: 400, temperature: 0 })) {
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
