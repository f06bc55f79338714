import OpenAI from "../../vendor/openai.js";
import { createFetch } from "../../minke/openai.js";
import { chosen, told } from "../model.js";

const [ask, question, answer, usage] = ["ask", "question", "answer", "usage"]
  .map((id) => document.getElementById(id));
const model = await chosen("Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf");
ask.hidden = false;

// The key is not used, and nothing is sent to the base URL: createFetch answers on this page.
const client = new OpenAI({
  apiKey: "local", dangerouslyAllowBrowser: true, baseURL: "http://minke.local/v1",
  fetch: createFetch({ local: model }),
});

ask.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  answer.textContent = usage.textContent = "";
  try {
    const stream = await client.chat.completions.create({
      model: "local", messages: [{ role: "user", content: question.value }],
      max_completion_tokens: 300, stream: true, stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      answer.append(chunk.choices[0]?.delta.content ?? "");
      const { prompt_tokens, completion_tokens } = chunk.usage ?? {};
      if (chunk.usage) usage.textContent = `${prompt_tokens} + ${completion_tokens} tokens`;
    }
  } catch (error) {
    usage.textContent = told(error);
  }
  button.disabled = false;
});
