// What writes of conversations and messages are made of.

import { DataError } from "../errors";
import { Stale } from "./rows";
import type { ConversationRow, MessageRow, Transaction } from "./schema";

/** The row of a conversation that exists. */
export function present(row: ConversationRow | undefined, id: string): ConversationRow {
  if (row === undefined || row.deleted !== undefined) throw new DataError("missing", { what: "conversation", id });
  return row;
}

/** Stores a conversation, unless it is another one than `row` now. */
export async function putIfUnchanged(
  transaction: Transaction,
  row: ConversationRow | undefined,
  next: ConversationRow,
): Promise<void> {
  const store = transaction.objectStore("conversations");
  if ((await store.get(next.id))?.version !== row?.version) throw new Stale();
  await store.put(next);
}

/** Stores a message, whichever version it follows. */
export async function putMessage(transaction: Transaction, row: MessageRow): Promise<void> {
  const store = transaction.objectStore("messages");
  const current = await store.get([row.conversation, row.id]);
  await store.put({ ...row, version: (current?.version ?? 0) + 1 });
}

/** About how many bytes values take. */
export const sizeOf = (values: readonly unknown[]): number =>
  values.reduce((sum: number, value) => sum + (value === undefined ? 0 : JSON.stringify(value).length), 0);
