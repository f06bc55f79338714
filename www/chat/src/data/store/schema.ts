// How everything lies in IndexedDB.
//
// Messages lie apart from conversations, so that a list of conversations reads no message. Every row has its keys in plain and its content
// in `body`, which is encrypted where the store is; nothing else of a row comes from the user.

import type { DBSchema, IDBPDatabase, IDBPTransaction } from "idb";
import type { Conversation, Draft, Message, Preset, Settings } from "../types";
import type { ProtectionRecord } from "./vault";

/** Content, or content that is encrypted by AES-GCM. */
export type Body<T> = { plain: T } | { iv: Uint8Array<ArrayBuffer>; sealed: ArrayBuffer };

/** A row; `version` counts its changes, so that a change that was prepared for an older version is noticed. */
export interface Row<T> {
  id: string;
  version: number;
  body: Body<T>;
}

/** `deleted`: when, if it was; it can be restored until it is purged. */
export type ConversationRow = Row<Conversation> & { deleted?: number };
export type MessageRow = Row<Message> & { conversation: string };

/** The names of the stores whose rows have content. */
export const CONTENT = ["conversations", "messages", "drafts", "presets"] as const;
export type ContentStore = (typeof CONTENT)[number];

export interface Schema extends DBSchema {
  conversations: { key: string; value: ConversationRow };
  messages: { key: [conversation: string, id: string]; value: MessageRow };
  /** By conversation. */
  drafts: { key: string; value: Row<Draft> };
  presets: { key: string; value: Row<Preset> };
  /** Has no content: the protection, and the settings. */
  meta: { key: "protection" | "settings"; value: ProtectionRecord | Partial<Settings> };
}

export type Database = IDBPDatabase<Schema>;
export type StoreName = ContentStore | "meta";
export type Transaction = IDBPTransaction<Schema, StoreName[], "readwrite">;

/** The keys of all messages of a conversation. */
export const messagesOf = (conversation: string) => IDBKeyRange.bound([conversation], [conversation, []]);
