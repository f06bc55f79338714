// Opens the database, brings it to the newest version, and tells apart why it cannot be opened.

import { openDB } from "idb";
import type { DBSchema, IDBPDatabase, IDBPTransaction, StoreNames } from "idb";
import { DataError } from "../errors";
import type { Database, Schema } from "./schema";

/** Brings a database from the version that is its place in the list to the next one. */
export type Migration<S extends DBSchema> = (
  db: IDBPDatabase<S>,
  transaction: IDBPTransaction<S, StoreNames<S>[], "versionchange">,
) => void | Promise<void>;

/** The first creates the database; later ones are added at the end, and never changed once they were published. */
export const MIGRATIONS: readonly Migration<Schema>[] = [
  (db) => {
    db.createObjectStore("conversations", { keyPath: "id" });
    db.createObjectStore("messages", { keyPath: ["conversation", "id"] });
    db.createObjectStore("drafts", { keyPath: "id" });
    db.createObjectStore("presets", { keyPath: "id" });
    db.createObjectStore("meta");
  },
];

/** Opens the application's database. `onClosed`: another tab has a newer version, or the browser deleted the data. */
export const openDatabase = (name: string, onClosed: () => void): Promise<Database> =>
  openMigrated(name, MIGRATIONS, onClosed);

/** Opens a database of any schema. Rejects with "newer", "blocked", "quota" or "unavailable". */
export async function openMigrated<S extends DBSchema>(
  name: string,
  migrations: readonly Migration<S>[],
  onClosed: () => void,
): Promise<IDBPDatabase<S>> {
  const known = migrations.length;
  if (!("indexedDB" in globalThis)) throw new DataError("unavailable", { reason: "there is no IndexedDB" });
  let refuse: (error: DataError) => void;
  const blocked = new Promise<never>((_, reject) => {
    refuse = reject;
  });
  let gaveUp = false;
  let opened: IDBPDatabase<S> | undefined;
  // Asynchronous as a whole: some browsers refuse by throwing at once.
  const request = Promise.resolve().then(() =>
    openDB<S>(name, known, {
      upgrade: async (db, from, _to, transaction) => {
        // Reads as much as it writes, so only its own requests may be awaited: the transaction ends when it has none.
        for (const migration of migrations.slice(from)) await migration(db, transaction);
      },
      blocked: (found) => {
        gaveUp = true;
        refuse(new DataError("blocked", { found, known }));
      },
      blocking: () => {
        opened?.close();
        onClosed();
      },
      terminated: onClosed,
    }),
  );
  // The request stays pending while it is blocked, and must not keep a database open that nobody waits for any more.
  request.then(
    (db) => {
      if (gaveUp) db.close();
    },
    () => {},
  );
  try {
    opened = await Promise.race([request, blocked]);
    return opened;
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw await reason(error, name, known);
  }
}

async function reason(error: unknown, name: string, known: number): Promise<DataError> {
  const kind = error instanceof DOMException ? error.name : "";
  if (kind === "VersionError") {
    const all = (await indexedDB.databases?.().catch(() => [])) ?? [];
    return new DataError("newer", { found: all.find((one) => one.name === name)?.version ?? known + 1, known });
  }
  return (await storageError(error, 0)) ?? new DataError("unavailable", { reason: String(error) }, { cause: error });
}

/** The "quota" error of a failed write, or undefined if it failed for another reason. */
export async function storageError(error: unknown, needed: number): Promise<DataError<"quota"> | undefined> {
  if (!(error instanceof DOMException) || error.name !== "QuotaExceededError") return undefined;
  const { usage: used, quota } = (await navigator.storage?.estimate().catch(() => undefined)) ?? {};
  return new DataError("quota", { needed, used, quota }, { cause: error });
}
