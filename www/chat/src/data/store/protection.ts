// Turns encryption on and off, changes the passphrase, and completes what a crash interrupted.

import { DataError } from "../errors";
import { newId } from "../ids";
import { convertAll } from "./conversion";
import { createKey, rewrapKey, unwrapKey } from "./passphrase";
import type { Rows } from "./rows";
import type { ProtectionRecord } from "./vault";

type OnProgress = (done: number, total: number) => void;

export class Protector {
  /** The conversion that `unlock` took up again. */
  #resumed: Promise<void> = Promise.resolve();

  /** `onChange`: called after every change of the state. `lockName`: of the lock that only one tab can hold. */
  constructor(
    readonly rows: Rows,
    readonly lockName: string,
    readonly onChange: () => void,
  ) {}

  async unlock(passphrase: string): Promise<void> {
    const { vault, db } = this.rows;
    await vault.reload(db);
    await vault.unlock(passphrase);
    this.onChange();
    this.#resumed = this.#exclusive(
      () => this.#complete(),
      () => undefined,
    );
    // Reported by `settled`.
    this.#resumed.catch(() => {});
  }

  settled(): Promise<void> {
    return this.#resumed;
  }

  async encrypt(passphrase: string, onProgress?: OnProgress): Promise<void> {
    await this.#exclusive(async () => {
      const { vault } = this.rows;
      if (vault.record.state !== "none") {
        await vault.unlock(passphrase);
        await this.#complete(onProgress);
      }
      if (vault.record.state === "encrypted") return;
      const { key, wrapped } = await createKey(passphrase);
      const id = newId();
      vault.hold(id, key);
      await this.#set({ state: "encrypting", key: { id, wrapped } });
      await this.#complete(onProgress);
    });
  }

  async decrypt(passphrase: string, onProgress?: OnProgress): Promise<void> {
    await this.#exclusive(async () => {
      const { vault } = this.rows;
      const { key, state } = vault.record;
      if (key === undefined) return;
      vault.hold(key.id, await unwrapKey(key.wrapped, passphrase));
      if (state !== "decrypting") await this.#set({ state: "decrypting", key });
      await this.#complete(onProgress);
    });
  }

  async changePassphrase(from: string, to: string): Promise<void> {
    await this.#exclusive(async () => {
      const { key, state } = this.rows.vault.record;
      if (key === undefined) throw new DataError("passphrase", {});
      await this.#set({ state, key: { id: key.id, wrapped: await rewrapKey(key.wrapped, from, to) } });
    });
  }

  /** Completes the conversion that the state says is under way. */
  async #complete(onProgress?: OnProgress): Promise<void> {
    const { key, state } = this.rows.vault.record;
    if (state === "encrypting") {
      await convertAll(this.rows, onProgress);
      await this.#set({ state: "encrypted", key });
    } else if (state === "decrypting") {
      await convertAll(this.rows, onProgress);
      await this.#set({ state: "none" });
    }
  }

  async #set(next: Omit<ProtectionRecord, "epoch">): Promise<void> {
    const record = await this.rows.write(["meta"], async () => {
      const record: ProtectionRecord = { ...next, epoch: this.rows.vault.record.epoch + 1 };
      return {
        async write(transaction) {
          await transaction.objectStore("meta").put(record, "protection");
          return record;
        },
      };
    });
    this.rows.vault.adopt(record);
    this.onChange();
  }

  /** Runs `work` in one tab at a time, with the state as it then is. Rejects with "busy", or does `otherwise`, where another one is at it. */
  async #exclusive(
    work: () => Promise<void>,
    otherwise: () => void = () => {
      throw new DataError("busy", {});
    },
  ): Promise<void> {
    // This tab may be completing an interrupted change itself.
    await this.#resumed.catch(() => {});
    return navigator.locks.request(this.lockName, { ifAvailable: true }, async (lock) => {
      if (lock === null) return otherwise();
      if (await this.rows.vault.reload(this.rows.db)) this.onChange();
      await work();
    });
  }
}
