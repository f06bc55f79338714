// Checks whole files against digests: the caller's `integrity`, a pack's manifest, or the hub's record.

import type { Failure } from "../errors.js";
import type { StoredModel } from "../storage/index.js";
import type { Hasher, Reader, Source } from "../wasm.js";
import { MANIFEST, type Digests } from "./hub.js";

/** Bytes of a file that are read at once. */
const STRIDE = 1 << 20;

/** Files up to this size are fetched, and so checked, when they are opened; larger ones when their bytes are read. */
const SMALL = 64 << 10;

/** A callback for the progress of reading whole files. */
export type OnRead = (loaded: number, total: number, reader: Reader, stored: boolean) => void | Promise<void>;

/** Checks the files of one load. */
export class Verifier {
  /** Whether only headers are read: then large files are not checked. */
  looking = false;
  readonly #opened = new Map<string, Reader>();
  readonly #checks = new Map<string, Promise<unknown>>();
  readonly #right = new Set<string>();
  /** The parts of a pack's split files. */
  readonly #parts = new Map<string, string[]>();
  /** Called when the manifest of a pack has been read and its digests are known, before the engine gets it. */
  packed: () => Promise<void> = async () => {};
  #isPack = false;

  constructor(
    readonly hasher: new () => Hasher,
    readonly store: StoredModel | null,
    readonly digests: Digests,
  ) {}

  /** Wraps a source so that every file with a digest is read and checked before it can be used. */
  source(source: Source): Source {
    const check = async (reader: Reader | null) => {
      if (reader !== null) this.#opened.set(reader.name, reader);
      if (reader === null || (this.looking && reader.size > SMALL)) return reader;
      let checked = this.#checks.get(reader.name);
      if (checked === undefined) this.#checks.set(reader.name, (checked = this.#check(reader)));
      await checked;
      return reader;
    };
    const open = async (name: string) => {
      const reader = await check(await source.open(name));
      if (name === MANIFEST && reader !== null && !this.#isPack) {
        this.#isPack = true;
        await this.#ofPack(reader);
        this.#checks.clear(); // files that were opened before are checked when they are opened again
        await this.packed();
      }
      return reader;
    };
    if (source.kind === "folder") return { ...source, open };
    const { reader } = source;
    // A large file is checked when its first byte is read.
    const read = async (start: number, end: number) => {
      await check(reader);
      return reader.read(start, end);
    };
    return { ...source, reader: { ...reader, read }, open };
  }

  /** Reads whole weight files, and checks those that have a digest. */
  async gather(source: Source, files: readonly { name: string }[], onRead: OnRead): Promise<void> {
    await this.#whole(await this.#readers(source, files), onRead);
  }

  /**
   * As `whole`, if a digest requires a file to be checked before its weights are used; otherwise returns false. Other
   * missing files are fetched along with it, so that there is a single download.
   */
  async beforehand(source: Source, files: readonly { name: string }[], onRead: OnRead): Promise<boolean> {
    const wanted: Reader[] = [];
    for (const reader of await this.#readers(source, files)) {
      const kept = (await this.store?.file(reader.name)) ?? null;
      const missing = kept !== null && !kept.complete;
      if (this.digests.has(reader.name) ? missing || !this.#isRight(reader) : missing) wanted.push(reader);
    }
    if (!wanted.some((reader) => this.digests.has(reader.name))) return false;
    await this.#whole(wanted, onRead);
    return true;
  }

  /**
   * Checks the opened files that are stored completely, and returns whether blocks of any had to be replaced. If a file
   * did not fit, or tensors were not needed, nothing is fetched just to be hashed.
   */
  async opened(digests: Digests, onRead: OnRead): Promise<boolean> {
    for (const [name, digest] of digests) if (!this.digests.has(name)) this.digests.set(name, digest);
    const readers: Reader[] = [];
    for (const [name, reader] of this.#opened) {
      const here = (await this.store?.file(name))?.complete ?? false;
      if (here && this.digests.has(name) && !this.#isRight(reader)) readers.push(reader);
    }
    return this.#whole(readers, onRead);
  }

  async #readers(source: Source, files: readonly { name: string }[]): Promise<Reader[]> {
    const readers: Reader[] = [];
    for (const name of files.flatMap(({ name }) => this.#parts.get(name) ?? [name])) {
      const reader = source.kind === "gguf" && source.reader.name === name ? source.reader : await source.open(name);
      if (reader !== null) readers.push(reader); // otherwise it was removed since it was listed, which a load reports
    }
    return readers;
  }

  /** Reads and checks files, and returns whether blocks of any had to be replaced. */
  async #whole(readers: readonly Reader[], onRead: OnRead): Promise<boolean> {
    const total = readers.reduce((sum, reader) => sum + reader.size, 0);
    let [loaded, replaced] = [0, false];
    for (const reader of readers) {
      const again = await this.#check(reader, (bytes, stored) => onRead((loaded += bytes), total, reader, stored));
      replaced ||= again;
    }
    return replaced;
  }

  /** The key under which a successful check of this file is recorded. */
  #key(reader: Reader): string {
    return `${this.digests.get(reader.name)} ${reader.size} ${this.store?.tag(reader.name) ?? ""}`;
  }

