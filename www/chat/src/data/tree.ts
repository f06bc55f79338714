// Pure functions on the tree of a conversation's messages. Nothing here changes what it is given.

import { newId } from "./ids";
import type { Attachment, Conversation, Message, Role } from "./types";

/** The messages of a conversation by id, in the order in which they were added. */
export type Tree = ReadonlyMap<string, Message>;

/** A change to a conversation's messages: what to store, and which branch is then shown. */
export interface Change {
  /** New messages, and ones that changed. */
  put: Message[];
  /** Ids of messages that are deleted. */
  remove: string[];
  /** The leaf of the branch that is then shown. */
  leaf: string;
}

/** Messages with the same parent, and the place of one among them. */
export interface Siblings {
  /** Ids, the oldest first. */
  ids: string[];
  /** From 0. */
  index: number;
}

/** A row of an outline. */
export interface OutlineRow {
  id: string;
  role: Role;
  /** The beginning of the message's text, on one line. */
  summary: string;
  /** The number of forks between the root and this message. */
  depth: number;
  /** Whether it is on the branch that is shown. */
  active: boolean;
  /** The number of answers to it, or of messages that go on from it; the tree forks where there are several. */
  children: number;
}

/** What a message begins with; the rest is filled in. */
export type NewMessage = Pick<Message, "role" | "text"> & Partial<Omit<Message, "id" | "conversation" | "parent">>;

/** Characters of an outline's summary. */
const SUMMARY = 120;

/** A tree of messages in any order; they are sorted by the time of their creation, parents first. */
export function makeTree(messages: Iterable<Message>): Tree {
  const sorted = [...messages].sort((a, b) => a.created - b.created);
  const all = new Map(sorted.map((message) => [message.id, message]));
  const tree = new Map<string, Message>();
  for (const message of sorted) {
    // Its ancestors that are not there yet; a parent may be as old as its child, and clocks go back.
    const chain: Message[] = [];
    for (let at: Message | undefined = message; at && !tree.has(at.id) && !chain.includes(at); at = all.get(at.parent))
      chain.push(at);
    for (const one of chain.reverse()) tree.set(one.id, one);
  }
  return tree;
}

/** A tree after a change. */
export function applyChange(tree: Tree, change: Change): Tree {
  const next = new Map(tree);
  for (const id of change.remove) next.delete(id);
  for (const message of change.put) next.set(message.id, message);
  return next;
}

/** The change that takes `change` back, for a tree and a leaf as they were before it. */
export function inverse(tree: Tree, leaf: string, change: Change): Change {
  const touched = [...change.remove, ...change.put.map((message) => message.id)];
  return {
    put: touched.map((id) => tree.get(id)).filter((message) => message !== undefined),
    remove: change.put.filter((message) => !tree.has(message.id)).map((message) => message.id),
    leaf,
  };
}

/** The messages from the first to `leaf`. Of a tree with a gap, those after the gap. */
export function activePath(tree: Tree, leaf: string): Message[] {
  const path: Message[] = [];
  const seen = new Set<string>();
  for (let at = tree.get(leaf); at && !seen.has(at.id); at = tree.get(at.parent)) {
    seen.add(at.id);
    path.push(at);
  }
  return path.reverse();
}

/** The ids of the messages below each message, and below the root. */
export function childrenOf(tree: Tree): Map<string, string[]> {
  const children = new Map<string, string[]>();
  for (const { id, parent } of tree.values()) {
    const list = children.get(parent);
    if (list) list.push(id);
    else children.set(parent, [id]);
  }
  return children;
}

/** The messages that share a message's parent, itself included. */
export function siblings(tree: Tree, id: string): Siblings {
  const parent = tree.get(id)?.parent;
  const ids =
    parent === undefined
      ? [id]
      : [...tree.values()].filter((message) => message.parent === parent).map((message) => message.id);
  return { ids, index: ids.indexOf(id) };
}

/** The siblings of every message of a path, by id: one walk over the tree instead of one for each message. */
export function siblingsAlong(tree: Tree, path: readonly Message[]): Map<string, Siblings> {
  const children = childrenOf(tree);
  return new Map(
    path.map(({ id, parent }) => {
      const ids = children.get(parent) ?? [id];
      return [id, { ids, index: ids.indexOf(id) }];
    }),
  );
}

/** The leaf that is reached from a message by its newest descendants: what to show when the user walks to it. */
export function walkTo(tree: Tree, id: string): string {
  const children = childrenOf(tree);
  const seen = new Set<string>();
  let at = id;
  for (let next = children.get(at)?.at(-1); next !== undefined && !seen.has(next); next = children.get(at)?.at(-1)) {
    seen.add(next);
    at = next;
  }
  return at;
}

