// An answer while the model writes it.

import { signal } from "@preact/signals";
import type { Generation, StreamPart } from "minke";
import type { Message, TokenLogprob, ToolCall } from "../data/types";

/** What the model does at the moment. "reading": the conversation; "summarising": what no longer fits; "running": a tool. */
export type Phase = "waiting" | "summarising" | "reading" | "thinking" | "calling" | "running" | "answering";

type Listener = (kind: "text" | "reasoning", delta: string) => void;

export class Live {
  readonly phase = signal<Phase>("waiting");
  /** Tokens of the conversation that were read, of those to read. */
  readonly read = signal<{ done: number; total: number } | undefined>(undefined);
  readonly calls = signal<readonly ToolCall[]>([]);
  /** The time at which the reasoning began, and the milliseconds that it took once it is over. */
  readonly thinkingSince = signal<number | undefined>(undefined);
  readonly thoughtFor = signal<number | undefined>(undefined);
  text: string;
  reasoning: string;
  /** Characters of the text that were there before: of an answer that goes on. */
  readonly before: number;
  readonly logprobs: TokenLogprob[] = [];
  /** Set while the model runs. */
  generation: Generation | undefined;
  /** Whether the user stopped it, before there was a generation to stop. */
  stopped = false;
  /** Resolves when it is stopped. */
  readonly halted: Promise<void>;
  /** Resolves when it is over, and stored if it could be. */
  readonly done: Promise<void>;
  /** Whether its beginning was read out. */
  announced = false;
  /** Whether it is over. */
  over = false;
  #halt = () => {};
  #finish = () => {};
  readonly #listeners = new Set<Listener>();

  constructor(readonly message: Message) {
    this.text = message.text;
    this.before = message.text.length;
    this.reasoning = message.reasoning ?? "";
    this.halted = new Promise((resolve) => (this.#halt = resolve));
    this.done = new Promise((resolve) => (this.#finish = resolve));
  }

  /** Calls `listener` with every piece. Returns what ends that. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop(): void {
    this.stopped = true;
    this.#halt();
    this.generation?.stop();
  }

  take(part: StreamPart): void {
    switch (part.type) {
      case "prefill":
        this.phase.value = part.done < part.total ? "reading" : "waiting";
        this.read.value = part;
        break;
      case "reasoning-delta":
        this.thinkingSince.value ??= performance.now();
        this.phase.value = "thinking";
        this.reasoning += part.text;
        this.#tell("reasoning", part.text);
        break;
      case "text-delta":
        this.#thought();
        this.phase.value = "answering";
        this.text += part.text;
        if (part.logprobs) this.logprobs.push(...part.logprobs.map(plain));
        this.#tell("text", part.text);
        break;
      case "tool-input-delta":
        this.#thought();
        this.phase.value = "calling";
        break;
      case "tool-call":
        this.#thought();
        this.phase.value = "running";
        this.calls.value = [...this.calls.value, { id: part.toolCallId, name: part.toolName, input: part.input }];
        break;
      case "tool-result": {
        const output = typeof part.output === "string" ? part.output : (JSON.stringify(part.output) ?? "");
        this.calls.value = this.calls.value.map((call) =>
          call.id === part.toolCallId ? { ...call, output, ...(part.isError && { failed: true }) } : call,
        );
        break;
      }
    }
  }

  /** The message as it is now. */
  now(): Message {
    const took = this.thoughtFor.peek();
    const calls = this.calls.peek();
    return {
      ...this.message,
      text: this.text,
      ...(this.reasoning !== "" && { reasoning: this.reasoning }),
      ...(took !== undefined && { reasoningMs: took }),
      ...(calls.length > 0 && { calls: [...calls] }),
      ...(this.logprobs.length > 0 && { logprobs: this.logprobs }),
    };
  }

  /** The answer is over, and nothing of it is under way any more. */
  close(): void {
    this.over = true;
    this.#finish();
  }

  /** The reasoning is over. */
  end(): void {
    this.#thought();
  }

  #thought(): void {
    const since = this.thinkingSince.peek();
    if (since !== undefined && this.thoughtFor.peek() === undefined) this.thoughtFor.value = performance.now() - since;
  }

  #tell(kind: "text" | "reasoning", delta: string): void {
    for (const listener of [...this.#listeners]) listener(kind, delta);
  }
}

const plain = ({
  token,
  logprob,
  top,
}: {
  token: string;
  logprob: number;
  top?: readonly { token: string; logprob: number }[];
}): TokenLogprob => ({
  token,
  logprob,
  ...(top && { top: top.map(({ token, logprob }) => ({ token, logprob })) }),
});