  /** Whether a file was checked successfully before: then its blocks are only checked individually when they are read. */
  #isRight(reader: Reader): boolean {
    if (!this.digests.has(reader.name)) return false;
    return this.#right.has(reader.name) || this.store?.manifest.verified[reader.name] === this.#key(reader);
  }

  /** Reads a whole file if its progress is reported or it has to be checked, and returns whether blocks had to be replaced. */
  async #check(reader: Reader, onRead?: (bytes: number, stored: boolean) => void | Promise<void>): Promise<boolean> {
    const expected = this.#isRight(reader) ? undefined : this.digests.get(reader.name);
    if (expected === undefined && onRead === undefined) return false;
    const hash = async () => {
      const hash = new this.hasher();
      for (let start = 0; start < reader.size; start += STRIDE) {
        const end = Math.min(reader.size, start + STRIDE);
        const bytes = await reader.read(start, end);
        if (expected !== undefined) hash.update(bytes);
        reader.done?.(bytes);
        await onRead?.(end - start, reader.stored?.(start, end) ?? false);
      }
      onRead = undefined; // once
      return hash.finish();
    };
    let found = await hash();
    if (expected === undefined) return false;
    const mended = found !== expected;
    // Either the stored data or the published file is wrong. If blocks differ after fetching again, it was the stored
    // data.
    if (mended && ((await reader.recheck?.()) ?? []).length > 0) found = await hash();
    if (found !== expected) {
      const failure: Failure = {
        code: "integrity", message: `${reader.name}: its SHA-256 is ${found}, not ${expected}`, retryable: true,
        detail: { file: reader.name, expected, found },
      };
      throw failure;
    }
    this.#right.add(reader.name);
    if (this.store !== null) {
      this.store.manifest.verified[reader.name] = this.#key(reader);
      await this.store.note(); // so that an interrupted load need not hash it again
    }
    return mended;
  }

  /** Adds the digests of a pack's manifest, which the engine validates. */
  async #ofPack(reader: Reader): Promise<void> {
    type Entry = { name?: unknown; sha256?: unknown; parts?: Entry[] };
    const note = (name: unknown, { sha256 }: Entry) => {
      if (typeof name === "string" && typeof sha256 === "string" && !this.digests.has(name)) this.digests.set(name, sha256);
    };
    try {
      const { files } = JSON.parse(new TextDecoder().decode(await reader.read(0, reader.size))) as { files?: Record<string, Entry> };
      for (const [name, entry] of Object.entries(files ?? {})) {
        if (!entry.parts?.length) note(name, entry);
        for (const part of entry.parts ?? []) note(part.name, part);
        if (entry.parts?.length) this.#parts.set(name, entry.parts.map((part) => String(part.name)));
      }
    } catch {
      // not a valid manifest, which the engine reports
    }
  }
}
