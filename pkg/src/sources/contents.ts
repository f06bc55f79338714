// The contents of one version of a file behind HTTP: what has arrived, what is stored, and how the rest is fetched.

import { isFailure, type Failure } from "../errors.js";
import { BLOCK, type StoredFile } from "../storage/index.js";
import type { Reader } from "../wasm.js";
import { Blocks, type Pool } from "./blocks.js";
import { TRIES, type Requests } from "./requests.js";
import { contentRange, isHtml, lengthOf, sameTag, strong, tagOf, totalOf } from "./responses.js";
import { give, take } from "./spare.js";
import { Stream } from "./stream.js";

/** One version of a file on a server. */
export interface Version {
  size: number;
  tag: string | null;
  /** Whether the file itself is served as HTML. */
  html: boolean;
}

export class Contents {
  readonly #version: Version;
  readonly #requests: Requests;
  readonly #kept: StoredFile | null;
  #head = new Uint8Array();
  /** Blocks that were fetched from the network. */
  readonly #arrived = new Set<number>();
  /** A response with the whole file, while it arrives. */
  #stream?: Stream;
  /** Blocks of such a response that the store does not keep; browsers hold large blobs outside memory. */
  readonly #spool = new Map<number, Blob>();
  /** Responses with the whole file since one of them delivered a block. */
  #barren = 0;

  /** `kept` is the file in the store, if there is one. */
  constructor(version: Version, requests: Requests, kept: StoredFile | null) {
    this.#version = version;
    this.#requests = requests;
    this.#kept = kept;
  }

