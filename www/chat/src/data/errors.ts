// The errors of the data layer. Each kind has a code, so that the interface can have its own words for it, and its facts.

/** What went wrong, by code, with its facts. */
export interface DataErrors {
  /** The browser has no IndexedDB, or refuses it (a private window, a policy). */
  unavailable: { reason: string };
  /** The origin's storage is full. `needed`: roughly the bytes that were to be written. */
  quota: { needed: number; used?: number; quota?: number };
  /** The database was written by a newer version of the application. */
  newer: { found: number; known: number };
  /** Another tab keeps an older version of the database open. */
  blocked: { found: number; known: number };
  /** A newer version in another tab took the database over; the page must be loaded again. */
  closed: Record<string, never>;
  /** The store is encrypted and not unlocked. */
  locked: Record<string, never>;
  /** The passphrase is not the one that the store is encrypted with. */
  passphrase: Record<string, never>;
  /** Something stored does not decrypt: it was damaged, or swapped. */
  damaged: { store: string; id: string };
  /** Another tab is changing the encryption. */
  busy: Record<string, never>;
  /** There is no such conversation, message or preset. */
  missing: { what: "conversation" | "message" | "preset"; id: string };
  /** The file is not in a format that can be imported. `where`: a path like `[3].mapping.abc.message.author`. */
  format: { format: string; where: string; expected: string };
  /** The file is of a kind that cannot be attached. */
  kind: { name: string; type: string };
  /** The file, or the text in it, is larger than allowed. */
  size: { name: string; bytes: number; limit: number };
  /** The file's text is in no known encoding: it has no byte order mark and is not UTF-8. `at`: the first wrong byte. */
  encoding: { name: string; at: number };
  /** The file cannot be read: a damaged PDF, one that needs a password, or no text in it. */
  unreadable: { name: string; reason: "damaged" | "password" | "empty" | "binary" };
}

export type DataErrorCode = keyof DataErrors;

/** An error of the data layer; `detail` has the facts of its `code`. */
export class DataError<C extends DataErrorCode = DataErrorCode> extends Error {
  override readonly name = "DataError";
  constructor(
    readonly code: C,
    readonly detail: DataErrors[C],
    options?: ErrorOptions,
  ) {
    super(`${code}: ${JSON.stringify(detail)}`, options);
  }
}

/** Whether `error` is a `DataError`, of that code if one is given. */
export function isDataError<C extends DataErrorCode>(error: unknown, code?: C): error is DataError<C> {
  return error instanceof DataError && (code === undefined || error.code === code);
}
