// `useChat` of `@ai-sdk/react` in a rendered component, on `minke/ai-sdk` and without a server.

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { Window } from "happy-dom";

// React looks for a document when it is imported.
const window = new Window({ url: "http://localhost/" });
Object.assign(globalThis, { window, document: window.document });
Object.defineProperty(globalThis, "navigator", { configurable: true, value: window.navigator });
const { useChat } = await import("@ai-sdk/react");
const { DirectChatTransport, tool, ToolLoopAgent } = await import("ai");
const { EngineError } = await import("minke");
const { languageModel } = await import("minke/ai-sdk");
const { echoModel } = await import("minke/testing");
const { createElement: h } = await import("react");
const { createRoot } = await import("react-dom/client");
const { z } = await import("zod");

const weather = tool({ description: "The weather in a city", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });
const lisbon = { toolName: "weather", input: { city: "Lisbon" }, toolCallId: "call-1" };
let root;

/** Renders a chat on an echo model, and records what the page shows after each change. */
function chat(script) {
  const agent = new ToolLoopAgent({ model: languageModel(echoModel({ script, delay: 1 })), tools: { weather } });
  const transport = new DirectChatTransport({ agent });
  const shown = [];
  const part = (part, key) => {
    if (part.type === "text") return h("p", { key }, part.text);
    if (part.type === "reasoning") return h("details", { key, "data-state": part.state }, part.text);
    if (part.type === "tool-weather") return h("code", { key, "data-state": part.state }, `${JSON.stringify(part.input)} ${part.output ?? ""}`);
  };
  function Chat() {
    const { messages, sendMessage, status, stop, error } = useChat({ transport });
    return [
      ...messages.map(({ id, role, parts }) => h("article", { key: id, className: role }, ...parts.map(part))),
      h("button", { key: "send", id: "send", onClick: () => sendMessage({ text: "Lisbon?" }) }),
      h("button", { key: "stop", id: "stop", onClick: () => stop() }),
      h("output", { key: "status" }, status),
      h("strong", { key: "error" }, error?.message),
    ];
  }
  const place = document.body.appendChild(document.createElement("main"));
  const text = (selector) => place.querySelector(selector)?.textContent;
  const state = () => ({ status: text("output"), question: text(".user p"), answer: text(".assistant p"), reasoning: text("details"), thinking: place.querySelector("details")?.dataset.state, call: text("code"), tool: place.querySelector("code")?.dataset.state, error: text("strong") });
  new window.MutationObserver(() => shown.push(state())).observe(place, { childList: true, subtree: true, characterData: true, attributes: true });
  root = createRoot(place);
  root.render(h(Chat));
  const until = async (right) => {
    for (let tries = 0; tries < 500; tries++) {
      if (right(state())) return state();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.fail(`the page shows ${JSON.stringify(state())}`);
  };
  const click = async (id) => {
    await until(() => place.querySelector(`#${id}`));
    place.querySelector(`#${id}`).click();
  };
  return { shown, until, click };
}

afterEach(() => {
  root.unmount();
  document.body.innerHTML = "";
});
after(() => window.close());

test("reasoning, a call with its result and the answer appear as they stream", async () => {
  const { shown, until, click } = chat([{ reasoning: "They ask for the weather.", toolCalls: [lisbon] }, "It is sunny in Lisbon."]);
  await click("send");
  const last = await until(({ status, answer }) => status === "ready" && answer !== undefined);
  assert.deepEqual(last, {
    status: "ready", question: "Lisbon?", reasoning: "They ask for the weather.", thinking: "done",
    call: '{"city":"Lisbon"} sunny in Lisbon', tool: "output-available", answer: "It is sunny in Lisbon.", error: "",
  });
  const grows = (name) => {
    const states = [...new Set(shown.map((state) => state[name]).filter(Boolean))];
    assert.ok(states.length > 3, `${name} was shown as ${states.join(" | ")}`);
    for (const state of states) assert.ok(last[name].startsWith(state), `${name}: ${state}`);
  };
  grows("answer");
  grows("reasoning");
  const seen = (name) => [...new Set(shown.map((state) => state[name]).filter(Boolean))];
  assert.ok(seen("status").includes("streaming") && seen("thinking").includes("streaming"));
  assert.equal(seen("tool")[0], "input-streaming");
  // The reasoning is there before the call, and the call before the answer.
  const first = (name) => shown.findIndex((state) => state[name]);
  assert.ok(first("reasoning") < first("call") && first("call") < first("answer"));
});

test("an answer that is stopped stays as far as it came, and the chat goes on", async () => {
  const long = "word ".repeat(400);
  const { until, click } = chat([long, "Next."]);
  await click("send");
  await until(({ answer }) => answer?.length > 10);
  await click("stop");
  const { answer } = await until(({ status }) => status === "ready");
  assert.ok(answer.length > 10 && answer.length < long.length && long.startsWith(answer), `${answer.length} characters`);
  await click("send");
  await until(({ status }) => status === "ready" && [...document.querySelectorAll(".assistant p")].at(-1).textContent === "Next.");
});

test("an engine that fails is an error of the chat", async () => {
  const { until, click } = chat([{ text: "begun", error: new EngineError("device-lost", "the GPU is gone") }]);
  await click("send");
  const { error, answer } = await until(({ status }) => status === "error");
  assert.equal(error, "An error occurred."); // the SDK shows no more unless it is told to
  assert.equal(answer, "begun");
});
