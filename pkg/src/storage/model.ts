// A model's folder during a load: files are open for writing, under a lock that excludes other tabs and workers.

import type { Failure } from "../errors.js";
import type { EvictableModel, StorageFull } from "../types.js";
import { access, put, StoredFile, type SyncHandle } from "./file.js";
import { fileNames, folderName, lockName, readManifest, root, type Manifest } from "./folder.js";
import type { Identity } from "./journal.js";
import { evictable, remove } from "./list.js";

/** Chooses the models to delete, by id, when storage is full. */
export type Choose = (full: StorageFull) => Promise<readonly string[]>;

export class StoredModel {
  readonly #files = new Map<string, StoredFile>();
  /** Names of files that the server seems not to have: if a load succeeds without them, they were not needed. */
  readonly lacking = new Set<string>();
  #closed = false;
  #asking?: Promise<boolean>;

  private constructor(
    readonly folder: FileSystemDirectoryHandle,
    readonly manifest: Manifest,
    readonly release: () => void,
    readonly choose: Choose,
  ) {}

  /**
   * Opens the folder of the model with `key`, after other loads of it in this origin have ended: data that they fetched
   * need not be fetched again. Null if the browser cannot store files, or not on this thread. `choose` is called when
   * storage is full.
   */
  static async open(key: string, id: string, signal: AbortSignal, choose: Choose): Promise<StoredModel | null> {
    if (typeof FileSystemFileHandle === "undefined" || !("createSyncAccessHandle" in FileSystemFileHandle.prototype)) return null;
    const all = await root(true);
    if (all === null) return null;
    const name = await folderName(key);
    const release = await lock(name, signal);
    try {
      const folder = await all.getDirectoryHandle(name, { create: true });
      const known = await readManifest(folder);
      const model = new StoredModel(folder, { id, lastUsed: Date.now(), absent: known?.absent ?? [], verified: known?.verified ?? {}, complete: known?.complete ?? false }, release, choose);
      await model.note();
      return model;
    } catch {
      release();
      return null;
    }
  }

  /** The stored part of a file; null if nothing is stored. */
  async file(name: string): Promise<StoredFile | null> {
    const open = this.#files.get(name);
    if (open !== undefined) return open;
    const handles = await this.#handles(name, false);
    if (handles === null) return null;
    const file = StoredFile.existing(...handles, this.#room);
    if (file === null) handles.forEach((handle) => handle.close());
    else this.#files.set(name, file);
    return file;
  }

  /** Creates or replaces a file; null if storage is full. */
  async create(identity: Identity): Promise<StoredFile | null> {
    this.#files.get(identity.name)?.close();
    this.#files.delete(identity.name);
    const handles = await this.#handles(identity.name, true);
    if (handles === null) return null;
    const file = await StoredFile.create(identity, ...handles, this.#room);
    if (file === null) handles.forEach((handle) => handle.close());
    else this.#files.set(identity.name, file);
    this.manifest.absent = this.manifest.absent.filter((absent) => absent !== identity.name);
    return file;
  }

  /** The tag of an open file. */
  tag(name: string): string | null {
    return this.#files.get(name)?.identity.tag ?? null;
  }

  /** Notes that the server has no file of this name. */
  async missing(name: string): Promise<void> {
    this.#files.get(name)?.close();
    this.#files.delete(name);
    for (const file of Object.values(fileNames(name))) await this.folder.removeEntry(file).catch(() => {});
    if (!this.manifest.absent.includes(name)) this.manifest.absent.push(name);
  }

  /** Notes that a load or download is complete, and closes the folder. */
  async loaded(): Promise<void> {
    this.manifest.complete = true;
    this.manifest.absent = [...new Set([...this.manifest.absent, ...this.lacking])];
    await this.close();
  }

  /** Closes the folder, once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      for (const file of this.#files.values()) file.close();
      await this.note();
    } finally {
      this.#files.clear();
      this.release();
    }
  }

  /** Throws a failure if storage was too full for a file of `size` bytes. */
  async requireRoom(name: string, size: number): Promise<void> {
    const file = await this.file(name);
    if (file !== null && !file.full) return;
    const bytes = file?.bytes ?? 0;
    const full: Failure = {
      code: "storage", message: `${name}: not enough storage; ${bytes} of ${size} bytes are stored`, retryable: false,
      detail: { name, bytes, size, evictable: await this.#others() },
    };
    throw full;
  }

  /** Asks for space once on behalf of all that wait, and not again after a refusal. */
  readonly #room = (): Promise<boolean> => {
    this.#asking ??= this.#makeRoom().then((made) => {
      if (made) this.#asking = undefined;
      return made;
    });
    return this.#asking;
  };

  /** Deletes the models that are chosen; returns whether any were deleted. */
  async #makeRoom(): Promise<boolean> {
    const needed = [...this.#files.values()].reduce((sum, file) => sum + file.identity.size - file.bytes, 0);
    const models = await this.#others();
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    const ids = await this.choose({ id: this.manifest.id, needed, used: usage, quota, evictable: models });
    let gone = 0;
    // Another tab may have started to load one of them.
    for (const { id } of models) if (ids.includes(id)) gone += await remove(id).catch(() => 0);
    return gone > 0;
  }

  /** The models that can be deleted to make room for this one. */
  async #others(): Promise<EvictableModel[]> {
    return (await evictable()).filter(({ id }) => id !== this.manifest.id);
  }

  /** Writes `model.json`, or leaves what it holds if storage is full: what it lacks is requested from the server again later. */
  async note(): Promise<void> {
    const handle = await access(await this.folder.getFileHandle("model.json", { create: true }));
    try {
      const before = new Uint8Array(handle.getSize());
      handle.read(before, { at: 0 });
      const bytes = new TextEncoder().encode(JSON.stringify(this.manifest));
      const kept = put(handle, bytes, 0) ? bytes : before;
      if (kept === before) put(handle, before, 0);
      handle.truncate(kept.length);
    } finally {
      handle.close();
    }
  }

  async #handles(name: string, create: boolean): Promise<[SyncHandle, SyncHandle] | null> {
    const { data, journal } = fileNames(name);
    let first: SyncHandle | undefined;
    try {
      first = await access(await this.folder.getFileHandle(data, { create }));
      return [first, await access(await this.folder.getFileHandle(journal, { create }))];
    } catch {
      first?.close();
      return null;
    }
  }
}

/** Acquires the lock of a folder and returns the function that releases it. It is also released when the tab or worker ends. */
function lock(folder: string, signal: AbortSignal): Promise<() => void> {
  if (navigator.locks === undefined) return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    const held = () => new Promise<void>((release) => resolve(release));
    navigator.locks.request(lockName(folder), { signal }, held).catch(reject);
  });
}
