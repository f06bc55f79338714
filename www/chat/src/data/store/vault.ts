// Seals what is written and opens what is read, as the store's protection asks.

import { DataError } from "../errors";
import type { Protection } from "../store";
import { unwrapKey } from "./passphrase";
import type { WrappedKey } from "./passphrase";
import type { Body, Database, Row } from "./schema";

/** What the database says about its protection; absent: "none", epoch 0. */
export interface ProtectionRecord {
  state: Protection;
  /** Grows with every change of the state: whoever prepared rows in an older one must not write them. */
  epoch: number;
  /** Names the key, which changes when a store is decrypted and encrypted again. Absent: there is none. */
  key?: { id: string; wrapped: WrappedKey };
}

const NONE: ProtectionRecord = { state: "none", epoch: 0 };

/** The protection that is in force for this tab, and its key where it is unlocked. */
export class Vault {
  record: ProtectionRecord = NONE;
  /** Keys that this tab may use, by their ids: more than one only while a store is encrypted anew. */
  readonly #keys = new Map<string, CryptoKey>();

  /** Takes over what the database says. Returns whether that changed anything. */
  adopt(record: ProtectionRecord | undefined): boolean {
    const before = this.record;
    this.record = record ?? NONE;
    return before.epoch !== this.record.epoch;
  }

  async reload(db: Database): Promise<boolean> {
    return this.adopt((await db.get("meta", "protection")) as ProtectionRecord | undefined);
  }

  get locked(): boolean {
    return this.record.key !== undefined && this.#key === undefined;
  }

  get #key(): CryptoKey | undefined {
    return this.record.key && this.#keys.get(this.record.key.id);
  }

  async unlock(passphrase: string): Promise<void> {
    const { key } = this.record;
    if (key !== undefined) this.hold(key.id, await unwrapKey(key.wrapped, passphrase));
  }

  hold(id: string, key: CryptoKey): void {
    this.#keys.set(id, key);
  }

  forget(): void {
    this.#keys.clear();
  }

  /** Whether new rows are encrypted. */
  get seals(): boolean {
    return this.record.state === "encrypting" || this.record.state === "encrypted";
  }

  /** The body of a row that is to be written. */
  async seal<T>(place: Place, value: T): Promise<Body<T>> {
    if (!this.seals) {
      if (this.locked) throw new DataError("locked", {});
      return { plain: value };
    }
    if (this.#key === undefined) throw new DataError("locked", {});
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    return {
      iv,
      sealed: await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: bound(place) }, this.#key, bytes),
    };
  }

  /** The content of a row that was read. Rejects with "locked", or "damaged" if it is not what was sealed for this place. */
  async open<T>(place: Place, body: Body<T>): Promise<T> {
    if ("plain" in body) {
      // Rows that are not encrypted yet are as private as the others.
      if (this.locked) throw new DataError("locked", {});
      return body.plain;
    }
    if (this.#key === undefined) throw new DataError("locked", {});
    try {
      const bytes = await crypto.subtle.decrypt(
        { name: "AES-GCM", iv: body.iv, additionalData: bound(place) },
        this.#key,
        body.sealed,
      );
      return JSON.parse(new TextDecoder().decode(bytes)) as T;
    } catch (cause) {
      throw new DataError("damaged", { store: place.store, id: place.id }, { cause });
    }
  }

  openRow<T>(store: string, row: Row<T> & { conversation?: string }): Promise<T> {
    return this.open(placeOf(store, row), row.body);
  }
}

/** Where a row stands. It is authenticated with the content, so that rows cannot be swapped. */
export interface Place {
  store: string;
  id: string;
  conversation?: string;
}

export const placeOf = (store: string, { id, conversation }: { id: string; conversation?: string }): Place => ({
  store,
  id,
  conversation,
});

const bound = ({ store, conversation = "", id }: Place): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(JSON.stringify([store, conversation, id]));
