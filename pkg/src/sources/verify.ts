// Whole files against digests that somebody vouches for: the caller's `integrity`, or the hub's own.

import type { Failure } from "../errors.js";
import type { StoredModel } from "../storage/model.js";
import type { Progress } from "../types.js";
import type { Hasher, Reader, Source } from "../wasm.js";
import type { Location } from "./locate.js";

/** Bytes of a file read at once. */
const STRIDE = 8 << 20;

/** Milliseconds that a hub has to list its files. */
const PATIENCE = 20_000;

/** SHA-256 by file name, in hexadecimal. */
export type Digests = Map<string, string>;

/** What a pack says of its own files, see src/weights/pack.rs. */
const MANIFEST = "minke.json";

/** The digests that a hub knows of its large files; none where it cannot be asked. */
export async function hubDigests(location: Location, fetcher: typeof fetch, signal: AbortSignal): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  if (location.kind === "files" || location.tree === undefined) return digests;
  try {
    const headers: Record<string, string> = location.token === undefined ? {} : { Authorization: `Bearer ${location.token}` };
    const response = await fetcher(location.tree, { headers, referrerPolicy: "no-referrer", credentials: "same-origin", signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]) });
    const entries: unknown = response.ok ? await response.json() : [];
    for (const entry of Array.isArray(entries) ? entries : []) {
      const { path, lfs } = entry as { path?: unknown; lfs?: { oid?: unknown } };
      const oid = typeof lfs?.oid === "string" ? lfs.oid.replace(/^sha256:/, "") : "";
      // Files are opened by their last name.
      if (typeof path === "string" && /^[0-9a-f]{64}$/.test(oid)) digests.set(path.split("/").at(-1)!, oid);
    }
  } catch {
    // What a mirror does not tell is not checked; what the caller gave is.
  }
  return digests;
}

/** Checks files of one load. */
export class Verifier {
  readonly #opened = new Map<string, Reader>();

  constructor(
    readonly hasher: new () => Hasher,
    readonly progress: (progress: Progress) => void,
    readonly store: StoredModel | null,
  ) {}

  /** The same source, of which every file with a digest is read and checked before it is opened to anybody. */
  source(source: Source, digests: Digests): Source {
    const check = async (reader: Reader | null) => {
      const expected = reader === null ? undefined : digests.get(reader.name);
      if (reader !== null) this.#opened.set(reader.name, reader);
      if (reader !== null && expected !== undefined) await this.#check(reader, expected);
      return reader;
    };
    const open = async (name: string) => {
      const reader = await check(await source.open(name));
      if (name === MANIFEST && reader !== null) await ofPack(reader, digests);
      return reader;
    };
    if (source.kind === "folder") return { ...source, open };
    const { reader } = source;
    // The file itself is checked when its first byte is asked for.
    let checked: Promise<unknown> | undefined;
    const read = async (start: number, end: number) => {
      await (checked ??= check(reader));
      return reader.read(start, end);
    };
    return { ...source, reader: { ...reader, read }, open };
  }

  /**
   * Checks the opened files that are stored whole: whether blocks of any had to be replaced. Of a file that had no room, or
   * tensors that nobody asked for, nothing is fetched just to be hashed.
   */
  async opened(digests: Digests): Promise<boolean> {
    let replaced = false;
    for (const [name, reader] of this.#opened) {
      const expected = digests.get(name);
      const here = (await this.store?.file(name))?.complete ?? false;
      if (here && expected !== undefined) replaced = (await this.#check(reader, expected)) || replaced;
    }
    return replaced;
  }

  /** Whether blocks had to be replaced for the file to be what it should. */
  async #check(reader: Reader, expected: string): Promise<boolean> {
    const { store } = this;
    // What was found right need not be hashed again: its blocks are checked one by one.
    const right = `${expected} ${reader.size} ${store?.tag(reader.name) ?? ""}`;
    if (store?.manifest.verified[reader.name] === right) return false;
    let found = await this.#digest(reader);
    let replaced: number[] = [];
    if (found !== expected) {
      // Something is wrong with what arrived, or with what is published. What differs when it is fetched again was the former.
      replaced = (await reader.recheck?.()) ?? [];
      if (replaced.length > 0) found = await this.#digest(reader);
    }
    if (found !== expected) {
      const failure: Failure = {
        code: "integrity", message: `${reader.name}: its SHA-256 is ${found}, not ${expected}`, retryable: true,
        detail: { file: reader.name, expected, found },
      };
      throw failure;
    }
    if (store !== null) store.manifest.verified[reader.name] = right;
    return replaced.length > 0;
  }

  async #digest(reader: Reader): Promise<string> {
    const hash = new this.hasher();
    for (let start = 0; start < reader.size; start += STRIDE) {
      const end = Math.min(reader.size, start + STRIDE);
      hash.update(await reader.read(start, end));
      this.progress({ stage: "verify", loaded: end, total: reader.size, file: reader.name, fromCache: false });
    }
    return hash.finish();
  }
}

/** Adds what a pack's manifest says; whether it makes sense is for the engine to judge. */
async function ofPack(reader: Reader, digests: Digests): Promise<void> {
  type Entry = { name?: unknown; sha256?: unknown; parts?: Entry[] };
  const note = (name: unknown, { sha256 }: Entry) => {
    if (typeof name === "string" && typeof sha256 === "string" && !digests.has(name)) digests.set(name, sha256);
  };
  try {
    const { files } = JSON.parse(new TextDecoder().decode(await reader.read(0, reader.size))) as { files?: Record<string, Entry> };
    for (const [name, entry] of Object.entries(files ?? {})) {
      if (!entry.parts?.length) note(name, entry);
      for (const part of entry.parts ?? []) note(part.name, part);
    }
  } catch {
    // no manifest of ours: the engine says so
  }
}