  /** Takes the first bytes of the file. */
  async begin(head: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#head = head;
    if (head.length === this.#version.size && head.length > 0) await this.#kept?.write(0, head);
  }

  /** Takes the whole file. */
  async fill(blob: Blob): Promise<void> {
    for (let index = 0; index * BLOCK < blob.size; index++) {
      const part = blob.slice(index * BLOCK, (index + 1) * BLOCK);
      this.#arrived.add(index);
      await this.#kept?.write(index, new Uint8Array(await part.arrayBuffer()));
      if (!this.#kept?.has(index)) this.#spool.set(index, part);
    }
  }

  /** Reads a response with the whole file to its end, on behalf of all readers that wait for blocks of it. */
  follow(chunks: AsyncIterable<Uint8Array>): void {
    const stream = new Stream(chunks, this.#version.size, async (index, bytes) => {
      if (this.#kept?.has(index) || this.#spool.has(index)) return;
      this.#barren = 0;
      this.#arrived.add(index);
      await this.#kept?.write(index, bytes);
      if (!this.#kept?.has(index)) this.#spool.set(index, new Blob([bytes as Uint8Array<ArrayBuffer>]));
    });
    this.#stream = stream;
    stream.done.finally(() => (this.#stream = undefined));
  }

  /** A reader of the file; the cells that it caches are in the pool. */
  reader(name: string, pool: Pool): Reader {
    const size = this.#version.size;
    const blocks = new Blocks(size, (start, end) => this.#blocks(start, end), pool);
    return {
      name,
      size,
      read: async (start, end) => {
        if (!(start >= 0 && start <= end && end <= size)) throw this.#requests.failure(`bytes ${start}-${end} are outside the file of ${size} bytes`, 0, false);
        if (end <= this.#head.length) return this.#head.slice(start, end);
        return start === end ? new Uint8Array() : blocks.read(start, end);
      },
      done: give,
      stored: (start, end) => {
        for (let index = Math.floor(start / BLOCK); index * BLOCK < end; index++) if (this.#arrived.has(index)) return false;
        return this.#kept !== null && end > this.#head.length;
      },
      recheck: async () => {
        blocks.forget();
        this.#head = new Uint8Array();
        this.#spool.clear();
        return this.#replaced();
      },
    };
  }

  /** Reads whole blocks from the store, or fetches and stores them. */
  async #blocks(start: number, end: number): Promise<Uint8Array> {
    const out = take(end - start);
    const last = Math.ceil(end / BLOCK);
    for (let index = start / BLOCK; index < last; ) {
      const stream = this.#stream;
      const reaches = Math.min(this.#version.size, (index + 1) * BLOCK);
      const passed = stream === undefined || stream.position >= reaches;
      if (await this.#held(index, out.subarray(index * BLOCK - start, (index + 1) * BLOCK - start))) {
        index++;
      } else if (passed || !(await stream.until(reaches))) {
        const first = index;
        while (index < last && (index === first || !this.#kept?.has(index))) index++;
        const part = out.subarray(first * BLOCK - start, Math.min(out.length, index * BLOCK - start));
        if (!(await this.#fetch(first * BLOCK, part))) index = first; // a stream brings it
      }
    }
    return out;
  }

  /** Copies a block that has arrived to `out`. */
  async #held(index: number, out: Uint8Array): Promise<boolean> {
    if (await this.#kept?.read(index, out)) return true;
    const blob = this.#spool.get(index);
    if (blob === undefined) return false;
    out.set(new Uint8Array(await blob.arrayBuffer()));
    return true;
  }

  /**
   * Fills `out` with the bytes from `start` on, continuing where an interrupted response ended; each block is stored
   * when its last byte has arrived. Returns false if a server that ignores ranges sends the whole file: then the stream
   * delivers the bytes.
   */
  async #fetch(start: number, out: Uint8Array): Promise<boolean> {
    const end = start + out.length;
    let filled = 0;
    let done = 0;
    const fill = async (bytes: Uint8Array) => {
      out.set(bytes, filled);
      filled += bytes.length;
      for (; done < filled && (filled - done >= BLOCK || filled === out.length); done += BLOCK) {
        const index = (start + done) / BLOCK;
        this.#arrived.add(index);
        await this.#kept?.write(index, out.subarray(done, Math.min(filled, done + BLOCK)));
      }
    };
    if (start < this.#head.length) await fill(this.#head.subarray(start, Math.min(this.#head.length, end)));
    let ignored = 0;
    for (let attempt = 0; filled < out.length; attempt++) {
      const from = start + filled;
      // Some servers treat every If-Range as a mismatch.
      const version = ignored > 0 ? undefined : strong(this.#version.tag);
      const response = await this.#requests.answer(from, end, { patient: true, version });
      let fault: unknown = new Error("the response is truncated");
      try {
        this.#judge(response, from);
        if (response.status === 200) {
          // The bytes before `from` may have arrived already: they are read again only if the server keeps ignoring
          // ranges.
          if (from > 0 && ++ignored < TRIES) throw new Error("the server ignored the range");
          if (++this.#barren > TRIES) throw this.#requests.failed(fault, response.status);
          if (this.#stream === undefined) this.follow(this.#requests.chunks(response));
          else await response.body?.cancel();
          return false;
        }
        for await (const chunk of this.#requests.chunks(response)) {
          await fill(chunk.subarray(0, out.length - filled));
          if (filled === out.length) return true;
        }
      } catch (error) {
        response.body?.cancel().catch(() => {}); // a body that is being read is cancelled elsewhere
        if (isFailure(error)) throw error;
        fault = error;
      }
      if (start + filled > from) attempt = -1;
      if (attempt + 1 >= TRIES || this.#requests.context.signal.aborted) throw this.#requests.failed(fault, response.status);
      await this.#requests.pause(attempt);
    }
    return true;
  }

  /** Throws if a response cannot be used: a failure if that is final, an error if a retry may help. */
  #judge(response: Response, from: number): void {
    const { status } = response;
    if (status === 416) {
      const total = totalOf(response);
      if (total !== undefined && total !== this.#version.size) throw this.#changed(status);
      throw new Error("the server answered 416 to a valid range");
    }
    if (status !== 206 && status !== 200) throw this.#requests.failure(`the server answered ${status}`, status, false);
    const tag = tagOf(response);
    if (isHtml(response) && !this.#version.html) throw new Error("the server answered with a page");
    if (tag !== null && this.#version.tag !== null && !sameTag(tag, this.#version.tag)) throw this.#changed(status);
    const range = contentRange(response);
    if (status === 206 && range !== null) {
      if (range.size !== undefined && range.size !== this.#version.size) throw this.#changed(status);
      if (range.start !== from) throw new Error(`requested byte ${from}, got byte ${range.start}`);
    }
    const length = status === 200 ? lengthOf(response) : undefined;
    if (length !== undefined && length !== this.#version.size) throw new Error(`the response says that the file has ${length} bytes instead of ${this.#version.size}`);
  }

  #changed(status: number): Failure {
    this.#requests.context.changed = true;
    return this.#requests.failure("the file changed on the server while it was read", status, true);
  }

  /** Fetches a stored file again and returns the indices of the blocks that changed. */
  async #replaced(): Promise<number[]> {
    const kept = this.#kept;
    if (kept === null) return [];
    const before = kept.forget();
    for (let start = 0; start < this.#version.size; start += 8 * BLOCK) give(await this.#blocks(start, Math.min(this.#version.size, start + 8 * BLOCK)));
    return [...before].filter(([index, hash]) => kept.hash(index)?.some((byte, i) => byte !== hash[i]) ?? true).map(([index]) => index);
  }
}
