// Files behind HTTP, read by ranges, with the faults real servers have.

import type { Failure } from "../errors.js";
import type { Reader } from "../wasm.js";
import type { StoredFile } from "../storage/file.js";
import { BLOCK } from "../storage/journal.js";
import type { StoredModel } from "../storage/model.js";
import { Blocks, type FetchRange, type Shelf } from "./blocks.js";

/** Bytes asked for when a file is opened: whole small files, the header of most large ones. */
const HEAD = 64 * 1024;
/** Tries without any progress before a request counts as failed. */
const TRIES = 5;
/** Milliseconds: the first pause between tries, and the longest that a server may ask for. */
const PAUSE = 300;
const LONGEST_PAUSE = 60_000;
/** Milliseconds without a byte after which a request counts as broken. */
const STALL = 20_000;

export interface HttpContext {
  fetch: typeof fetch;
  /** Sent with requests to the given URLs, not with those to where they redirect. */
  headers: Record<string, string>;
  /** Fires when nothing more will be read. */
  signal: AbortSignal;
  /** Keeps what arrives, where the browser keeps anything. */
  store?: StoredModel | null;
  /** What the files hold in memory together. */
  shelf?: Shelf;
}

/** Opens a file; null where the server says there is none. */
export async function openHttp(url: string, name: string, context: HttpContext): Promise<Reader | null> {
  return new HttpFile(url, name, context).open();
}

class HttpFile {
  /** Where the first answer came from, which saves a redirect per request. */
  #resolved?: string;
  #tag: string | null = null;

  constructor(
    readonly url: string,
    readonly name: string,
    readonly context: HttpContext,
  ) {}

  async open(): Promise<Reader | null> {
    const { store } = this.context;
    const kept = await store?.file(this.name);
    if (kept != null && (await this.#unchanged(kept))) {
      if (kept.complete) store!.whole.add(this.name);
      return this.#reader(kept.identity.size, new Uint8Array(), kept);
    }
    const absent = store?.manifest.absent.includes(this.name) ?? false;
    if (absent && offline()) return null;
    for (let attempt = 0; ; attempt++) {
      let response: Response;
      try {
        response = await this.#answer(0, HEAD, absent ? 1 : TRIES);
      } catch (error) {
        if (absent && unreachable(error)) return null;
        throw error;
      }
      if (response.status === 404 || response.status === 410) {
        await store?.missing(this.name);
        return null;
      }
      this.#tag = response.headers.get("etag");
      try {
        if (response.status === 206) return await this.#ranged(response);
        if (response.status === 416) return this.#plain(0, new Uint8Array(), response);
        return await this.#whole(response);
      } catch (error) {
        if (isFailure(error) || attempt + 1 >= TRIES) throw this.#failed(error, response.status);
        await this.#pause(attempt);
      }
    }
  }

  /** The server does ranges: keep the head, ask for the rest as it is read. */
  async #ranged(response: Response): Promise<Reader> {
    if (response.redirected) this.#resolved = response.url;
    const range = contentRange(response);
    const head = new Uint8Array(await response.arrayBuffer());
    let size = range?.size;
    if (size === undefined && head.length < HEAD) size = head.length;
    // The header may be hidden from pages of other origins; a HEAD answer's length is not.
    size ??= await this.#length();
    if (range !== null && (range.start !== 0 || range.end - range.start !== head.length)) throw new Error("the answer is cut short");
    if (head.length < Math.min(size, HEAD)) throw new Error("the answer is cut short");
    return this.#plain(size, head.subarray(0, size), response);
  }

