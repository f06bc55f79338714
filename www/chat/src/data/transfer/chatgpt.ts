// Imports of ChatGPT's conversations.json: a list of conversations, each with a `mapping` of nodes by id.

import { newId } from "../ids";
import { emptyConversation } from "../store/defaults";
import { makeTree } from "../tree";
import type { Conversation, Message, Role } from "../types";
import { Ancestry } from "./ancestry";
import { defined } from "./checked";
import type { Checked } from "./checked";
import type { Imported, Skipped } from "./types";

/** Whether a value looks like such an export. */
export const isChatGpt = (value: unknown): boolean =>
  Array.isArray(value) && value.some((one) => typeof one === "object" && one !== null && "mapping" in one);

export function readChatGpt(file: Checked): Imported {
  const skipped: Skipped[] = [];
  const conversations = file.list().map((one) => readConversation(one, skipped));
  return { format: "chatgpt", conversations: conversations.filter((one) => one !== undefined), presets: [], skipped };
}

function readConversation(
  one: Checked,
  skipped: Skipped[],
): { conversation: Conversation; messages: Message[] } | undefined {
  const seconds = (name: string) => one.get(name).maybe((value) => value.number() * 1000);
  const created = seconds("create_time") ?? Date.now();
  const conversation = emptyConversation(
    defined({
      id:
        one.get("conversation_id").maybe((value) => value.text()) ??
        one.get("id").maybe((value) => value.text()) ??
        newId(),
      title: one.get("title").maybe((value) => value.text()) ?? "",
      created,
      updated: seconds("update_time") ?? created,
      model: undefined,
      tags: [],
    }),
  );
  const mapping = one.get("mapping");
  const messages: Message[] = [];
  const nodes = new Ancestry(conversation.root, skipped);
  for (const id of Object.keys(mapping.object())) {
    const node = mapping.get(id);
    const message = node.get("message");
    const read = message.absent ? undefined : readMessage(message, id, conversation, created, skipped);
    if (read !== undefined) messages.push(read);
    nodes.add(
      id,
      node.get("parent").maybe((value) => value.text()),
      node,
      read !== undefined,
    );
  }
  nodes.check();
  for (const message of messages) message.parent = nodes.parentOf(message.id);
  if (messages.length === 0) {
    skipped.push(one.skip("empty", conversation.title));
    return undefined;
  }
  const current = one.get("current_node").maybe((value) => value.text());
  const leaf = nodes.nearest(current);
  const sorted = [...makeTree(messages).values()];
  return {
    conversation: { ...conversation, leaf: leaf === conversation.root ? sorted.at(-1)!.id : leaf },
    messages: sorted,
  };
}

function readMessage(
  message: Checked,
  id: string,
  conversation: Conversation,
  created: number,
  skipped: Skipped[],
): Message | undefined {
  const author = message.get("author").get("role").text();
  const skip = (reason: Skipped["reason"], what?: string) => void skipped.push(message.skip(reason, what));
  const metadata = message.get("metadata");
  if (!metadata.absent && metadata.get("is_visually_hidden_from_conversation").value === true)
    return skip("hidden", author);
  const { text, reasoning } = readContent(message.get("content"), skipped);
  if (author === "system") {
    if (text.trim() === "") return undefined;
    conversation.system ??= text;
    return undefined;
  }
  if (author !== "user" && author !== "assistant" && author !== "tool") return skip("role", author);
  if (text.trim() === "" && reasoning === undefined) return skip("empty", author);
  const model = metadata.absent ? undefined : metadata.get("model_slug").maybe((value) => value.text());
  return defined<Message>({
    id,
    conversation: conversation.id,
    parent: conversation.root,
    role: author satisfies Role,
    created: message.get("create_time").maybe((value) => value.number() * 1000) ?? created,
    text,
    reasoning,
    model,
    ...(author === "assistant" && { finish: "stop" as const }),
  });
}

/** The text of a message's content, by its type. */
function readContent(content: Checked, skipped: Skipped[]): { text: string; reasoning?: string } {
  if (content.absent) return { text: "" };
  const type = content.get("content_type").text();
  const parts = () => content.get("parts").maybe((list) => list.list()) ?? [];
  if (type === "text" || type === "multimodal_text") {
    const texts: string[] = [];
    for (const part of parts()) {
      if (typeof part.value === "string") texts.push(part.value);
      else if (part.absent) continue;
      else {
        const kind = part.get("content_type").maybe((value) => value.text());
        // A transcript of what was said.
        if (kind === "audio_transcription") texts.push(part.get("text").text());
        else skipped.push(part.skip("media", kind));
      }
    }
    return { text: texts.join("\n\n") };
  }
  if (type === "code" || type === "execution_output" || type === "tether_quote" || type === "system_error") {
    const text = content.get("text").maybe((value) => value.text()) ?? "";
    return { text: type === "code" && text !== "" ? `\`\`\`\n${text}\n\`\`\`` : text };
  }
  if (type === "thoughts") {
    const thoughts = content
      .get("thoughts")
      .list()
      .map((one) =>
        [one.get("summary"), one.get("content")]
          .map((part) => part.maybe((value) => value.text()) ?? "")
          .filter((part) => part !== "")
          .join("\n"),
      );
    return { text: "", reasoning: thoughts.join("\n\n") };
  }
  if (
    type === "reasoning_recap" ||
    type === "user_editable_context" ||
    type === "model_editable_context" ||
    type === "tether_browsing_display"
  ) {
    skipped.push(content.skip("hidden", type));
    return { text: "" };
  }
  skipped.push(content.skip("field", type));
  return { text: "" };
}
