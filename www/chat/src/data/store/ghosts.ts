// Conversations that exist in this tab's memory only.

import { applyChange, makeTree } from "../tree";
import type { Change, Tree } from "../tree";
import type { Conversation, Draft, Message } from "../types";

interface Ghost {
  conversation: Conversation;
  tree: Tree;
  draft?: Draft;
}

/** Holds ghosts, which nothing writes anywhere. */
export class Ghosts {
  readonly #all = new Map<string, Ghost>();

  has(id: string): boolean {
    return this.#all.has(id);
  }

  create(conversation: Conversation): void {
    this.#all.set(conversation.id, { conversation, tree: makeTree([]) });
  }

  open(id: string): { conversation: Conversation; tree: Tree } {
    const { conversation, tree } = this.#get(id);
    return { conversation, tree };
  }

  /** As with what is stored, the first change brings the conversation's facts with it. */
  apply(conversation: Conversation, change: Change): Conversation {
    const { id } = conversation;
    const ghost = this.#get(id);
    if (ghost.tree.size === 0) ghost.conversation = { ...conversation, ghost: true };
    ghost.tree = applyChange(ghost.tree, structuredClone(change));
    return this.update(id, { leaf: change.leaf, updated: Date.now() });
  }

  /** What comes too late, after the ghost was deleted or the store locked, is gone with it. */
  putMessage(message: Message): void {
    const ghost = this.#all.get(message.conversation);
    if (ghost === undefined) return;
    ghost.tree = applyChange(ghost.tree, { put: [structuredClone(message)], remove: [], leaf: "" });
  }

  update(id: string, facts: Partial<Conversation>): Conversation {
    const ghost = this.#get(id);
    ghost.conversation = { ...ghost.conversation, ...facts };
    return ghost.conversation;
  }

  draft(id: string): Draft | undefined {
    return this.#get(id).draft;
  }

  putDraft(draft: Draft): void {
    this.#get(draft.conversation).draft = draft;
  }

  /** Forgets a ghost; nothing brings it back. */
  remove(id: string): void {
    this.#all.delete(id);
  }

  clear(): void {
    this.#all.clear();
  }

  #get(id: string): Ghost {
    const ghost = this.#all.get(id);
    if (ghost === undefined) throw new Error(`no ghost ${id}`);
    return ghost;
  }
}
