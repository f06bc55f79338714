// Encrypts or decrypts every row of a store that stays in use meanwhile.
//
// The state in the database is changed first, so that from then on every write of every tab has the new form, and a tab without the key is
// locked. Rows say themselves which form they have. So a conversion that was interrupted anywhere is completed by going through the rows again.

import type { Rows } from "./rows";
import { CONTENT } from "./schema";
import type { ContentStore, Database, Row } from "./schema";

/** Rows that are converted in one transaction. */
const BATCH = 400;

/** Brings all rows to the form that the vault's state asks for. `onProgress`: rows done, of all. */
export async function convertAll(rows: Rows, onProgress?: (done: number, total: number) => void): Promise<void> {
  const total = await countAll(rows.db);
  let done = 0;
  onProgress?.(done, total);
  for (const store of CONTENT) {
    for await (const batch of batches(rows.db, store)) {
      await convert(rows, store, batch);
      done += batch.length;
      onProgress?.(Math.min(done, total), total);
    }
  }
}

async function convert(rows: Rows, store: ContentStore, batch: readonly Row<unknown>[]): Promise<void> {
  const wrong = batch.filter((row) => "sealed" in row.body !== rows.vault.seals);
  if (wrong.length === 0) return;
  await rows.write(
    [store],
    async () => {
      const readable = await rows.openReadable(store, wrong);
      const converted = await Promise.all(
        readable.map(({ row, value }) => rows.seal(store, { ...row, version: row.version + 1 }, value)),
      );
      return {
        async write(transaction) {
          const target = transaction.objectStore(store);
          const range = IDBKeyRange.bound(keyOf(batch[0]!), keyOf(batch.at(-1)!));
          const versions = new Map(
            ((await target.getAll(range as never)) as Row<unknown>[]).map((row) => [String(keyOf(row)), row.version]),
          );
          // A newer version has the new form already, and a deleted row stays deleted.
          const unchanged = converted.filter((row) => versions.get(String(keyOf(row))) === row.version - 1);
          await Promise.all(unchanged.map((row) => target.put(row as never)));
        },
      };
      // What is lost of this in a crash is converted again; the change of state after it waits for the disk.
    },
    false,
  );
}

/** All rows of a store, in the order of their keys, some at a time. */
export async function* batches(db: Database, store: ContentStore, size = BATCH): AsyncGenerator<Row<unknown>[]> {
  let range: IDBKeyRange | undefined;
  for (;;) {
    const rows = (await db.getAll(store, range as never, size)) as Row<unknown>[];
    if (rows.length === 0) return;
    yield rows;
    if (rows.length < size) return;
    range = IDBKeyRange.lowerBound(keyOf(rows.at(-1)!), true);
  }
}

async function countAll(db: Database): Promise<number> {
  const counts = await Promise.all(CONTENT.map((store) => db.count(store)));
  return counts.reduce((sum, count) => sum + count, 0);
}

function keyOf(row: Row<unknown> & { conversation?: string }): IDBValidKey {
  return row.conversation === undefined ? row.id : [row.conversation, row.id];
}
