import { chosen, told } from "../model.js";

const [ask, question, budget, limit, stop, usage, reasoning, answer] = [
  "ask", "question", "budget", "limit", "stop", "usage", "reasoning", "answer",
].map((id) => document.getElementById(id));
const model = await chosen("bartowski/DeepSeek-R1-Distill-Qwen-1.5B-GGUF/DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf");
ask.hidden = false;
budget.addEventListener("input", () => { limit.textContent = budget.value; });

ask.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  reasoning.textContent = answer.textContent = usage.textContent = "";
  button.disabled = true;
  stop.disabled = false;
  const maxTokens = budget.valueAsNumber; // 0 closes the reasoning before it begins
  const generation = model.stream(question.value, { reasoning: { maxTokens }, maxOutputTokens: maxTokens + 500 });
  stop.onclick = () => generation.stop();
  try {
    for await (const part of generation) {
      if (part.type === "reasoning-delta") reasoning.append(part.text);
      if (part.type === "text-delta") answer.append(part.text);
    }
    const { reasoningTokens, outputTokens, tokensPerSecond } = (await generation.result).usage;
    const tokens = `${reasoningTokens} tokens of reasoning, ${outputTokens - reasoningTokens} of answer`;
    usage.textContent = `${tokens}; ${tokensPerSecond.toFixed(1)} per second`;
  } catch (error) {
    usage.textContent = told(error);
  }
  button.disabled = false;
  stop.disabled = true;
});
