// The store: what `Store` promises, on the rows of the database.

import { DataError } from "../errors";
import type { StoreListener } from "../events";
import { newId } from "../ids";
import { Indexer } from "../search/indexer";
import type { SearchOptions, SearchResult } from "../search/types";
import type { ConversationFacts, MessageWriter, Opened, Protection, Store, StoreOptions } from "../store";
import { makeTree } from "../tree";
import type { Change } from "../tree";
import type { Conversation, Draft, Message, Preset, Settings } from "../types";
import { Channel } from "./channel";
import type { Broadcast } from "./channel";
import { openDatabase } from "./database";
import { emptyConversation } from "./defaults";
import { Ghosts } from "./ghosts";
import { Personal } from "./personal";
import { Protector } from "./protection";
import { Rows } from "./rows";
import { messagesOf } from "./schema";
import type { ConversationRow, MessageRow } from "./schema";
import { Vault } from "./vault";
import { ThrottledWriter } from "./writer";
import { present, putIfUnchanged, putMessage, sizeOf } from "./writes";

/** Milliseconds for which a deleted conversation can be restored. */
const RESTORABLE = 60_000;
const NAME = "minke-chat";
const THROTTLE = 500;

/** Opens the database and makes the store. */
export async function openIndexedStore({ name = NAME, throttle = THROTTLE }: StoreOptions): Promise<Store> {
  let store: IndexedStore | undefined;
  const db = await openDatabase(name, () => store?.onClosed());
  const vault = new Vault();
  await vault.reload(db);
  store = new IndexedStore(name, throttle, new Rows(db, vault, () => store?.onProtection()));
  // Deleted conversations of the last time. Needs no key.
  void store.purge().catch(() => {});
  return store;
}

class IndexedStore implements Store {
  readonly #ghosts = new Ghosts();
  /** Conversations that were created here and have no message yet. */
  readonly #fresh = new Map<string, Conversation>();
  /** Conversations as they were read, so that lists decrypt only what changed. */
  readonly #read = new Map<string, { version: number; conversation: Conversation }>();
  /** The list, until something changes: a search begins with every letter that is typed. */
  #listed: Promise<Conversation[]> | undefined;
  readonly #channel: Channel;
  readonly #personal: Personal;
  readonly #protector: Protector;
  readonly #indexer: Indexer;

