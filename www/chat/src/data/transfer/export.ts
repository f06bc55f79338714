// Exports: everything as JSON, one conversation as Markdown.

import type { Opened } from "../store";
import { withAttachments } from "../attachments/prompt";
import type { Message, Preset } from "../types";

/** The words of a Markdown export. */
export interface MarkdownStrings {
  user: string;
  assistant: string;
  tool: string;
  system: string;
  reasoning: string;
}

/** What an export says it is. Readers refuse a later version; a change that older readers would misunderstand makes one. */
export const FORMAT = "minke-chat";
export const VERSION = 1;

/**
 * Conversations and presets as JSON:
 *
 * `{ "format": "minke-chat", "version": 1, "exported": "2026-12-01T…Z", "presets": Preset[],
 *    "conversations": { "conversation": Conversation, "messages": Message[] }[] }`, with the types of `types.ts`. All branches are there; a
 * message's `parent` is a message of the same conversation, or its `root`.
 */
export async function exportJson(
  conversations: AsyncIterable<Opened> | Iterable<Opened>,
  presets: readonly Preset[] = [],
): Promise<Blob> {
  const head = JSON.stringify({ format: FORMAT, version: VERSION, exported: new Date().toISOString(), presets }).slice(
    0,
    -1,
  );
  // One by one: thousands of conversations as one string may be longer than strings can be.
  const parts = [`${head},"conversations":[`];
  let first = true;
  for await (const { conversation, tree } of conversations) {
    parts.push(`${first ? "" : ","}\n${JSON.stringify({ conversation, messages: [...tree.values()] })}`);
    first = false;
  }
  parts.push("\n]}\n");
  return new Blob(parts, { type: "application/json" });
}

/** A branch of a conversation as a document for people. */
export function exportMarkdown(title: string, path: readonly Message[], strings: MarkdownStrings, system = ""): string {
  const parts = [`# ${title.replace(/\s+/g, " ").trim()}`];
  if (system.trim() !== "") parts.push(`## ${strings.system}`, system.trim());
  for (const message of path) {
    parts.push(`## ${strings[message.role]}`);
    if (message.reasoning?.trim()) parts.push(`> **${strings.reasoning}**\n>\n${quote(message.reasoning.trim())}`);
    for (const call of message.calls ?? [])
      parts.push(fence(`${call.name}(${call.input})${call.output === undefined ? "" : `\n→ ${call.output}`}`));
    const text = withAttachments(message.text, message.attachments).trim();
    if (text !== "") parts.push(closed(text));
  }
  return `${parts.join("\n\n")}\n`;
}

/** A name for an exported file: the title, safe in every file system. */
export function fileName(title: string, extension: string): string {
  const safe = title
    .normalize("NFC")
    .replace(/[\p{C}\p{Z}<>:"/\\|?*.]+/gu, " ")
    .trim();
  const short = [...safe].slice(0, 60).join("").trim();
  // Names of devices on Windows.
  const name = short === "" || /^(con|prn|aux|nul|com\d|lpt\d)$/i.test(short) ? `chat ${short}`.trim() : short;
  return `${name}.${extension}`;
}

const quote = (text: string): string =>
  text
    .split("\n")
    .map((line) => (line === "" ? ">" : `> ${line}`))
    .join("\n");

/** Code in a fence that nothing in it closes. */
export function fence(code: string, info = ""): string {
  const longest = Math.max(2, ...[...code.matchAll(/`+/g)].map(([run]) => run.length));
  const marks = "`".repeat(longest + 1);
  return `${marks}${info}\n${code}\n${marks}`;
}

/** A text whose last fence is closed, so that it does not take in what follows it. */
function closed(text: string): string {
  let open: string | undefined;
  for (const line of text.split("\n")) {
    const marks = /^ {0,3}(`{3,}|~{3,})(.*)$/.exec(line);
    if (!marks) continue;
    if (open === undefined) open = marks[1];
    else if (marks[1]![0] === open[0] && marks[1]!.length >= open.length && marks[2]!.trim() === "") open = undefined;
  }
  return open === undefined ? text : `${text}\n${open}`;
}
