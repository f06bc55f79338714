// The list of conversations.

import { computed, signal } from "@preact/signals";
import { isDataError } from "../data/errors";
import type { SearchResult } from "../data/search/types";
import type { ConversationFacts, Store } from "../data/store";
import type { Conversation } from "../data/types";

export class Library {
  readonly all = signal<readonly Conversation[]>([]);
  /** Conversations that are never stored, while the page is open. */
  readonly ghosts = signal<readonly Conversation[]>([]);
  readonly query = signal("");
  readonly found = signal<SearchResult | undefined>(undefined);
  /** Only this folder, or this tag. */
  readonly folder = signal<string | undefined>(undefined);
  readonly tag = signal<string | undefined>(undefined);
  readonly labels = computed(() => {
    const sorted = (names: Iterable<string>) => [...new Set(names)].sort((a, b) => a.localeCompare(b));
    return {
      folders: sorted(this.all.value.flatMap(({ folder }) => folder ?? [])),
      tags: sorted(this.all.value.flatMap(({ tags }) => tags)),
    };
  });
  readonly shown = computed(() =>
    this.all.value.filter(
      ({ folder, tags }) =>
        (this.folder.value === undefined || folder === this.folder.value) &&
        (this.tag.value === undefined || tags.includes(this.tag.value)),
    ),
  );
  #refreshing: Promise<void> | undefined;
  #stale = false;
  #searching: AbortController | undefined;

  constructor(readonly store: Store) {
    store.subscribe((event) => {
      // Not for "messages": one that grows comes twice a second, and changes nothing in the list.
      if (event.kind === "conversations" || event.kind === "protection") void this.refresh();
    });
  }

  /** Reads the list again; several calls at once are one or two reads. */
  refresh(): Promise<void> {
    this.#stale = true;
    return (this.#refreshing ??= this.#read().finally(() => (this.#refreshing = undefined)));
  }

  async #read(): Promise<void> {
    while (this.#stale) {
      this.#stale = false;
      if (this.store.locked) {
        this.all.value = [];
        this.ghosts.value = [];
        this.found.value = undefined;
        return;
      }
      try {
        this.all.value = await this.store.list();
      } catch (error) {
        // It was locked meanwhile, and the list is empty.
        if (!isDataError(error, "locked")) throw error;
        this.#stale = true;
      }
    }
  }

  async search(query: string): Promise<void> {
    this.query.value = query;
    this.#searching?.abort();
    if (query.trim() === "") {
      this.found.value = undefined;
      return;
    }
    const { signal } = (this.#searching = new AbortController());
    const [folder, tag] = [this.folder.peek(), this.tag.peek()];
    const options = { signal, ...(folder !== undefined && { folder }), ...(tag !== undefined && { tag }) };
    try {
      let result = await this.store.search(query, options);
      if (signal.aborted) return;
      this.found.value = result;
      if (result.complete) return;
      await this.store.searchReady();
      result = await this.store.search(query, options);
      if (!signal.aborted) this.found.value = result;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async update(id: string, facts: ConversationFacts): Promise<void> {
    const next = await this.store.update(id, facts);
    if (next.ghost) this.ghosts.value = this.ghosts.value.map((ghost) => (ghost.id === id ? next : ghost));
  }

  /** Deletes conversations; the returned function takes it back, except of ghosts. */
  async remove(ids: readonly string[]): Promise<() => Promise<void>> {
    await this.store.remove(ids);
    this.ghosts.value = this.ghosts.value.filter(({ id }) => !ids.includes(id));
    return async () => void (await this.store.restore(ids));
  }

  /** A ghost conversation got its first message, or changed. */
  keepGhost(conversation: Conversation): void {
    this.ghosts.value = [conversation, ...this.ghosts.value.filter(({ id }) => id !== conversation.id)];
  }
}
