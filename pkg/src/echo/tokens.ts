// The echo model's tokenizer: a token is a byte of UTF-8, or one of a few marks between messages.

import type { Message, Tool } from "../types.js";

/** The marks, whose ids follow those of the 256 bytes. */
const MARKS = ["<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"] as const;
type Mark = (typeof MARKS)[number];

const BYTES = 256;
export const VOCABULARY = BYTES + MARKS.length;

const mark = (name: Mark): number => BYTES + MARKS.indexOf(name);
/** Ends a message. */
export const END = mark("<|end|>");

const utf8 = new TextEncoder();

/** The ids of a text; marks in it are ordinary text unless `marks` is true. */
export function encode(text: string, marks: boolean): number[] {
  if (!marks) return [...utf8.encode(text)];
  return text.split(/(<\|(?:system|user|assistant|tool|end)\|>)/).flatMap((piece, i) => (i % 2 === 1 ? [mark(piece as Mark)] : [...utf8.encode(piece)]));
}

/** The text of ids; ids outside the vocabulary are left out. */
export function decode(ids: Iterable<number>, skipMarks: boolean): string {
  const bytes: number[] = [];
  for (const id of ids) {
    if (id < BYTES) bytes.push(id);
    else if (id < VOCABULARY && !skipMarks) bytes.push(...utf8.encode(MARKS[id - BYTES]));
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}

/** The text of a token, if it is a whole character. */
export const tokenText = (id: number): string => decode([id], false);

/** The bytes of a token. */
export const tokenBytes = (id: number): number[] => (id < BYTES ? [id] : [...utf8.encode(MARKS[id - BYTES] ?? "")]);

interface Template {
  tools?: Record<string, Tool>;
  addGenerationPrompt?: boolean;
}

/** A conversation in the echo model's chat format, as marks and the texts between them. */
function* rendered(messages: readonly Message[], { tools, addGenerationPrompt }: Template): Generator<{ mark: Mark } | { text: string }> {
  if (tools !== undefined && Object.keys(tools).length > 0) {
    const offered = Object.entries(tools).map(([name, { description, inputSchema }]) => ({ name, description, parameters: inputSchema }));
    yield { mark: "<|system|>" };
    yield { text: JSON.stringify({ tools: offered }) };
    yield { mark: "<|end|>" };
  }
  for (const { role, content, toolCalls = [], prefix } of messages) {
    yield { mark: `<|${role === "developer" ? "system" : role}|>` };
    yield { text: content };
    for (const { toolName, input } of toolCalls) yield { text: `\n${JSON.stringify({ name: toolName, arguments: input })}` };
    if (prefix) return;
    yield { mark: "<|end|>" };
  }
  if (addGenerationPrompt) yield { mark: "<|assistant|>" };
}

export function applyChatTemplate(messages: readonly Message[], options: Template): string {
  return [...rendered(messages, options)].map((part) => ("mark" in part ? part.mark : part.text)).join("");
}

export function encodeMessages(messages: readonly Message[], options: Template): number[] {
  return [...rendered(messages, options)].flatMap((part) => ("mark" in part ? [mark(part.mark)] : encode(part.text, false)));
}
