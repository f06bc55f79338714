// Standard content of our messages.

import type { AIMessage, ContentBlock } from "@langchain/core/messages";

/** The name of our messages' provider, in `response_metadata`. */
export const PROVIDER = "minke";

/** The reasoning, the text and the calls of a message. */
function blocksOf({ content, additional_kwargs, tool_calls = [] }: AIMessage): ContentBlock.Standard[] {
  // `text` of a message is made of its blocks.
  const text = typeof content === "string" ? content : content.map((block) => (block.type === "text" ? (block["text"] as string) : "")).join("");
  const { reasoning_content: reasoning } = additional_kwargs as { reasoning_content?: string };
  return [
    ...(reasoning ? [{ type: "reasoning" as const, reasoning }] : []),
    ...(text === "" ? [] : [{ type: "text" as const, text }]),
    ...tool_calls.map(({ id, name, args }) => ({ type: "tool_call" as const, id, name, args })),
  ];
}

/**
 * Tells LangChain how `contentBlocks` of our messages are made. It looks translators up by provider in this registry, which it shares
 * between copies of itself; without it, blocks have no reasoning.
 */
export function registerBlocks(): void {
  const { lc_block_translators_registry: registry } = globalThis as { lc_block_translators_registry?: Map<string, object> };
  registry?.set(PROVIDER, { translateContent: blocksOf, translateContentChunk: blocksOf });
}
