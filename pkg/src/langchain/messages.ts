// Translates messages.

import type { AIMessage, BaseMessage, ChatMessage, ToolMessage } from "@langchain/core/messages";
import { unsupported } from "../errors.js";
import type { InputMessage, Role } from "../types.js";

/** The roles of LangChain's types of messages. */
const ROLES: Partial<Record<string, Role>> = { human: "user", ai: "assistant", system: "system", developer: "developer", tool: "tool" };

export function messagesOf(messages: readonly BaseMessage[]): InputMessage[] {
  return messages.map((message, i) => messageOf(message, `messages[${i}]`));
}

function messageOf(message: BaseMessage, where: string): InputMessage {
  const type = message.getType();
  const role = (type === "generic" ? (message as ChatMessage).role : ROLES[type]) as Role | undefined;
  if (role === undefined) throw unsupported(where, `messages of type "${type}" cannot be shown to the model`);
  const { text, reasoning } = contentOf(message.content, where);
  const given = { role, content: text, ...(message.name !== undefined && { name: message.name }) };
  if (type === "tool") return { ...given, toolCallId: (message as ToolMessage).tool_call_id };
  if (type !== "ai") return given;
  const { tool_calls: calls = [], additional_kwargs } = message as AIMessage;
  const thoughts = reasoning || (additional_kwargs["reasoning_content"] as string | undefined);
  return {
    ...given,
    ...(thoughts && { reasoning: thoughts }),
    ...(calls.length > 0 && { toolCalls: calls.map((call, i) => ({ toolCallId: call.id ?? `${where}.${i}`, toolName: call.name, input: JSON.stringify(call.args) })) }),
  };
}

/** The text and the reasoning of a content. Calls in it are in `tool_calls`, too. */
function contentOf(content: BaseMessage["content"], where: string): { text: string; reasoning: string } {
  if (typeof content === "string") return { text: content, reasoning: "" };
  const all = { text: "", reasoning: "" };
  for (const [i, block] of content.entries()) {
    if (block.type === "text") all.text += block["text"] as string;
    else if (block.type === "reasoning") all.reasoning += block["reasoning"] as string;
    else if (block.type !== "tool_call") throw unsupported(`${where}.content[${i}]`, `a block of type "${block.type}" cannot be shown to the model`);
  }
  return all;
}