/** A message below another one, or below the root. */
export function newMessage(conversation: Pick<Conversation, "id">, parent: string, message: NewMessage): Message {
  return { created: Date.now(), ...message, id: newId(), conversation: conversation.id, parent };
}

/** Adds a message at the end of the branch that is shown. */
export function add(conversation: Conversation, message: NewMessage): Change {
  const made = newMessage(conversation, conversation.leaf, message);
  return { put: [made], remove: [], leaf: made.id };
}

/** Sends a message of the user's again with another text: a sibling of the first one, which stays. */
export function editAndResend(tree: Tree, id: string, text: string, attachments?: Attachment[]): Change {
  const old = known(tree, id);
  const files = attachments ?? old.attachments;
  const made = newMessage({ id: old.conversation }, old.parent, {
    role: old.role,
    text,
    ...(files && { attachments: files }),
  });
  return { put: [made], remove: [], leaf: made.id };
}

/** Corrects a message where it stands; what follows it stays. Log-probabilities go, since they are of the old text. */
export function editInPlace(tree: Tree, leaf: string, id: string, text: string): Change {
  const { logprobs: _, ...old } = known(tree, id);
  return { put: [{ ...old, text }], remove: [], leaf };
}

/** Another answer beside an assistant's message: an empty sibling of it, to be streamed into. */
export function regenerate(tree: Tree, id: string): Change {
  const old = known(tree, id);
  const made = newMessage({ id: old.conversation }, old.parent, { role: "assistant", text: "", finish: "streaming" });
  return { put: [made], remove: [], leaf: made.id };
}

/** Goes on with an answer that was cut: the same message, streaming again. */
export function continueAnswer(tree: Tree, id: string): Change {
  const { error: _, ...old } = known(tree, id);
  return { put: [{ ...old, finish: "streaming" }], remove: [], leaf: id };
}

/** A message and everything below it. */
export function branchOf(tree: Tree, id: string): string[] {
  const children = childrenOf(tree);
  const ids = new Set([id]);
  for (const at of ids) for (const child of children.get(at) ?? []) ids.add(child);
  return [...ids];
}

/** Deletes a message with everything below it. If the branch shown goes, the nearest sibling is shown, or else the parent. */
export function deleteBranch(tree: Tree, leaf: string, id: string): Change {
  const { parent } = known(tree, id);
  const remove = branchOf(tree, id);
  if (!remove.includes(leaf)) return { put: [], remove, leaf };
  const { ids, index } = siblings(tree, id);
  const beside = ids[index - 1] ?? ids[index + 1];
  return { put: [], remove, leaf: beside === undefined ? parent : walkTo(tree, beside) };
}

/** The messages of a branch as a conversation of their own, with new ids: a fork that grows apart. */
export function fork(
  tree: Tree,
  conversation: Conversation,
  leaf: string,
): { conversation: Conversation; messages: Message[] } {
  const id = newId();
  let parent = newId();
  const root = parent;
  const messages = activePath(tree, leaf).map((message) => {
    const copy = { ...message, id: newId(), conversation: id, parent };
    parent = copy.id;
    return copy;
  });
  const now = Date.now();
  return {
    conversation: { ...conversation, id, root, leaf: parent, created: now, updated: now, pinned: false },
    messages,
  };
}

/** The whole tree as rows, depth first: older branches before newer ones. */
export function outline(tree: Tree, leaf: string): OutlineRow[] {
  const children = childrenOf(tree);
  const active = new Set(activePath(tree, leaf).map((message) => message.id));
  const tops = [...tree.values()].filter((message) => !tree.has(message.parent)).map((message) => message.id);
  const rows: OutlineRow[] = [];
  // A stack and no recursion: a tree is as deep as its conversation is long.
  const stack = tops.map((id) => ({ id, depth: tops.length > 1 ? 1 : 0 })).reverse();
  while (stack.length > 0) {
    const { id, depth } = stack.pop()!;
    const below = children.get(id) ?? [];
    const { role, text } = tree.get(id)!;
    rows.push({ id, role, summary: summary(text), depth, active: active.has(id), children: below.length });
    const next = depth + (below.length > 1 ? 1 : 0);
    for (const child of [...below].reverse()) stack.push({ id: child, depth: next });
  }
  return rows;
}

/** The beginning of a text on one line. */
export function summary(text: string, length = SUMMARY): string {
  const line = text
    .slice(0, 4 * length)
    .replace(/\s+/g, " ")
    .trim();
  if (line.length <= length) return line;
  // Not in the middle of a surrogate pair.
  const cut = line.slice(0, length - 1).replace(/[\ud800-\udbff]$/, "");
  return `${cut.trimEnd()}…`;
}

function known(tree: Tree, id: string): Message {
  const message = tree.get(id);
  if (message === undefined) throw new RangeError(`no message ${id} in the tree`);
  return message;
}
