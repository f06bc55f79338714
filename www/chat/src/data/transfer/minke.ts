// Imports of this application's own exports.

import { makeTree } from "../tree";
import type { Attachment, Conversation, Message, Preset, Sampling, Stats, TokenLogprob, ToolCall } from "../types";
import { Ancestry } from "./ancestry";
import { defined } from "./checked";
import type { Checked } from "./checked";
import { FORMAT, VERSION } from "./export";
import type { Imported, Skipped } from "./types";

/** Whether a value says that it is such an export. */
export const isMinke = (value: unknown): boolean =>
  typeof value === "object" && value !== null && (value as { format?: unknown }).format === FORMAT;

export function readMinke(file: Checked): Imported {
  const version = file.get("version");
  if (version.number() > VERSION || version.number() < 1) version.fail(`a version up to ${VERSION}`);
  const skipped: Skipped[] = [];
  const conversations = file
    .get("conversations")
    .list()
    .map((one) => readConversation(one, skipped));
  const presets = file.get("presets").maybe((list) => list.list().map(readPreset)) ?? [];
  return { format: "minke", conversations, presets, skipped };
}

function readConversation(one: Checked, skipped: Skipped[]): { conversation: Conversation; messages: Message[] } {
  const facts = one.get("conversation");
  const text = (name: string) => facts.get(name).maybe((value) => value.text());
  const conversation: Conversation = defined({
    id: facts.get("id").text(),
    title: facts.get("title").text(),
    created: facts.get("created").number(),
    updated: facts.get("updated").number(),
    pinned: facts.get("pinned").flag(),
    folder: text("folder"),
    tags: facts
      .get("tags")
      .list()
      .map((tag) => tag.text()),
    model: text("model"),
    preset: text("preset"),
    system: text("system"),
    root: facts.get("root").text(),
    leaf: facts.get("leaf").text(),
  });
  const nodes = new Ancestry(conversation.root, skipped);
  const read = one
    .get("messages")
    .list()
    .map((item) => {
      const message = readMessage(item, conversation.id);
      nodes.add(message.id, message.parent, item, true);
      return message;
    });
  nodes.check();
  for (const message of read) message.parent = nodes.parentOf(message.id);
  const messages = [...makeTree(read).values()];
  if (!nodes.has(conversation.leaf)) conversation.leaf = messages.at(-1)?.id ?? conversation.root;
  return { conversation, messages };
}

function readMessage(item: Checked, conversation: string): Message {
  const text = (name: string) => item.get(name).maybe((value) => value.text());
  const finish = item
    .get("finish")
    .maybe((value) => value.oneOf("streaming", "stop", "length", "tool-calls", "abort", "error"));
  return defined<Message>({
    id: item.get("id").text(),
    conversation,
    parent: item.get("parent").text(),
    role: item.get("role").oneOf("user", "assistant", "tool"),
    created: item.get("created").number(),
    text: item.get("text").text(),
    reasoning: text("reasoning"),
    summary: text("summary"),
    reasoningMs: item.get("reasoningMs").maybe((value) => value.number()),
    calls: item.get("calls").maybe((list) => list.list().map(readCall)),
    callId: text("callId"),
    attachments: item.get("attachments").maybe((list) => list.list().map(readAttached)),
    stats: item.get("stats").maybe(readStats),
    finish: finish === "streaming" ? "abort" : finish,
    error: text("error"),
    model: text("model"),
    logprobs: item.get("logprobs").maybe((list) => list.list().map(readLogprob)),
  });
}

const readCall = (item: Checked): ToolCall =>
  defined({
    id: item.get("id").text(),
    name: item.get("name").text(),
    input: item.get("input").text(),
    output: item.get("output").maybe((value) => value.text()),
    failed: item.get("failed").maybe((value) => value.flag()),
  });

const readAttached = (item: Checked): Attachment =>
  defined({
    id: item.get("id").text(),
    name: item.get("name").text(),
    kind: item.get("kind").oneOf("text", "markdown", "code", "csv", "json", "html", "pdf"),
    title: item.get("title").text(),
    text: item.get("text").text(),
    bytes: item.get("bytes").number(),
    pages: item.get("pages").maybe((value) => value.number()),
    language: item.get("language").maybe((value) => value.text()),
  });

const readStats = (item: Checked): Stats =>
  defined({
    promptTokens: item.get("promptTokens").number(),
    cachedTokens: item.get("cachedTokens").maybe((value) => value.number()),
    tokens: item.get("tokens").number(),
    reasoningTokens: item.get("reasoningTokens").maybe((value) => value.number()),
    firstTokenMs: item.get("firstTokenMs").number(),
    tokensPerSecond: item.get("tokensPerSecond").number(),
  });

const readLogprob = (item: Checked): TokenLogprob =>
  defined({
    token: item.get("token").text(),
    logprob: item.get("logprob").number(),
    top: item
      .get("top")
      .maybe((list) =>
        list.list().map((one) => ({ token: one.get("token").text(), logprob: one.get("logprob").number() })),
      ),
  });

function readPreset(item: Checked): Preset {
  const from = item.get("sampling");
  const number = (name: string) => from.get(name).maybe((value) => value.number());
  const sampling: Sampling = defined({
    temperature: number("temperature"),
    topP: number("topP"),
    topK: number("topK"),
    minP: number("minP"),
    repetitionPenalty: number("repetitionPenalty"),
    presencePenalty: number("presencePenalty"),
    frequencyPenalty: number("frequencyPenalty"),
    seed: number("seed"),
    maxTokens: number("maxTokens"),
    stop: from.get("stop").maybe((list) => list.list().map((one) => one.text())),
  });
  const reasoning = item.get("reasoning");
  return {
    id: item.get("id").text(),
    name: item.get("name").text(),
    system: item.get("system").text(),
    sampling,
    reasoning: typeof reasoning.value === "number" ? reasoning.number() : reasoning.oneOf("auto", "none"),
    updated: item.get("updated").number(),
  };
}