  /** Whether the server still has the file that is stored. Where it cannot be asked, what is stored must do. */
  async #unchanged(kept: StoredFile): Promise<boolean> {
    const { size, tag } = kept.identity;
    if (offline()) return true;
    let response: Response;
    try {
      response = await this.#answer(0, 1, 1);
    } catch (error) {
      if (unreachable(error)) return true;
      throw error;
    }
    await response.body?.cancel();
    if (response.redirected) this.#resolved = response.url;
    this.#tag = response.headers.get("etag");
    if (response.status === 416) return size === 0;
    if (!response.ok || tagOf(response) !== tag) return false;
    const now = response.status === 206 ? contentRange(response)?.size : Number(response.headers.get("content-length") ?? Number.NaN);
    // A size that the server does not tell is vouched for by the tag.
    return now === undefined || Number.isNaN(now) ? tag !== null : now === size || response.headers.get("content-encoding") !== null;
  }

  /** A reader of a file that has just been seen for the first time, or anew. */
  async #plain(size: number, head: Uint8Array, response: Response): Promise<Reader> {
    const kept = await this.context.store?.create({ name: this.name, size, tag: tagOf(response) });
    if (kept != null && head.length === size && size > 0) await kept.write(0, head);
    return this.#reader(size, head, kept);
  }

  /** The server ignores ranges: its one stream becomes a blob, which browsers keep outside memory where it is large. */
  async #whole(response: Response): Promise<Reader> {
    const blob = await response.blob();
    const declared = Number(response.headers.get("content-length") ?? Number.NaN);
    // A compressed body's declared length is that of the compressed bytes.
    if (response.headers.get("content-encoding") === null && declared > blob.size) throw new Error("the answer is cut short");
    const kept = await this.context.store?.create({ name: this.name, size: blob.size, tag: tagOf(response) });
    return this.#reader(blob.size, new Uint8Array(), kept, (start, end) => readBlob(blob, start, end, this.url));
  }

  #reader(size: number, head: Uint8Array, kept?: StoredFile | null, fetchRange: FetchRange = (start, end) => this.#fetchRange(start, end)): Reader {
    const blocks = new Blocks(size, head, kept == null ? fetchRange : through(kept, fetchRange), this.context.shelf);
    return {
      name: this.name,
      size,
      read: async (start, end) => {
        if (!(start >= 0 && start <= end && end <= size)) throw this.#failure(`bytes ${start}-${end} lie outside its ${size}`, 0, false);
        return start === end ? new Uint8Array() : blocks.read(start, end);
      },
      recheck: async () => {
        blocks.forget();
        return kept == null ? [] : replaced(kept, fetchRange);
      },
    };
  }

  /** Exactly the bytes [start, end), going on from where a broken answer ended. */
  async #fetchRange(start: number, end: number): Promise<Uint8Array> {
    const out = new Uint8Array(end - start);
    let filled = 0;
    for (let attempt = 0; ; attempt++) {
      const from = start + filled;
      const response = await this.#answer(from, end, TRIES, true);
      const before = filled;
      let fault: unknown = new Error("the answer is cut short");
      try {
        if (response.status !== 206 && response.status !== 200) {
          await response.body?.cancel();
          throw this.#failure(`the server answered ${response.status}`, response.status, false);
        }
        const tag = response.headers.get("etag");
        if (tag !== null && this.#tag !== null && tag !== this.#tag) {
          await response.body?.cancel();
          throw this.#failure("the file changed on the server while it was read", response.status, true);
        }
        const range = contentRange(response);
        if (response.status === 206 && range !== null && range.start !== from) {
          await response.body?.cancel();
          throw new Error(`asked for byte ${from}, got byte ${range.start}`);
        }
        // A server that changed its mind about ranges starts at the beginning.
        let skip = response.status === 200 ? from : 0;
        for await (const chunk of chunks(response)) {
          const part = chunk.subarray(Math.min(skip, chunk.length), Math.min(chunk.length, skip + out.length - filled));
          skip -= Math.min(skip, chunk.length);
          out.set(part, filled);
          filled += part.length;
          if (filled === out.length) return out;
        }
      } catch (error) {
        if (isFailure(error)) throw error;
        fault = error;
      }
      if (filled > before) attempt = -1;
      if (attempt + 1 >= TRIES || this.context.signal.aborted) throw this.#failed(fault, response.status);
      await this.#pause(Math.max(0, attempt));
    }
  }

  /** An answer that says something about the file: faults that pass are waited out. */
  async #answer(start: number, end: number, tries = TRIES, patient = false): Promise<Response> {
    for (let attempt = 0; ; attempt++) {
      // In the middle of a file the network is waited for.
      if (patient && offline()) await this.#online();
      let status = 0;
      let wait: number | undefined;
      let fault: unknown;
      const request = new AbortController();
      const signal = AbortSignal.any([this.context.signal, request.signal]);
      try {
        const response = await inTime(this.#get({ Range: `bytes=${start}-${end - 1}` }, "GET", signal));
        status = response.status;
        if (response.ok || [404, 410, 416].includes(status)) return response;
        await response.body?.cancel();
        if ((status === 401 || status === 403) && this.#resolved !== undefined) {
          this.#resolved = undefined; // a signed address that ran out
          continue;
        }
        if (status !== 408 && status !== 429 && status < 500) throw this.#failure(`the server answered ${status}`, status, false);
        wait = retryAfter(response);
        fault = `the server answered ${status}`;
      } catch (error) {
        if (isFailure(error)) throw error;
        request.abort(); // what answers now is not waited for
        fault = error;
      }
      if (patient && offline()) attempt = -1;
      if (attempt + 1 >= tries || this.context.signal.aborted) throw this.#failed(fault, status);
      await this.#pause(attempt, wait);
    }
  }

  async #length(): Promise<number> {
    const response = await this.#get({}, "HEAD");
    const length = Number(response.headers.get("content-length") ?? Number.NaN);
    if (!response.ok || !Number.isSafeInteger(length)) throw this.#failure("the server does not say how large it is", response.status, false);
    return length;
  }

  #get(headers: Record<string, string>, method: string, signal = this.context.signal): Promise<Response> {
    const { fetch, headers: own } = this.context;
    return fetch(this.#resolved ?? this.url, {
      method,
      // The type keeps development servers from answering with their start page.
      headers: { Accept: "application/octet-stream", ...headers, ...(this.#resolved === undefined ? own : {}) },
      credentials: "same-origin",
      referrerPolicy: "no-referrer",
      signal,
    });
  }

  /** Waits until the browser sees a network again. */
  #online(): Promise<void> {
    const { signal } = this.context;
    return new Promise((resolve, reject) => {
      // Not every worker hears of it as an event.
      const timer = setInterval(() => {
        if (!signal.aborted && offline()) return;
        clearInterval(timer);
        if (signal.aborted) reject(this.#failed(signal.reason, 0));
        else resolve();
      }, PAUSE);
    });
  }

  /** Waits longer each time, and not in step with other clients. */
  #pause(attempt: number, asked?: number): Promise<void> {
    const time = asked ?? PAUSE * 2 ** Math.max(0, attempt) * (0.5 + Math.random());
    return new Promise((resolve, reject) => {
      const { signal } = this.context;
      const stop = () => {
        clearTimeout(timer);
        reject(this.#failed(signal.reason, 0));
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", stop);
        resolve();
      }, Math.min(time, LONGEST_PAUSE));
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
  }

  #failed(fault: unknown, status: number): Failure {
    if (isFailure(fault)) return fault;
    if (this.context.signal.aborted) return { code: "abort", message: "aborted", retryable: true, detail: {} };
    // A fetch that gets no answer says nothing about why, on purpose.
    const unanswered = fault instanceof TypeError && status === 0;
    const message = unanswered
      ? "no answer: the server cannot be reached, or does not allow requests from this page's origin (CORS)"
      : fault instanceof Error ? fault.message : String(fault);
    return this.#failure(message, status, true);
  }

  #failure(message: string, status: number, retryable: boolean): Failure {
    return { code: "network", message, retryable, detail: { url: this.url, status: status === 0 ? null : status } };
  }
}

