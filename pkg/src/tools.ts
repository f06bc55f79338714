// Runs the tools of a generation on the page: functions do not cross to the worker.

import type { GenerateResult, Message, StreamPart, Tool, ToolCall, ToolChoice, Usage } from "./types.js";

/** How a generation goes on after calls. */
export interface Steps {
  /** Default: none. */
  tools: Record<string, Tool>;
  /** How often the model is run at most; default: once. */
  maxSteps: number;
}

/** A conversation whose generation may take several runs of the model. */
export interface Conversation {
  /** Aborts everything, the tools' work included. */
  signal?: AbortSignal;
  /** Ends the generation with what it has, as `stop()` asks. */
  stopped?: AbortSignal;
  part?: (part: StreamPart) => void;
  /** Runs the model on the conversation so far: in the first step the caller's input, then these messages. */
  run(messages: Message[] | undefined, part: ((part: StreamPart) => void) | undefined): Promise<GenerateResult>;
}

/** Generates, runs the tools that are called, and generates again with their results, until an answer or the last step. */
export async function generateInSteps({ tools = {}, maxSteps = 1 }: Partial<Steps>, { signal, stopped, part, run }: Conversation): Promise<GenerateResult> {
  const runs = Object.values(tools).some((tool) => tool.execute !== undefined);
  if (!runs) return run(undefined, part);
  const show = part && ((shown: StreamPart) => void (shown.type !== "finish" && part(shown)));
  let result = await run(undefined, show);
  for (let step = 1; result.finishReason === "tool-calls"; step++) {
    const ends = AbortSignal.any([signal, stopped].filter((signal) => signal !== undefined));
    // A tool of the caller's that has no `execute` is run elsewhere: its call is not answered here.
    const calls = result.toolCalls.filter((call) => !Object.hasOwn(tools, call.toolName) || tools[call.toolName]!.execute !== undefined);
    const answers = calls.map((call) => answer(tools, call, ends, part));
    const results = await Promise.race([Promise.all(answers), ended(ends)]);
    signal?.throwIfAborted();
    if (results === undefined) {
      result = { ...result, finishReason: "abort" };
      break;
    }
    const messages = [...result.messages, ...results];
    if (step >= maxSteps || calls.length < result.toolCalls.length) {
      result = { ...result, messages };
      break;
    }
    const next = await run(messages, show);
    result = {
      ...next,
      usage: total(result.usage, next.usage),
      ids: Uint32Array.from([...result.ids, ...next.ids]),
      ...(next.logprobs && { logprobs: [...(result.logprobs ?? []), ...next.logprobs] }),
    };
  }
  part?.({ type: "finish", finishReason: result.finishReason, usage: result.usage });
  return result;
}

/** The options of a step: a choice that forces a call is for the first one, or the model could never answer. */
export function optionsOfStep<T extends { toolChoice?: ToolChoice }>(options: T, first: boolean): T {
  const free = first || options.toolChoice === undefined || options.toolChoice === "none";
  return free ? options : { ...options, toolChoice: "auto" };
}

/** Calls `stop` if the signal aborts before a run of the model has ended. */
export function stopping<T>(run: Promise<T>, stopped: AbortSignal | undefined, stop: () => void): Promise<T> {
  if (stopped === undefined) return run;
  if (stopped.aborted) stop();
  stopped.addEventListener("abort", stop);
  return run.finally(() => stopped.removeEventListener("abort", stop));
}

/** Resolves when a signal aborts. */
function ended(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/** Runs a call: the turn with its result, or with what went wrong. */
async function answer(tools: Record<string, Tool>, { toolCallId, toolName, input }: ToolCall, signal: AbortSignal, part?: (part: StreamPart) => void): Promise<Message> {
  const about = { type: "tool-result", toolCallId, toolName } as const;
  const turn = (content: string): Message => ({ role: "tool", name: toolName, toolCallId, content });
  try {
    const tool = Object.hasOwn(tools, toolName) ? tools[toolName] : undefined;
    if (tool?.execute === undefined) throw new Error(`there is no tool named ${JSON.stringify(toolName)}`);
    const output = await tool.execute(JSON.parse(input), { toolCallId, signal });
    const content = typeof output === "string" ? output : JSON.stringify(output) ?? "null";
    if (!signal.aborted) part?.({ ...about, output });
    return turn(content);
  } catch (error) {
    const output = error instanceof Error ? error.message : String(error);
    if (!signal.aborted) part?.({ ...about, output, isError: true });
    return turn(`Error: ${output}`);
  }
}

/** The usage of two runs: counts and times are added; the first token is that of the first run. */
function total(a: Usage, b: Usage): Usage {
  const decodeMs = a.decodeMs + b.decodeMs;
  const outputTokens = a.outputTokens + b.outputTokens;
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    cachedTokens: a.cachedTokens + b.cachedTokens,
    outputTokens,
    reasoningTokens: a.reasoningTokens + b.reasoningTokens,
    prefillMs: a.prefillMs + b.prefillMs,
    decodeMs,
    timeToFirstTokenMs: a.timeToFirstTokenMs,
    tokensPerSecond: decodeMs > 0 ? (outputTokens / decodeMs) * 1000 : 0,
  };
}
