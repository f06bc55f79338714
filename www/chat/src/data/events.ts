// What the store tells of, in this tab and in the others.

/** A change in the store. `remote`: made by another tab. */
export type StoreEvent = { remote: boolean } &
  /** Conversations were added, changed, deleted or restored. */
  (
    | { kind: "conversations"; ids: string[] }
    /** Messages of a conversation were added, changed or deleted. */
    | { kind: "messages"; conversation: string; ids: string[] }
    | { kind: "draft"; conversation: string }
    | { kind: "presets" }
    | { kind: "settings" }
    /** The store was locked, unlocked, encrypted or decrypted: see `Store.protection`. */
    | { kind: "protection" }
    /** The database was closed: a newer version of the application took it over, or the browser deleted it. */
    | { kind: "closed" }
  );

export type StoreListener = (event: StoreEvent) => void;
