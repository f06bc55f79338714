// What is not chosen yet.

import { newId } from "../ids";
import type { Conversation, Settings } from "../types";

export const DEFAULT_SETTINGS: Settings = {
  language: "auto",
  theme: "auto",
  enterSends: true,
  logprobs: false,
  showStats: true,
  wrapCode: false,
  confirmLinks: true,
  ghostByDefault: false,
  sidebar: true,
  lockAfter: 0,
  other: {},
};

/** A conversation without messages. */
export function emptyConversation(from: Partial<Conversation> = {}): Conversation {
  const now = Date.now();
  const root = from.root ?? newId();
  return { id: newId(), title: "", created: now, updated: now, pinned: false, tags: [], root, leaf: root, ...from };
}
