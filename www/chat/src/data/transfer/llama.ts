// Imports of llama.cpp's web UI: JSON with one or several `{ conv, messages }`, or the newer JSONL, in which a line of type "session" is
// followed by one line of type "message" for each message.

import { newId } from "../ids";
import { emptyConversation } from "../store/defaults";
import { makeTree } from "../tree";
import type { Attachment, Conversation, Message, ToolCall } from "../types";
import { Ancestry } from "./ancestry";
import { Checked, defined } from "./checked";
import type { Imported, Skipped } from "./types";

/** A conversation of a file, wherever its parts stand. */
interface Session {
  conv: Checked;
  messages: Checked[];
}

const has = (value: unknown, ...names: string[]): boolean =>
  typeof value === "object" && value !== null && names.every((name) => name in value);

/** Whether a value is of the older form. */
export const isLlama = (value: unknown): boolean =>
  Array.isArray(value) ? value.some((one) => has(one, "conv", "messages")) : has(value, "conv", "messages");

/** Whether a text is of the newer form: its first line is a session. */
export function isLlamaLines(text: string): boolean {
  const first = text.trimStart().split("\n", 1)[0]!;
  try {
    return first.startsWith("{") && (JSON.parse(first) as { type?: unknown }).type === "session";
  } catch {
    return false;
  }
}

export function readLlama(file: Checked): Imported {
  const list = Array.isArray(file.value) ? file.list() : [file];
  return readSessions(list.map((one) => ({ conv: one.get("conv"), messages: one.get("messages").list() })));
}

