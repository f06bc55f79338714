// The echo model's generation loop: plays an answer token by token.

import { ABORTED } from "../errors.js";
import type { FinishReason, GenerateOptions, GenerateResult, Message, StreamPart, TokenLogprob, ToolCall, Usage } from "../types.js";
import { answerTo, visible, type Answer, type EchoScript } from "./answer.js";
import { END, encode, tokenBytes, tokenText, VOCABULARY } from "./tokens.js";

/** How a call is ended from outside. */
export interface Cancel {
  state: "" | "stop" | "abort";
  /** Resolves when `state` is set. */
  ended: Promise<void>;
  end(how: "stop" | "abort"): void;
}

export interface Prompt {
  ids: number[];
  /** Empty for raw text and ids. */
  messages: readonly Message[];
  /** What is echoed. */
  text: string;
}

interface Run {
  prompt: Prompt;
  /** Tokens of the prompt that an earlier call has read. */
  cached: number;
  /** Tokens that fit after the prompt. */
  room: number;
  options: GenerateOptions;
  /** Calls before this one. */
  index: number;
  script?: EchoScript;
  delay: number;
}

/** Without a delay, timers of the page run once in this many tokens. */
const BREATH = 64;

/** A token's log-probability: the k-th most probable has 2^-k, and the sampled one is the first. */
export function tokenLogprob(id: number, top: number): TokenLogprob {
  const entry = (k: number): TokenLogprob => {
    const other = (id + k) % VOCABULARY;
    return { id: other, token: tokenText(other), bytes: tokenBytes(other), logprob: -(k + 1) * Math.LN2 };
  };
  return { ...entry(0), ...(top > 0 && { top: Array.from({ length: Math.min(top, VOCABULARY) }, (_, k) => entry(k)) }) };
}

const wantsLogprobs = ({ logprobs = false }: GenerateOptions): boolean => logprobs !== false;

/** Plays the answer to a call; `emit` receives its parts. */
export async function generation(run: Run, cancel: Cancel, emit: (part: StreamPart) => void): Promise<GenerateResult> {
  const { prompt, options } = run;
  const start = performance.now();
  const answer = await answerTo({ index: run.index, text: prompt.text, messages: prompt.messages, options: visible(options) }, run.script);
  emit({ type: "prefill", done: prompt.ids.length, total: prompt.ids.length });
  const player = new Player(run, answer, cancel, emit);
  const finishReason = await player.play();
  const end = performance.now();
  const first = player.first ?? end;
  const { ids, reasoningTokens } = player;
  const usage: Usage = {
    inputTokens: prompt.ids.length, cachedTokens: run.cached, outputTokens: ids.length, reasoningTokens,
    prefillMs: first - start, timeToFirstTokenMs: first - start, decodeMs: end - first,
    tokensPerSecond: ids.length > 1 && end > first ? ((ids.length - 1) / (end - first)) * 1000 : 0,
  };
  emit({ type: "finish", finishReason, usage });
  const { text, reasoning, toolCalls, incomplete, logprobs } = player;
  const messages = prompt.messages.length > 0 ? withAnswer(prompt.messages, text, reasoning, toolCalls) : [];
  return {
    text, reasoning, toolCalls, finishReason, usage, messages, ids: Uint32Array.from(ids),
    ...(incomplete && { incompleteToolCall: incomplete }), ...(wantsLogprobs(options) && { logprobs }),
  };
}

/** The conversation with the answer added, or joined to the text that it continued. */
function withAnswer(messages: readonly Message[], text: string, reasoning: string, toolCalls: ToolCall[]): Message[] {
  const { prefix, ...last } = messages.at(-1)!;
  const more = { ...(reasoning !== "" && { reasoning }), ...(toolCalls.length > 0 && { toolCalls }) };
  if (prefix) return [...messages.slice(0, -1), { ...last, content: last.content + text, ...more }];
  return [...messages, { role: "assistant", content: text, ...more }];
}

class Player {
  text = "";
  reasoning = "";
  readonly toolCalls: ToolCall[] = [];
  incomplete?: { toolName: string; input: string };
  readonly ids: number[] = [];
  readonly logprobs: TokenLogprob[] = [];
  reasoningTokens = 0;
  /** When the first token came. */
  first?: number;

  constructor(
    readonly run: Run,
    readonly answer: Answer,
    readonly cancel: Cancel,
    readonly emit: (part: StreamPart) => void,
  ) {}

  async play(): Promise<FinishReason> {
    const { reasoning, text, toolCalls, error } = this.answer;
    const { reasoning: wanted = "auto", stopSequences = [] } = this.run.options;
    const thoughts = encode(reasoning, false).slice(0, typeof wanted === "object" ? wanted.maxTokens : wanted === "none" ? 0 : undefined);
    const ended = await this.#say(thoughts, (text) => {
      this.reasoning += text;
      this.emit({ type: "reasoning-delta", text });
    });
    this.reasoningTokens = this.ids.length;
    if (ended) return ended;
    const at = Math.min(...stopSequences.map((stop) => text.indexOf(stop)).filter((at) => at >= 0));
    const cut = await this.#say(encode(text.slice(0, at), false), (text, logprobs) => {
      this.text += text;
      this.emit({ type: "text-delta", text, ...(wantsLogprobs(this.run.options) && { logprobs }) });
    });
    if (cut) return cut;
    if (at !== Infinity) return "stop";
    for (const call of toolCalls) {
      const { toolCallId, toolName } = call;
      this.incomplete = { toolName, input: "" };
      const cut = await this.#say(encode(call.input, false), (delta) => {
        this.incomplete!.input += delta;
        this.emit({ type: "tool-input-delta", toolCallId, toolName, delta });
      });
      if (cut) return cut;
      this.incomplete = undefined;
      this.toolCalls.push(call);
      this.emit({ type: "tool-call", ...call });
    }
    if (error !== undefined) throw error.thrown;
    const last = await this.#say([END], () => {});
    return last ?? (this.toolCalls.length > 0 ? "tool-calls" : "stop");
  }

  /** Emits a text token by token. Returns why it ended early. A character is emitted with its last byte. */
  async #say(ids: readonly number[], emit: (text: string, logprobs: TokenLogprob[]) => void): Promise<FinishReason | undefined> {
    const { maxOutputTokens = Infinity, logprobs: top } = this.run.options;
    const limit = Math.min(maxOutputTokens, this.run.room);
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    let pending: TokenLogprob[] = [];
    for (const id of ids) {
      if (this.ids.length >= limit) return "length";
      await this.#pause();
      if (this.cancel.state === "abort") throw ABORTED;
      if (this.cancel.state === "stop") return "abort";
      this.first ??= performance.now();
      this.ids.push(id);
      const logprob = tokenLogprob(id, typeof top === "number" ? top : 0);
      this.logprobs.push(logprob);
      pending.push(logprob);
      const text = id < 256 ? utf8.decode(Uint8Array.of(id), { stream: true }) : "";
      if (text === "") continue;
      emit(text, pending);
      pending = [];
    }
    return undefined;
  }

  async #pause(): Promise<void> {
    const delay = this.answer.delay ?? this.run.delay;
    if (delay === 0 && this.ids.length % BREATH !== 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([this.cancel.ended, new Promise((resolve) => (timer = setTimeout(resolve, delay)))]);
    clearTimeout(timer);
  }
}
