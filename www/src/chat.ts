// The chat view: shows the conversation and streams the answer.

import { EngineError, type Generation, type Model, type Session } from "minke";
import { element, make } from "./dom.js";

const messages = element("messages");
const composer = element<HTMLFormElement>("composer");
const prompt = element<HTMLTextAreaElement>("prompt");
const send = element<HTMLButtonElement>("send");
const stop = element<HTMLButtonElement>("stop");

let model: Model | undefined;
/** The current session, whose keys and values stay on the GPU, so that a question only costs its own tokens. */
let session: Promise<Session> | undefined;
let current: Generation | undefined;

/** Starts a chat with a model, or ends the chat. */
export function open(next: Model | undefined): void {
  clear();
  model = next;
  if (model !== undefined) prompt.focus();
}

/** Starts a new conversation. */
export function clear(): void {
  current = undefined;
  void session?.then((gone) => gone.destroy(), () => {});
  session = undefined;
  messages.replaceChildren();
  if (document.body.dataset.state === "answering") busy(false);
  if (model !== undefined) prompt.focus();
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  if (text === "" || model === undefined || document.body.dataset.state !== "ready") return;
  prompt.value = "";
  void answer(model, text);
});
prompt.addEventListener("keydown", (event) => {
  // Enter sends, unless it confirms text of an input method.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});
stop.addEventListener("click", () => current?.stop());
element<HTMLDetailsElement>("settings").addEventListener("toggle", (event) => {
  if ((event.target as HTMLDetailsElement).open) (event.target as HTMLDetailsElement).scrollIntoView({ block: "end" });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") current?.stop();
});

/** Creates a session with a model. */
async function begin(model: Model): Promise<Session> {
  const system = element<HTMLInputElement>("system").value.trim();
  const begun = await model.createSession({ messages: system === "" ? [] : [{ role: "system", content: system }] });
  begun.addEventListener("contextoverflow", () => messages.append(make("p", "message left-out", "This chat has grown too long for the model: it no longer knows how it began.")));
  return begun;
}

async function answer(model: Model, text: string): Promise<void> {
  busy(true);
  messages.append(make("p", "message user", text));
  const reply = new Reply();
  follow(true);
  const talk = (session ??= begin(model));
  let conversation: Session;
  try {
    conversation = await talk;
  } catch (error) {
    if (session !== talk) return;
    session = undefined;
    reply.fail(error);
    prompt.value ||= text;
    return busy(false);
  }
  if (session !== talk) return; // the chat was closed meanwhile
  const temperature = element<HTMLInputElement>("temperature").valueAsNumber;
  const longest = element<HTMLInputElement>("longest").valueAsNumber;
  const generation = conversation.stream(text, {
    maxOutputTokens: Number.isNaN(longest) ? undefined : longest,
    temperature: Number.isNaN(temperature) ? undefined : temperature,
  });
  current = generation;
  try {
    for await (const part of generation) {
      const bottom = atBottom();
      if (part.type === "prefill") reply.reading(part.done, part.total);
      else if (part.type === "reasoning-delta") reply.think(part.text);
      else if (part.type === "text-delta") reply.write(part.text);
      follow(bottom);
    }
    const result = await generation.result;
    reply.finish(`${result.usage.outputTokens} tokens · ${result.usage.tokensPerSecond.toFixed(1)} per second${ENDS[result.finishReason] ?? ""}`);
  } catch (error) {
    if (session === talk) {
      reply.fail(error);
      prompt.value ||= text;
    }
  } finally {
    if (session === talk) {
      current = undefined;
      busy(false);
      prompt.focus();
      follow(atBottom());
    }
  }
}

const ENDS: Record<string, string> = { length: " · cut at the longest answer", abort: " · stopped" };

function busy(is: boolean): void {
  send.hidden = is;
  stop.hidden = !is;
  document.body.dataset.state = is ? "answering" : "ready";
}

const atBottom = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 60;
const follow = (wanted: boolean) => {
  if (wanted) scrollTo({ top: document.documentElement.scrollHeight });
};

/** An answer on the page: the reasoning folded above the text, a line with statistics below. */
class Reply {
  readonly #box = make("article", "message assistant waiting");
  readonly #text = make("p", "text");
  readonly #foot = make("footer");
  #thought?: HTMLDetailsElement;
  #thoughtText?: HTMLParagraphElement;
  #parts = 0;
  #began = 0;

  constructor() {
    this.#box.append(this.#text, this.#foot);
    messages.append(this.#box);
  }

  reading(done: number, total: number): void {
    if (done < total) this.#foot.textContent = `reading ${done} of ${total} tokens`;
  }

  think(text: string): void {
    if (this.#thought === undefined) {
      this.#thought = make("details", "thought");
      this.#thought.open = true;
      this.#thoughtText = make("p");
      this.#thought.append(make("summary", "", "Thinking…"), this.#thoughtText);
      this.#box.prepend(this.#thought);
    }
    this.#thoughtText!.append(text);
    this.#count();
  }

  write(text: string): void {
    if (this.#text.textContent === "") this.#foldThought();
    this.#text.append(text);
    this.#count();
  }

  finish(summary: string): void {
    this.#foldThought();
    this.#box.classList.remove("waiting");
    this.#foot.textContent = summary;
  }

  fail(error: unknown): void {
    this.#box.classList.remove("waiting");
    this.#foot.textContent = "";
    messages.append(make("p", "message error", explain(error)));
  }

  #foldThought(): void {
    if (this.#thought === undefined || !this.#thought.open) return;
    this.#thought.open = false;
    this.#thought.querySelector("summary")!.textContent = "Thought";
  }

  #count(): void {
    this.#began ||= performance.now();
    const seconds = (performance.now() - this.#began) / 1000;
    if (this.#parts++ > 1 && seconds > 0.3) this.#foot.textContent = `${(this.#parts / seconds).toFixed(1)} tokens per second`;
  }
}

/** The message of an error, with advice. */
export function explain(error: unknown): string {
  if (!(error instanceof EngineError)) return String(error);
  const advice: Partial<Record<EngineError["code"], string>> = {
    "context-overflow": "Start a new chat, or say less at once.",
    "device-lost": "The browser took the graphics card away. Load the model again.",
    "internal": "Load the model again.",
    "memory": "Close other tabs, or choose a smaller model.",
    "buffer-limit": "Choose a smaller model.",
    "no-webgpu": isSecureContext ? NO_WEBGPU : "",
  };
  return [error.message, advice[error.code]].filter(Boolean).join("\n");
}

export const NO_WEBGPU = "Chrome and Edge 113, Safari 26 and Firefox 141 or newer have WebGPU; on Linux it may have to be switched on in the browser’s settings.";
