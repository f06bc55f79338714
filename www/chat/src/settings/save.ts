// Files for the user: conversations as Markdown or JSON.

import { exportJson, exportMarkdown, fileName } from "../data/transfer/export";
import { activePath } from "../data/tree";
import { t } from "../i18n";
import type { App } from "../state/app";

/** Offers a file to the user as a download. */
export function saveFile(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Saves one conversation: the branch that is shown as Markdown, or all of them as JSON. */
export async function saveConversation(
  { store, chat, presets, preferences }: App,
  id: string,
  as: "markdown" | "json",
): Promise<void> {
  const shown = chat.conversation.peek();
  // What is on the page may not be in the store: it may be full.
  const opened =
    shown.id === id && chat.tree.peek().size > 0 ? { conversation: shown, tree: chat.now() } : await store.open(id);
  const { conversation, tree } = opened;
  const title = conversation.title || t.peek().sidebar.untitled;
  if (as === "json") return saveFile(await exportJson([opened]), fileName(title, "json"));
  const { you, assistant, tool, system, thought } = t.peek().chat;
  const instructions = conversation.system ?? presets.of(conversation, preferences.settings.peek()).system;
  const text = exportMarkdown(
    title,
    activePath(tree, conversation.leaf),
    { user: you, assistant, tool, system, reasoning: thought },
    instructions,
  );
  saveFile(new Blob([text], { type: "text/markdown" }), fileName(title, "md"));
}
