// Reads and writes rows in whatever protection is in force.
//
// Encryption takes time, and a transaction of IndexedDB ends as soon as it waits for anything else. So rows are prepared first, and a
// transaction then writes them only if nothing changed meanwhile: neither the protection nor the version of a row they were made from.

import { DataError, isDataError } from "../errors";
import { storageError } from "./database";
import type { ContentStore, Database, Row, StoreName, Transaction } from "./schema";
import type { ProtectionRecord, Vault } from "./vault";
import { placeOf } from "./vault";

/** Thrown within a transaction to prepare everything again. */
export class Stale extends Error {}

/** What `prepare` makes: a function that writes in the transaction, and about how many bytes that are. */
export interface Prepared<T> {
  bytes?(): number;
  write(transaction: Transaction): Promise<T>;
}

/** How often a write is prepared again; each time another tab was faster. */
const ATTEMPTS = 20;

export class Rows {
  readonly #db: Database;
  /** Set when the database was closed under this tab. */
  closed = false;

  constructor(
    db: Database,
    readonly vault: Vault,
    /** Called when the protection turns out to have changed in another tab. */
    readonly onProtection: () => void,
  ) {
    this.#db = db;
  }

  /** Throws "closed" when it is. */
  get db(): Database {
    if (this.closed) throw new DataError("closed", {});
    return this.#db;
  }

  /** Prepares and writes in one transaction over `stores`. `strict`: resolves only when it is on the disk. */
  async write<T>(stores: readonly StoreName[], prepare: () => Promise<Prepared<T>>, strict = true): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const { epoch } = this.vault.record;
      const prepared = await prepare();
      const transaction = this.db.transaction([...new Set<StoreName>([...stores, "meta"])], "readwrite", {
        durability: strict ? "strict" : "relaxed",
      });
      // Otherwise an aborted transaction would be reported as unhandled, too.
      transaction.done.catch(() => {});
      try {
        const record = (await transaction.objectStore("meta").get("protection")) as ProtectionRecord | undefined;
        if ((record?.epoch ?? 0) !== epoch) throw new Stale();
        const result = await prepared.write(transaction);
        await transaction.done;
        return result;
      } catch (error) {
        abort(transaction);
        if (!(error instanceof Stale) || attempt === ATTEMPTS)
          throw (await storageError(error, prepared.bytes?.() ?? 0)) ?? error;
        if (await this.vault.reload(this.db)) this.onProtection();
      }
    }
  }

  /** A row as it is to be written. */
  async seal<T, R extends Row<T>>(store: ContentStore, row: Omit<R, "body">, value: T): Promise<R> {
    return { ...row, body: await this.vault.seal(placeOf(store, row), value) } as R;
  }

  /** The content of a row. If it turns out to be locked, the protection is read again: another tab may have changed it. */
  async open<T>(store: ContentStore, row: Row<T>): Promise<T> {
    try {
      return await this.vault.openRow(store, row);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      if (!(await this.vault.reload(this.db))) throw error;
      this.onProtection();
      return this.vault.openRow(store, row);
    }
  }

  /** The rows that are not damaged, with their content. */
  async openReadable<T, R extends Row<T>>(store: ContentStore, rows: readonly R[]): Promise<{ row: R; value: T }[]> {
    const opened = await Promise.all(
      rows.map(async (row) => {
        try {
          return { row, value: await this.open(store, row) };
        } catch (error) {
          if (isDataError(error, "damaged")) return undefined;
          throw error;
        }
      }),
    );
    return opened.filter((one) => one !== undefined);
  }

  openAll<T>(store: ContentStore, rows: readonly Row<T>[]): Promise<T[]> {
    return Promise.all(rows.map((row) => this.open(store, row)));
  }
}

function abort(transaction: Transaction): void {
  try {
    transaction.abort();
  } catch {
    // It has ended already, by the error that is being reported.
  }
}