  constructor(
    readonly name: string,
    readonly throttle: number,
    readonly rows: Rows,
  ) {
    this.#channel = new Channel(name, (message) => this.#onRemote(message));
    this.#personal = new Personal(rows, this.#channel);
    this.#protector = new Protector(rows, `${name}:protection`, () => this.#protectionChanged());
    this.#indexer = new Indexer(rows);
    this.#channel.subscribe(({ kind }) => {
      if (kind === "conversations" || kind === "protection") this.#listed = undefined;
    });
  }

  subscribe(listener: StoreListener): () => void {
    return this.#channel.subscribe(listener);
  }

  // Conversations

  async list(): Promise<Conversation[]> {
    const rows = (await this.rows.db.getAll("conversations")).filter((row) => row.deleted === undefined);
    const changed = rows.filter((row) => this.#read.get(row.id)?.version !== row.version);
    for (const { row, value } of await this.rows.openReadable<Conversation, ConversationRow>(
      "conversations",
      changed,
    )) {
      this.#read.set(row.id, { version: row.version, conversation: value });
    }
    if (this.locked) throw new DataError("locked", {});
    const conversations = rows.map((row) => this.#read.get(row.id)?.conversation).filter((one) => one !== undefined);
    return conversations.sort((a, b) => Number(b.pinned) - Number(a.pinned) || b.updated - a.updated);
  }

  create(from: Partial<Conversation> = {}): Conversation {
    const conversation = emptyConversation(from);
    if (conversation.ghost) this.#ghosts.create(conversation);
    else this.#fresh.set(conversation.id, conversation);
    return conversation;
  }

  async open(id: string): Promise<Opened> {
    if (this.#ghosts.has(id)) return this.#ghosts.open(id);
    const fresh = this.#fresh.get(id);
    if (fresh !== undefined) return { conversation: fresh, tree: makeTree([]) };
    const transaction = this.rows.db.transaction(["conversations", "messages"]);
    const [row, rows] = await Promise.all([
      transaction.objectStore("conversations").get(id),
      transaction.objectStore("messages").getAll(messagesOf(id)),
    ]);
    const conversation = await this.rows.open("conversations", present(row, id));
    const messages = await this.rows.openAll("messages", rows);
    return { conversation, tree: makeTree(await this.#withoutInterrupted(messages)) };
  }

  async apply(conversation: Conversation, change: Change): Promise<Conversation> {
    const { id } = conversation;
    if (change.put.some((message) => message.conversation !== id))
      throw new TypeError("a message of another conversation");
    if (this.#ghosts.has(id)) return this.#ghosts.apply(conversation, change);
    const next = await this.rows.write(["conversations", "messages"], async () => {
      const row = await this.rows.db.get("conversations", id);
      const { ghost: _, ...first } = conversation;
      const known =
        row === undefined && this.#fresh.has(id) ? first : await this.rows.open("conversations", present(row, id));
      const next = { ...known, leaf: change.leaf, updated: Date.now() };
      const sealed = await this.#sealConversation(row, next);
      const messages = await Promise.all(change.put.map((message) => this.#sealMessage(message)));
      return {
        bytes: () => sizeOf(change.put),
        write: async (transaction) => {
          await putIfUnchanged(transaction, row, sealed);
          for (const message of messages) await putMessage(transaction, message);
          for (const gone of change.remove) await transaction.objectStore("messages").delete([id, gone]);
          return next;
        },
      };
    });
    this.#fresh.delete(id);
    this.#indexer.put(next, change.put);
    this.#indexer.removeMessages(change.remove);
    this.#channel.emit({ kind: "conversations", ids: [id] });
    this.#channel.emit({
      kind: "messages",
      conversation: id,
      ids: [...change.put.map((message) => message.id), ...change.remove],
    });
    return next;
  }

  writer(message: Message): MessageWriter {
    let onEnd = () => {};
    const ended = new Promise<void>((resolve) => {
      onEnd = resolve;
    });
    const ghost = this.#ghosts.has(message.conversation);
    // Held while this tab lives, so that others know that the answer is being written. Only secure pages have locks.
    if (!ghost) void navigator.locks?.request(this.#lockOf(message.id), () => ended);
    return new ThrottledWriter({
      throttle: this.throttle,
      write: async (grown, final) => (ghost ? this.#ghosts.putMessage(grown) : this.#writeMessage(grown, final)),
      unlocked: () => this.#unlocked(),
      onEnd: () => onEnd(),
    });
  }

  async #writeMessage(message: Message, final: boolean): Promise<void> {
    const { conversation: id } = message;
    const next = await this.rows.write(
      ["conversations", "messages"],
      async () => {
        const row = present(await this.rows.db.get("conversations", id), id);
        const conversation = { ...(await this.rows.open("conversations", row)), updated: Date.now() };
        const sealed = final ? await this.#sealConversation(row, conversation) : undefined;
        const sealedMessage = await this.#sealMessage(message);
        return {
          bytes: () => sizeOf([message]),
          write: async (transaction) => {
            if (sealed) await putIfUnchanged(transaction, row, sealed);
            else present(await transaction.objectStore("conversations").get(id), id);
            await putMessage(transaction, sealedMessage);
            return conversation;
          },
        };
      },
      final,
    );
    if (final) {
      this.#indexer.put(next, [message]);
      this.#channel.emit({ kind: "conversations", ids: [id] });
    }
    this.#channel.emit({ kind: "messages", conversation: id, ids: [message.id] });
  }

  async update(id: string, facts: ConversationFacts): Promise<Conversation> {
    const changed = (conversation: Conversation) =>
      Object.fromEntries(
        Object.entries({ ...conversation, ...facts }).filter(([, value]) => value !== null),
      ) as unknown as Conversation;
    if (this.#ghosts.has(id)) return this.#ghosts.update(id, changed(this.#ghosts.open(id).conversation));
    const fresh = this.#fresh.get(id);
    if (fresh !== undefined) {
      this.#fresh.set(id, changed(fresh));
      return changed(fresh);
    }
    const next = await this.rows.write(["conversations"], async () => {
      const row = present(await this.rows.db.get("conversations", id), id);
      const next = changed(await this.rows.open("conversations", row));
      const sealed = await this.#sealConversation(row, next);
      return {
        write: async (transaction) => {
          await putIfUnchanged(transaction, row, sealed);
          return next;
        },
      };
    });
    this.#indexer.put(next, []);
    this.#channel.emit({ kind: "conversations", ids: [id] });
    return next;
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      this.#ghosts.remove(id);
      this.#fresh.delete(id);
    }
    await this.#mark(ids, Date.now());
    // If this tab is closed before, the next one that opens does it.
    setTimeout(() => void this.purge().catch(() => {}), RESTORABLE + 1000);
    this.#indexer.removeConversations(ids);
  }

  async restore(ids: readonly string[]): Promise<string[]> {
    const restored = await this.#mark(ids, undefined);
    this.#indexer.invalidate();
    return restored;
  }

  /** Marks conversations as deleted, or takes that back; returns those that it was done to. */
  async #mark(ids: readonly string[], deleted: number | undefined): Promise<string[]> {
    const marked = await this.rows.write(["conversations"], async () => ({
      write: async (transaction) => {
        const store = transaction.objectStore("conversations");
        const done: string[] = [];
        for (const id of ids) {
          const row = await store.get(id);
          if (row === undefined || (row.deleted === undefined) === (deleted === undefined)) continue;
          const { deleted: _, ...rest } = row;
          await store.put({ ...rest, version: row.version + 1, ...(deleted !== undefined && { deleted }) });
          done.push(id);
        }
        return done;
      },
    }));
    if (marked.length > 0) this.#channel.emit({ kind: "conversations", ids: marked });
    return marked;
  }

  async purge(ids?: readonly string[]): Promise<void> {
    const rows = await this.rows.db.getAll("conversations");
    const gone = rows.filter(
      (row) => row.deleted !== undefined && (ids ? ids.includes(row.id) : row.deleted < Date.now() - RESTORABLE),
    );
    if (gone.length === 0) return;
    await this.rows.write(["conversations", "messages", "drafts"], async () => ({
      write: async (transaction) => {
        for (const { id } of gone) {
          // Restored meanwhile by another tab.
          if ((await transaction.objectStore("conversations").get(id))?.deleted === undefined) continue;
          await transaction.objectStore("conversations").delete(id);
          await transaction.objectStore("messages").delete(messagesOf(id));
          await transaction.objectStore("drafts").delete(id);
        }
      },
    }));
    for (const { id } of gone) this.#read.delete(id);
  }

  async clear(): Promise<void> {
    const ids = await this.rows.db.getAllKeys("conversations");
    await this.rows.write(["conversations", "messages", "drafts", "presets"], async () => ({
      write: async (transaction) => {
        for (const store of ["conversations", "messages", "drafts", "presets"] as const)
          await transaction.objectStore(store).clear();
      },
    }));
    this.#ghosts.clear();
    this.#fresh.clear();
    this.#read.clear();
    this.#indexer.invalidate();
    this.#channel.emit({ kind: "conversations", ids });
    this.#channel.emit({ kind: "presets" });
  }

  async labels(): Promise<{ folders: string[]; tags: string[] }> {
    const conversations = await this.list();
    const sorted = (names: (string | undefined)[]) =>
      [...new Set(names)].filter((name) => name !== undefined).sort((a, b) => a.localeCompare(b));
    return {
      folders: sorted(conversations.map((one) => one.folder)),
      tags: sorted(conversations.flatMap((one) => one.tags)),
    };
  }

  // Drafts, presets, settings

  async draft(conversation: string): Promise<Draft | undefined> {
    return this.#ghosts.has(conversation) ? this.#ghosts.draft(conversation) : this.#personal.draft(conversation);
  }

  async putDraft(draft: Draft): Promise<void> {
    return this.#ghosts.has(draft.conversation) ? this.#ghosts.putDraft(draft) : this.#personal.putDraft(draft);
  }

  presets(): Promise<Preset[]> {
    return this.#personal.presets();
  }

  putPreset(preset: Preset): Promise<void> {
    return this.#personal.putPreset(preset);
  }

  removePreset(id: string): Promise<void> {
    return this.#personal.removePreset(id);
  }

  settings(): Promise<Settings> {
    return this.#personal.settings();
  }

  putSettings(changed: Partial<Settings>): Promise<Settings> {
    return this.#personal.putSettings(changed);
  }

  // Search

  search(query: string, options?: SearchOptions): Promise<SearchResult> {
    return this.#indexer.search(query, () => this.#list(), options);
  }

  searchReady(): Promise<void> {
    return this.#indexer.ready(() => this.#list());
  }

  #list(): Promise<Conversation[]> {
    if (this.#listed !== undefined) return this.#listed;
    const listed = this.list();
    this.#listed = listed;
    listed.catch(() => (this.#listed = undefined));
    return listed;
  }

  // Protection

  get protection(): Protection {
    return this.rows.vault.record.state;
  }

  get locked(): boolean {
    return this.rows.vault.locked;
  }

  unlock(passphrase: string): Promise<void> {
    return this.#protector.unlock(passphrase);
  }

  lock(everywhere = true): void {
    if (this.rows.vault.record.key === undefined) return;
    this.#forget();
    if (everywhere) this.#channel.broadcast({ kind: "lock" });
    this.#channel.emit({ kind: "protection" }, true);
  }

  encrypt(passphrase: string, onProgress?: (done: number, total: number) => void): Promise<void> {
    return this.#protector.encrypt(passphrase, onProgress);
  }

  decrypt(passphrase: string, onProgress?: (done: number, total: number) => void): Promise<void> {
    return this.#protector.decrypt(passphrase, onProgress);
  }

  changePassphrase(from: string, to: string): Promise<void> {
    return this.#protector.changePassphrase(from, to);
  }

  settled(): Promise<void> {
    return this.#protector.settled();
  }

  // Everything at once

  async *read(ids?: readonly string[]): AsyncGenerator<Opened> {
    for (const id of ids ?? (await this.list()).map((conversation) => conversation.id)) yield await this.open(id);
  }

  async add(
    conversations: readonly { conversation: Conversation; messages: readonly Message[] }[],
    presets: readonly Preset[] = [],
  ): Promise<Conversation[]> {
    const known = new Map((await this.list()).map((conversation) => [conversation.id, conversation]));
    const added: Conversation[] = [];
    try {
      for (const one of conversations) {
        const old = known.get(one.conversation.id);
        // The same conversation in the same state: a file that is imported twice.
        if (old?.updated === one.conversation.updated) continue;
        const taken =
          old !== undefined || (await this.rows.db.getKey("conversations", one.conversation.id)) !== undefined;
        added.push(await this.#addOne(one.conversation, one.messages, taken ? newId() : one.conversation.id));
      }
      const names = new Set(await this.rows.db.getAllKeys("presets"));
      for (const preset of presets) if (!names.has(preset.id)) await this.putPreset(preset);
    } finally {
      if (added.length > 0)
        this.#channel.emit({ kind: "conversations", ids: added.map((conversation) => conversation.id) });
    }
    return added;
  }

  async #addOne(from: Conversation, messages: readonly Message[], id: string): Promise<Conversation> {
    const { ghost: _, ...conversation } = { ...from, id };
    await this.rows.write(
      ["conversations", "messages"],
      async () => {
        const sealed = await this.#sealConversation(undefined, conversation);
        const rows = await Promise.all(messages.map((message) => this.#sealMessage({ ...message, conversation: id })));
        return {
          bytes: () => sizeOf(messages),
          write: async (transaction) => {
            await putIfUnchanged(transaction, undefined, sealed);
            await Promise.all(rows.map((row) => transaction.objectStore("messages").put(row)));
          },
        };
      },
      false,
    );
    this.#indexer.put(conversation, messages);
    return conversation;
  }

  async usage(): Promise<{ used: number; quota: number }> {
    const { usage = 0, quota = 0 } = (await navigator.storage?.estimate()) ?? {};
    return { used: usage, quota };
  }

  close(): void {
    this.rows.db.close();
    this.rows.closed = true;
    this.#channel.close();
  }

  // Within

  onClosed(): void {
    if (this.rows.closed) return;
    this.rows.closed = true;
    this.#channel.emit({ kind: "closed" }, true);
  }

  /** The protection was changed by another tab, whose message is still under way. */
  onProtection(): void {
    if (this.locked) this.#forget();
    this.#channel.emit({ kind: "protection" }, true);
  }

  #protectionChanged(): void {
    if (this.locked) this.#forget();
    this.#channel.emit({ kind: "protection" });
  }

  async #onRemote(message: Broadcast): Promise<void> {
    if (this.rows.closed) return;
    if (message.kind === "lock") this.#forget();
    if (message.kind === "protection") {
      await this.rows.vault.reload(this.rows.db);
      if (this.locked) this.#forget();
    }
    if (message.kind === "conversations") this.#indexer.reread(message.ids);
    if (message.kind === "messages") this.#indexer.reread([message.conversation]);
  }

  #forget(): void {
    this.rows.vault.forget();
    this.#read.clear();
    // They cannot be encrypted without being stored.
    this.#ghosts.clear();
    this.#fresh.clear();
    this.#listed = undefined;
    this.#indexer.invalidate();
  }

  #unlocked(): Promise<void> {
    if (!this.locked) return Promise.resolve();
    return new Promise((resolve) => {
      const end = this.subscribe(() => {
        if (this.locked) return;
        end();
        resolve();
      });
    });
  }

  #lockOf(message: string): string {
    return `${this.name}:writing:${message}`;
  }

  /** Ends answers that no tab is writing any more. */
  async #withoutInterrupted(messages: readonly Message[]): Promise<Message[]> {
    if (!messages.some((message) => message.finish === "streaming")) return [...messages];
    const held = new Set((await navigator.locks?.query())?.held?.map((lock) => lock.name));
    return messages.map((message) =>
      message.finish === "streaming" && !held.has(this.#lockOf(message.id))
        ? { ...message, finish: "abort" as const }
        : message,
    );
  }

  #sealConversation(row: ConversationRow | undefined, conversation: Conversation): Promise<ConversationRow> {
    return this.rows.seal<Conversation, ConversationRow>(
      "conversations",
      { id: conversation.id, version: (row?.version ?? 0) + 1 },
      conversation,
    );
  }

  #sealMessage(message: Message): Promise<MessageRow> {
    return this.rows.seal<Message, MessageRow>(
      "messages",
      { id: message.id, conversation: message.conversation, version: 1 },
      message,
    );
  }
}