/** Reads of whole blocks: from the store where it has them, otherwise fetched and kept. */
function through(kept: StoredFile, fetchRange: FetchRange): FetchRange {
  return async (start, end) => {
    const out = new Uint8Array(end - start);
    const last = Math.ceil(end / BLOCK);
    for (let index = start / BLOCK; index < last; ) {
      const block = await kept.read(index);
      if (block !== null) {
        out.set(block, index * BLOCK - start);
        index++;
        continue;
      }
      const first = index;
      while (index < last && (index === first || !kept.has(index))) index++;
      const bytes = await fetchRange(first * BLOCK, Math.min(end, index * BLOCK));
      await kept.write(first, bytes);
      out.set(bytes, first * BLOCK - start);
    }
    return out;
  };
}

/** Fetches a stored file again and keeps the blocks that differ: their numbers. */
async function replaced(kept: StoredFile, fetchRange: FetchRange): Promise<number[]> {
  const { size } = kept.identity;
  const different: number[] = [];
  for (let start = 0; start < size; start += 8 * BLOCK) {
    const bytes = await fetchRange(start, Math.min(size, start + 8 * BLOCK));
    for (let at = 0; at < bytes.length; at += BLOCK) {
      const [index, block] = [(start + at) / BLOCK, bytes.subarray(at, at + BLOCK)];
      const held = await kept.read(index);
      if (held !== null && held.every((byte, i) => byte === block[i])) continue;
      await kept.write(index, block);
      different.push(index);
    }
  }
  return different;
}

/** Whether the browser knows that there is no network. */
function offline(): boolean {
  return globalThis.navigator?.onLine === false;
}

/** Whether a failure says that the server cannot be asked now: no answer, or one that says to come later. */
function unreachable(error: unknown): boolean {
  return isFailure(error) && error.code === "network" && error.retryable;
}

/** What tells one version of a file from another. */
function tagOf(response: Response): string | null {
  return response.headers.get("etag") ?? response.headers.get("last-modified");
}

/** The bytes [start, end) of a blob, as a reader must give them. */
export async function readBlob(blob: Blob, start: number, end: number, name: string): Promise<Uint8Array> {
  const fail = (message: string): Failure => ({ code: "network", message, retryable: false, detail: { url: name, status: null } });
  if (!(start >= 0 && start <= end && end <= blob.size)) throw fail(`bytes ${start}-${end} lie outside its ${blob.size}`);
  try {
    return new Uint8Array(await blob.slice(start, end).arrayBuffer());
  } catch (error) {
    throw fail(`it cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

/** Waits for something that arrives, but not for ever. */
function inTime<T>(arriving: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing arrived for ${STALL / 1000} seconds`)), STALL);
    arriving.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

async function* chunks(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await inTime(reader.read());
      if (done) return;
      yield value;
    }
  } finally {
    // Reached early when all bytes are here: whatever else the server sends is not wanted.
    reader.cancel().catch(() => {});
  }
}

function contentRange(response: Response): { start: number; end: number; size?: number } | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  if (match === null) return null;
  return { start: Number(match[1]), end: Number(match[2]) + 1, size: match[3] === "*" ? undefined : Number(match[3]) };
}

/** Milliseconds a server asks to wait: Retry-After in seconds or as a date, or the t= of a RateLimit header. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after") ?? /\bt=(\d+)/.exec(response.headers.get("ratelimit") ?? "")?.[1];
  if (value === undefined || value === null) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
}

function isFailure(error: unknown): error is Failure {
  return typeof error === "object" && error !== null && typeof (error as Failure).code === "string";
}
