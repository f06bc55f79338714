// The store of conversations, in this browser's IndexedDB.

import type { StoreListener } from "./events";
import type { SearchOptions, SearchResult } from "./search/types";
import type { Change, Tree } from "./tree";
import { openIndexedStore } from "./store/indexed-store";
import type { Conversation, Draft, Message, Preset, Settings } from "./types";

/** How the store is protected. "encrypting" and "decrypting": a change that is under way, or was interrupted and goes on by itself. */
export type Protection = "none" | "encrypting" | "encrypted" | "decrypting";

/** An opened conversation. */
export interface Opened {
  conversation: Conversation;
  tree: Tree;
}

/** Stores a message while it grows. Writes are throttled; whatever was written survives a crash. */
export interface MessageWriter {
  /** The error of the last write, unless one succeeded since: "quota", say. */
  readonly error: unknown;
  /** The message as it is now. Costs nothing until the next write is due. */
  update(message: Message): void;
  /** Stores what is pending at once, as when the page is being hidden. */
  flush(): Promise<void>;
  /** Stores the finished message. If another tab encrypted the store meanwhile, it waits until this one is unlocked. */
  finish(message: Message): Promise<void>;
}

export interface StoreOptions {
  /** The database's name; default "minke-chat". */
  name?: string;
  /** Milliseconds between two writes of a message that grows; default 500. */
  throttle?: number;
}

/**
 * Conversations, messages, drafts, presets and settings. All methods reject with a `DataError`; "locked" if the store is encrypted and
 * not unlocked, "quota" if the storage is full. Settings can always be read.
 *
 * Ghost conversations are held in memory by the same methods, and appear neither in `list` nor in the database nor in other tabs.
 */
export interface Store {
  /** The database's name. */
  readonly name: string;
  /** Calls `listener` for every change, of this tab and of others. Returns what ends that. */
  subscribe(listener: StoreListener): () => void;

  /** All conversations: pinned ones first, then the latest. */
  list(): Promise<Conversation[]>;
  /** A new conversation, which is stored with its first message; `ghost: true` for one that never is. */
  create(from?: Partial<Conversation>): Conversation;
  /** A conversation with its messages. Answers that a crash cut short have `finish: "abort"`. Rejects with "missing". */
  open(id: string): Promise<Opened>;
  /** Stores a change of messages, as the functions of `tree.ts` make it, with the conversation. Resolves to the conversation after it. */
  apply(conversation: Conversation, change: Change): Promise<Conversation>;
  /** A writer for one message that grows, and that `apply` has stored; at most one at a time for a message. */
  writer(message: Message): MessageWriter;
  /** Stores changed facts of a conversation. */
  update(id: string, facts: ConversationFacts): Promise<Conversation>;
  /** Deletes conversations. They can be restored for a minute, and go for good when that is over or `purge` is called. */
  remove(ids: readonly string[]): Promise<void>;
  /** Takes `remove` back. Resolves to the ids that could be restored. */
  restore(ids: readonly string[]): Promise<string[]>;
  /** Erases deleted conversations for good, by default those whose minute is over. */
  purge(ids?: readonly string[]): Promise<void>;
  /** Deletes every conversation, draft and preset for good; settings and protection stay. */
  clear(): Promise<void>;

  /** All folders and tags in use, sorted. */
  labels(): Promise<{ folders: string[]; tags: string[] }>;

  /** By a conversation's id, or any other name: "new" for what is not a conversation yet. */
  draft(conversation: string): Promise<Draft | undefined>;
  /** Stores a draft; an empty one is deleted. */
  putDraft(draft: Draft): Promise<void>;

  presets(): Promise<Preset[]>;
  putPreset(preset: Preset): Promise<void>;
  removePreset(id: string): Promise<void>;

  settings(): Promise<Settings>;
  putSettings(changed: Partial<Settings>): Promise<Settings>;

  /** Searches titles and messages; see `search/types.ts`. */
  search(query: string, options?: SearchOptions): Promise<SearchResult>;
  /** Resolves when all messages are indexed; a result that is not `complete` can then be asked for again. */
  searchReady(): Promise<void>;

  readonly protection: Protection;
  /** Whether a passphrase is needed before anything can be read. */
  readonly locked: boolean;
  /** Rejects with "passphrase" if it is a wrong one. An interrupted change of protection then goes on. */
  unlock(passphrase: string): Promise<void>;
  /** Forgets the key, and everything that was read with it; `everywhere`: in the other tabs, too (the default). */
  lock(everywhere?: boolean): void;
  /** Encrypts everything that has content. Rejects with "busy" while another tab does so. `onProgress`: records done, of all. */
  encrypt(passphrase: string, onProgress?: (done: number, total: number) => void): Promise<void>;
  /** Decrypts everything. */
  decrypt(passphrase: string, onProgress?: (done: number, total: number) => void): Promise<void>;
  changePassphrase(from: string, to: string): Promise<void>;
  /** Resolves when an interrupted change of protection that `unlock` took up again is complete. */
  settled(): Promise<void>;

  /** Conversations with their messages, for an export; by default all. */
  read(ids?: readonly string[]): AsyncIterable<Opened>;
  /** Adds imported conversations and presets, with new ids where theirs are taken. Those that are stored just as they are in the file are
   *  left out. Resolves to the conversations as stored. */
  add(
    conversations: readonly { conversation: Conversation; messages: readonly Message[] }[],
    presets?: readonly Preset[],
  ): Promise<Conversation[]>;

  /** Bytes that this origin uses and may use, as the browser estimates them. */
  usage(): Promise<{ used: number; quota: number }>;
  close(): void;
}

/** What `Store.update` can change. `null` takes a fact away. */
export type ConversationFacts = Partial<Pick<Conversation, "title" | "pinned" | "tags" | "leaf">> & {
  [K in "folder" | "model" | "preset" | "system"]?: Conversation[K] | null;
};

/** Opens the store. Rejects with "unavailable", "newer" or "blocked". */
export function openStore(options: StoreOptions = {}): Promise<Store> {
  return openIndexedStore(options);
}
