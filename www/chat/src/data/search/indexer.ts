// Keeps the search index up to date with the store, and makes results of its matches.

import { batches } from "../store/conversion";
import type { Rows } from "../store/rows";
import { messagesOf } from "../store/schema";
import type { MessageRow } from "../store/schema";
import type { Conversation, Message } from "../types";
import { words } from "./fold";
import { SearchIndex } from "./index";
import type { Match } from "./index";
import { snippet } from "./snippet";
import type { SearchHit, SearchOptions, SearchResult } from "./types";

/** Milliseconds of work before the page gets a turn. */
const SLICE = 10;
/** Rows that are read at a time. */
const READ = 300;
/** Characters of an attachment that are indexed. */
const ATTACHED = 100_000;
const LIMIT = 30;

export class Indexer {
  #index = new SearchIndex();
  /** Conversations that other tabs changed since they were indexed. */
  readonly #stale = new Set<string>();
  #build: Promise<void> | undefined;
  #complete = false;

  constructor(readonly rows: Rows) {}

  /** Messages that were stored, with the title of their conversation. */
  put(conversation: Conversation, messages: readonly Message[]): void {
    // Before the index is begun there is nothing to keep up to date.
    if (this.#build === undefined) return;
    this.#index.putTitle(conversation.id, conversation.title);
    for (const message of messages)
      if (message.finish !== "streaming") this.#index.putMessage(conversation.id, message.id, textOf(message));
  }

  removeMessages(ids: readonly string[]): void {
    for (const id of ids) this.#index.removeMessage(id);
  }

  removeConversations(ids: readonly string[]): void {
    for (const id of ids) this.#index.removeConversation(id);
  }

  /** Conversations are read again before the next search. */
  reread(ids: readonly string[]): void {
    if (this.#build !== undefined) for (const id of ids) this.#stale.add(id);
  }

  /** Forgets everything. */
  invalidate(): void {
    this.#index = new SearchIndex();
    this.#build = undefined;
    this.#complete = false;
    this.#stale.clear();
  }

  /** Resolves when everything is indexed. */
  async ready(list: () => Promise<Conversation[]>): Promise<void> {
    this.#start(await list());
    await this.#build;
  }

  async search(query: string, list: () => Promise<Conversation[]>, options: SearchOptions = {}): Promise<SearchResult> {
    const { limit = LIMIT, folder, tag, signal } = options;
    const conversations = new Map((await list()).map((conversation) => [conversation.id, conversation]));
    this.#start([...conversations.values()]);
    await this.#refresh(conversations);
    signal?.throwIfAborted();
    const found: (Match & { facts: Conversation })[] = [];
    for (const match of this.#index.search(query)) {
      const facts = conversations.get(match.conversation);
      if (
        facts === undefined ||
        (folder !== undefined && facts.folder !== folder) ||
        (tag !== undefined && !facts.tags.includes(tag))
      )
        continue;
      found.push({ ...match, facts });
    }
    // Of two that match as well, the later one is the likelier to be meant.
    found.sort((a, b) => b.score - a.score || b.facts.updated - a.facts.updated);
    const asked = words(query);
    const shown = found.slice(0, limit);
    const { store } = this.rows.db.transaction("messages");
    const rows = await Promise.all(
      shown.map(({ conversation, message }) =>
        message === undefined ? undefined : store.get([conversation, message]),
      ),
    );
    const hits = await Promise.all(shown.map((match, i) => this.#hit(match, rows[i], asked)));
    signal?.throwIfAborted();
    return { hits: hits.filter((hit) => hit !== undefined), total: found.length, complete: this.#complete };
  }

  async #hit(
    { facts, message, score }: Match & { facts: Conversation },
    row: MessageRow | undefined,
    asked: readonly string[],
  ): Promise<SearchHit | undefined> {
    const title = snippet(facts.title, asked, true);
    if (message === undefined) return { conversation: facts, title, snippet: { text: "", marks: [] }, score };
    // Deleted by another tab since.
    if (row === undefined) return undefined;
    const found = textOf(await this.rows.open("messages", row));
    return { conversation: facts, message, title, snippet: snippet(found, asked), score };
  }

  /** Begins to make the index, unless that was done. */
  #start(conversations: readonly Conversation[]): void {
    // An index that is mostly of deleted messages is made anew.
    if (this.#complete && this.#index.dead > 1000 + this.#index.size) this.invalidate();
    if (this.#build !== undefined) return;
    const index = this.#index;
    for (const { id, title } of conversations) index.putTitle(id, title);
    this.#build = this.#fill(index, new Set(conversations.map((conversation) => conversation.id))).catch(
      (error: unknown) => {
        // Locked or closed in the middle; the next search begins again.
        if (index === this.#index) this.invalidate();
        throw error;
      },
    );
    this.#build.catch(() => {});
  }

  async #fill(index: SearchIndex, known: ReadonlySet<string>): Promise<void> {
    let began = performance.now();
    for await (const rows of batches(this.rows.db, "messages", READ)) {
      const live = (rows as MessageRow[]).filter((row) => known.has(row.conversation));
      for (const { row, value } of await this.rows.openReadable<Message, MessageRow>("messages", live)) {
        // The index was forgotten meanwhile.
        if (index !== this.#index) return;
        // One that is there already is newer than what was read.
        if (!index.has(row.id)) index.putMessage(row.conversation, row.id, textOf(value));
        if (performance.now() - began > SLICE) {
          await pause();
          began = performance.now();
        }
      }
    }
    if (index === this.#index) this.#complete = true;
  }

  async #refresh(conversations: ReadonlyMap<string, Conversation>): Promise<void> {
    for (const id of [...this.#stale]) {
      this.#stale.delete(id);
      this.#index.removeConversation(id);
      const conversation = conversations.get(id);
      if (conversation === undefined) continue;
      const rows = await this.rows.db.getAll("messages", messagesOf(id));
      this.put(
        conversation,
        (await this.rows.openReadable<Message, MessageRow>("messages", rows)).map(({ value }) => value),
      );
    }
  }
}

/** What of a message can be found. */
function textOf({ text, attachments = [] }: Message): string {
  return [text, ...attachments.map((file) => `${file.name} ${file.title}\n${file.text.slice(0, ATTACHED)}`)].join("\n");
}

/** Lets the page do something else. */
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
