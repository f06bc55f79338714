// A branch of a conversation as the model reads it, and what to do when it is too long.

import type { GenerateOptions, InputMessage, Model } from "minke";
import { withAttachments } from "../data/attachments/prompt";
import type { Message, Preset } from "../data/types";

/** Tokens that are kept free for an answer, or a quarter of a short context. */
export const RESERVED = 512;
export const reserved = (contextLength: number): number => Math.min(RESERVED, Math.floor(contextLength / 4));

/** Messages for the model: the system prompt, and each turn with its attachments and the results of its calls. */
export function promptOf(system: string, path: readonly Message[]): InputMessage[] {
  const from = path.findLastIndex((message) => message.summary !== undefined);
  const summary = path[from]?.summary;
  const instructions = summary === undefined ? system : [system, EARLIER + summary].filter(Boolean).join("\n\n");
  return [
    ...(instructions.trim() === "" ? [] : [{ role: "system" as const, content: instructions }]),
    ...path.slice(Math.max(0, from)).flatMap(turns),
  ];
}

const EARLIER = "What was said before, in short:\n";

function turns(message: Message): InputMessage[] {
  const { role, text, reasoning, calls = [], callId } = message;
  if (role === "user") return [{ role, content: withAttachments(text, message.attachments) }];
  if (role === "tool") return [{ role, content: text, ...(callId !== undefined && { toolCallId: callId }) }];
  const thought = reasoning === undefined ? {} : { reasoning };
  // A call that has no result, since the answer was stopped or the page closed, is no part of what the model knows.
  const done = calls.filter(({ output }) => output !== undefined);
  if (done.length === 0) return text === "" && reasoning === undefined ? [] : [{ role, content: text, ...thought }];
  return [
    { role, content: "", toolCalls: done.map(({ id, name, input }) => ({ toolCallId: id, toolName: name, input })) },
    ...done.map(({ id, output = "" }) => ({ role: "tool" as const, content: output, toolCallId: id })),
    ...(text === "" ? [] : [{ role, content: text, ...thought }]),
  ];
}

/** How the preset says to sample; what it leaves open is the model's own. */
export function optionsOf({ sampling, reasoning }: Preset): GenerateOptions {
  const { maxTokens, stop, ...rest } = sampling;
  return {
    ...rest,
    ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
    ...(stop !== undefined && stop.length > 0 && { stopSequences: stop }),
    ...(reasoning !== "auto" && { reasoning: reasoning === "none" ? reasoning : { maxTokens: reasoning } }),
  };
}

/** Tokens of messages with the header of an answer. */
export async function tokensOf(
  model: Model,
  messages: readonly InputMessage[],
  tools: GenerateOptions["tools"],
): Promise<number> {
  if (messages.length === 0) return 0;
  return (await model.tokenizer.encodeMessages(messages, { addGenerationPrompt: true, ...(tools && { tools }) }))
    .length;
}

/**
 * The index of the first message of the path to be read, so that it fits in `room` tokens: the earliest question that does, or the last
 * one. A binary search, since a template may say different things in longer conversations.
 */
export async function firstThatFits(
  path: readonly Message[],
  room: number,
  count: (path: readonly Message[]) => Promise<number>,
): Promise<number> {
  const starts = path.flatMap(({ role }, at) => (role === "user" ? [at] : []));
  let [low, high] = [0, starts.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((await count(path.slice(starts[middle]))) <= room) high = middle;
    else low = middle + 1;
  }
  return starts[Math.max(0, low)] ?? 0;
}

/** The request for a summary of what no longer fits. */
export function summaryRequest(messages: readonly InputMessage[]): InputMessage[] {
  const transcript = messages
    .filter(({ role, content }) => role !== "tool" && typeof content === "string" && content !== "")
    .map(({ role, content }) => `${role}: ${content as string}`)
    .join("\n\n");
  return [
    {
      role: "user",
      content: `${transcript}\n\n---\nSummarise this conversation in at most 150 words, in its own language. Keep names, numbers, decisions and open questions. Write the summary only.`,
    },
  ];
}