/** Reads JSONL; `where` names the file of an archive. */
export function readLlamaLines(text: string, where = ""): Imported {
  const sessions: Session[] = [];
  const skipped: Skipped[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const at = `${where}line ${i + 1}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      new Checked(line, "llama.cpp", at).fail("JSON");
    }
    const record = new Checked(value, "llama.cpp", at);
    const type = record.get("type").text();
    if (type === "session") sessions.push({ conv: record, messages: [] });
    else if (type !== "message") skipped.push(record.skip("field", type));
    else (sessions.at(-1) ?? record.fail("a session before it")).messages.push(record.get("message"));
  }
  const imported = readSessions(sessions);
  return { ...imported, skipped: [...skipped, ...imported.skipped] };
}

function readSessions(sessions: readonly Session[]): Imported {
  const skipped: Skipped[] = [];
  const conversations = sessions.map((session) => readSession(session, skipped)).filter((one) => one !== undefined);
  return { format: "llama.cpp", conversations, presets: [], skipped };
}

function readSession(
  { conv, messages: items }: Session,
  skipped: Skipped[],
): { conversation: Conversation; messages: Message[] } | undefined {
  const updated = conv.get("lastModified").maybe((value) => value.number()) ?? Date.now();
  const conversation = emptyConversation({
    id: conv.get("id").maybe((value) => value.text()) ?? newId(),
    title: conv.get("name").maybe((value) => value.text()) ?? "",
    created: updated,
    updated,
  });
  const nodes = new Ancestry(conversation.root, skipped);
  const read: Message[] = [];
  for (const item of items) {
    const id = idOf(item.get("id"));
    const message = readMessage(item, id, conversation, skipped);
    nodes.add(
      id,
      item.get("parent").maybe((value) => (value.value === -1 ? undefined : idOf(value))),
      item,
      message !== undefined,
    );
    if (message !== undefined) read.push(message);
  }
  nodes.check();
  for (const message of read) message.parent = nodes.parentOf(message.id);
  const messages = [...makeTree(read).values()];
  if (messages.length === 0) {
    skipped.push(conv.skip("empty", conversation.title));
    return undefined;
  }
  const leaf = nodes.nearest(conv.get("currNode").maybe(idOf));
  return {
    conversation: {
      ...conversation,
      created: messages[0]!.created,
      leaf: leaf === conversation.root ? messages.at(-1)!.id : leaf,
    },
    messages,
  };
}

/** Ids were numbers once. */
const idOf = (value: Checked): string => (typeof value.value === "number" ? String(value.value) : value.text());

function readMessage(item: Checked, id: string, conversation: Conversation, skipped: Skipped[]): Message | undefined {
  const role = item.get("role").text();
  const type = item.get("type").maybe((value) => value.text());
  const content = item.get("content");
  // The root of a tree is a message without content.
  if (type === "root") return undefined;
  const text = content.maybe((value) => value.text()) ?? "";
  if (role === "system") {
    if (text.trim() !== "") conversation.system ??= text;
    return undefined;
  }
  if (role !== "user" && role !== "assistant" && role !== "tool") return void skipped.push(item.skip("role", role));
  const optional = (name: string) => item.get(name).maybe((value) => value.text());
  const reasoning = optional("reasoningContent") || optional("thinking") || undefined;
  const calls = readCalls(item.get("toolCalls"), skipped);
  const attachments = (item.get("extra").maybe((list) => list.list()) ?? [])
    .map((one) => readExtra(one, skipped))
    .filter((one) => one !== undefined);
  if (text.trim() === "" && !reasoning && !calls && attachments.length === 0)
    return void skipped.push(item.skip("empty", role));
  const timings = item.get("timings");
  const figure = (name: string) => (timings.absent ? undefined : timings.get(name).maybe((value) => value.number()));
  const [prompt, predicted, predictedMs] = [figure("prompt_n"), figure("predicted_n"), figure("predicted_ms")];
  return defined<Message>({
    id,
    conversation: conversation.id,
    parent: conversation.root,
    role,
    text,
    reasoning,
    calls,
    callId: optional("toolCallId"),
    created: item.get("timestamp").maybe((value) => value.number()) ?? conversation.created,
    attachments: attachments.length > 0 ? attachments : undefined,
    model: optional("model"),
    stats:
      predicted && predictedMs
        ? {
            promptTokens: (prompt ?? 0) + (figure("cache_n") ?? 0),
            tokens: predicted,
            firstTokenMs: figure("prompt_ms") ?? 0,
            tokensPerSecond: (1000 * predicted) / predictedMs,
          }
        : undefined,
    ...(role === "assistant" && { finish: "stop" as const }),
  });
}

/** Calls in OpenAI's form: a list, or JSON text of one. */
function readCalls(value: Checked, skipped: Skipped[]): ToolCall[] | undefined {
  if (value.absent || value.value === "") return undefined;
  let list = value;
  if (typeof value.value === "string") {
    try {
      list = new Checked(JSON.parse(value.value), value.format, value.where);
    } catch {
      skipped.push(value.skip("field", "tool calls"));
      return undefined;
    }
  }
  const calls = list.list().map((call) => ({
    id: call.get("id").maybe((id) => id.text()) ?? newId(),
    name:
      call
        .get("function")
        .get("name")
        .maybe((name) => name.text()) ?? "",
    input:
      call
        .get("function")
        .get("arguments")
        .maybe((input) => input.text()) ?? "",
  }));
  return calls.length > 0 ? calls : undefined;
}

/** An attached file that has text. */
function readExtra(extra: Checked, skipped: Skipped[]): Attachment | undefined {
  const type = extra.get("type").text();
  const kinds: Record<string, Attachment["kind"]> = {
    TEXT: "text",
    textFile: "text",
    context: "text",
    PDF: "pdf",
    pdfFile: "pdf",
    MCP_PROMPT: "text",
    MCP_RESOURCE: "text",
  };
  const kind = Object.entries(kinds).find(([name]) => name.toLowerCase() === type.toLowerCase())?.[1];
  const content = extra.get("content").maybe((value) => value.text()) ?? "";
  if (kind === undefined || content === "") return void skipped.push(extra.skip("media", type));
  const name = extra.get("name").maybe((value) => value.text()) ?? type;
  return {
    id: newId(),
    name,
    kind,
    title: name,
    text: content,
    bytes: extra.get("size").maybe((value) => value.number()) ?? content.length,
  };
}
