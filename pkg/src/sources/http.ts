// Files behind HTTP, read by ranges, with the faults real servers have.
//
// A server that ignores ranges is read once, as one stream. An answer 401 or 403, or an HTML page, in place of a file means that
// the file is absent there. If a needed file is absent, the error says what came instead.

import type { Failure } from "../errors.js";
import type { Reader } from "../wasm.js";
import type { StoredFile } from "../storage/file.js";
import { BLOCK } from "../storage/journal.js";
import { Blocks, type Pool } from "./blocks.js";
import { denied, isFailure, offline, Requests, TRIES, unreachable, type HttpContext } from "./requests.js";
import { give, take } from "./spare.js";
import { Stream } from "./stream.js";

/** Bytes requested when a file is opened: small files as a whole, the header of most large ones. */
const HEAD = 64 * 1024;
/** Bytes at the start of a file that suffice to recognise an HTML page. */
const PEEK = 512;

/** Opens a file; null if the server does not have it or serves something else instead, which is recorded in the context. */
export async function openHttp(url: string, name: string, context: HttpContext, pool: Pool): Promise<Reader | null> {
  return new HttpFile(url, name, context, pool).open();
}

class HttpFile {
  readonly #requests: Requests;
  #size = 0;
  #tag: string | null = null;
  #head = new Uint8Array();
  #kept: StoredFile | null = null;
  /** Blocks that were fetched from the network. */
  readonly #arrived = new Set<number>();
  /** A response with the whole file, while it arrives. */
  #stream?: Stream;
  /** Blocks of such a response that the store does not keep; browsers hold large blobs outside memory. */
  readonly #spool = new Map<number, Blob>();
  /** Responses with the whole file since one of them delivered a block. */
  #barren = 0;
  /** Whether the file itself is served as HTML. */
  #html = false;

  constructor(
    readonly url: string,
    readonly name: string,
    readonly context: HttpContext,
    readonly pool: Pool,
  ) {
    this.#requests = new Requests(url, context);
  }

  async open(): Promise<Reader | null> {
    const { store } = this.context;
    const kept = await store?.file(this.name);
    if (kept != null && (await this.#unchanged(kept))) return this.#stored(kept);
    const absent = store?.manifest.absent.includes(this.name) ?? false;
    if (absent && offline()) return null;
    for (let attempt = 0; ; attempt++) {
      let response: Response;
      try {
        response = await this.#requests.answer(0, HEAD, { tries: absent ? 1 : TRIES });
      } catch (error) {
        if (absent && unreachable(error)) return null;
        throw error;
      }
      const { status } = response;
      if (status === 404 || status === 410) {
        await store?.missing(this.name);
        return null;
      }
      let came: string | undefined;
      try {
        came = await (denied(status) ? this.#denied(response) : status === 206 ? this.#ranged(response) : status === 416 ? this.#empty(response) : this.#whole(response));
      } catch (error) {
        if (isFailure(error) || attempt + 1 >= TRIES) throw this.#requests.failed(error, status);
        await this.#requests.pause(attempt);
        continue;
      }
      if (came === undefined) return this.#reader();
      // The status says nothing about a stored file.
      if (kept != null) return this.#stored(kept);
      this.context.absences.set(this.name, this.#requests.failure(came, status, false));
      store?.lacking.add(this.name);
      return null;
    }
  }

  async #stored(kept: StoredFile): Promise<Reader> {
    const { size, tag } = kept.identity;
    await this.#compare(size);
    [this.#kept, this.#size, this.#tag] = [kept, size, tag];
    return this.#reader();
  }

  /** Whether the server still has the stored version of the file. If the server cannot be reached, the stored version is used. */
  async #unchanged(kept: StoredFile): Promise<boolean> {
    const { size, tag } = kept.identity;
    if (offline()) return true;
    let response: Response;
    try {
      response = await this.#requests.answer(0, 1, { tries: 1 });
    } catch (error) {
      if (unreachable(error)) return true;
      throw error;
    }
    await response.body?.cancel();
    if (denied(response.status)) return true; // says nothing about the file
    if (response.status === 416) return size === (totalOf(response) ?? 0);
    if (!response.ok || !sameTag(tagOf(response), tag)) return false;
    const now = response.status === 206 ? contentRange(response)?.size : lengthOf(response);
    // If the server does not report the size, the tag suffices.
    const same = now === undefined ? tag !== null || response.headers.get("content-encoding") !== null : now === size;
    this.#html = same && isHtml(response);
    return same;
  }

  async #denied(response: Response): Promise<string> {
    await response.body?.cancel();
    return `the server answered ${response.status}`;
  }

  /** Opens a file on a server that supports ranges: keeps the head, fetches the rest on demand. Returns what was served if it is not the file. */
  async #ranged(response: Response): Promise<string | undefined> {
    const range = contentRange(response);
    const head = await this.#requests.body(response, range === null ? HEAD : range.end);
    if (isPage(response, head)) return page(response);
    let size = range?.size;
    if (size === undefined && head.length < HEAD) size = head.length;
    // The Content-Range header may be hidden from other origins; the length of a HEAD response is not.
    size ??= await this.#requests.length();
    if (range !== null && (range.start !== 0 || head.length < range.end)) throw new Error("the response is not the beginning of the file");
    if (head.length < Math.min(size, HEAD)) throw new Error("the response is truncated");
    await this.#seen(size, response);
    this.#head = head;
    if (this.#head.length === size && size > 0) await this.#kept?.write(0, this.#head);
    return undefined;
  }

  /** The first byte does not exist: the file is empty, unless the response says otherwise. */
  async #empty(response: Response): Promise<undefined> {
    if ((totalOf(response) ?? 0) > 0) throw new Error("the server answered 416 to a valid range");
    await this.#seen(0, response);
  }

  /** Opens a file on a server that ignores ranges, from its only response. Returns what was served if it is not the file. */
  async #whole(response: Response): Promise<string | undefined> {
    const size = lengthOf(response);
    if (size !== undefined) {
      const { start, rest } = await this.#requests.begin(response, PEEK);
      let wanted = false;
      try {
        if (isPage(response, start)) return page(response);
        await this.#seen(size, response);
        wanted = true;
      } finally {
        if (!wanted) await rest.return(undefined);
      }
      this.#follow(joined(start, rest));
      return undefined;
    }
    // The size is only known after the whole file has arrived.
    const blob = await response.blob();
    if (isPage(response, new Uint8Array(await blob.slice(0, PEEK).arrayBuffer()))) return page(response);
    const declared = Number(response.headers.get("content-length") ?? 0);
    if (response.headers.get("content-encoding") === null && declared > blob.size) throw new Error("the response is truncated");
    await this.#seen(blob.size, response);
    for (let index = 0; index * BLOCK < blob.size; index++) {
      const part = blob.slice(index * BLOCK, (index + 1) * BLOCK);
      this.#arrived.add(index);
      await this.#kept?.write(index, new Uint8Array(await part.arrayBuffer()));
      if (!this.#kept?.has(index)) this.#spool.set(index, part);
    }
    return undefined;
  }

  /** Sets the identity of a file that is opened for the first time, or that has changed. */
  async #seen(size: number, response: Response): Promise<void> {
    try {
      await this.#compare(size, response);
    } catch (error) {
      response.body?.cancel().catch(() => {}); // a body that is being read is cancelled elsewhere
      throw error;
    }
    [this.#size, this.#tag, this.#html] = [size, tagOf(response), isHtml(response)];
    this.#kept = (await this.context.store?.create({ name: this.name, size, tag: tagOf(response) })) ?? null;
  }

  /** Throws if the file's size differs from the hub's record: it is another file, or a pointer to it. */
  async #compare(size: number, response?: Response): Promise<void> {
    const told = response?.headers.get("x-linked-size") ?? null;
    const expected = told !== null && /^\d+$/.test(told) ? Number(told) : (await this.context.sizes).get(this.name);
    if (expected === undefined || expected === size) return;
    const failure: Failure = {
      code: "integrity", message: `${this.name}: the server's file has ${size} bytes; the hub's record says ${expected} bytes`, retryable: true,
      detail: { file: this.name, expected, found: size },
    };
    throw failure;
  }

  /** Reads a response with the whole file to its end, on behalf of all readers that wait for blocks of it. */
  #follow(chunks: AsyncIterable<Uint8Array>): void {
    const stream = new Stream(chunks, this.#size, async (index, bytes) => {
      if (this.#kept?.has(index) || this.#spool.has(index)) return;
      this.#barren = 0;
      this.#arrived.add(index);
      await this.#kept?.write(index, bytes);
      if (!this.#kept?.has(index)) this.#spool.set(index, new Blob([bytes as Uint8Array<ArrayBuffer>]));
    });
    this.#stream = stream;
    stream.done.finally(() => (this.#stream = undefined));
  }

  #reader(): Reader {
    const { name } = this;
    const size = this.#size;
    const blocks = new Blocks(size, (start, end) => this.#blocks(start, end), this.pool);
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
      const reaches = Math.min(this.#size, (index + 1) * BLOCK);
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
      const version = ignored > 0 ? undefined : strong(this.#tag);
      const response = await this.#requests.answer(from, end, { patient: true, version });
      let fault: unknown = new Error("the response is truncated");
      try {
        this.#judge(response, from);
        if (response.status === 200) {
          // The bytes before `from` may have arrived already: they are read again only if the server keeps ignoring
          // ranges.
          if (from > 0 && ++ignored < TRIES) throw new Error("the server ignored the range");
          if (++this.#barren > TRIES) throw this.#requests.failed(fault, response.status);
          if (this.#stream === undefined) this.#follow(this.#requests.chunks(response));
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
      if (attempt + 1 >= TRIES || this.context.signal.aborted) throw this.#requests.failed(fault, response.status);
      await this.#requests.pause(attempt);
    }
    return true;
  }

  /** Throws if a response cannot be used: a failure if that is final, an error if a retry may help. */
  #judge(response: Response, from: number): void {
    const { status } = response;
    if (status === 416) {
      const total = totalOf(response);
      if (total !== undefined && total !== this.#size) throw this.#changed(status);
      throw new Error("the server answered 416 to a valid range");
    }
    if (status !== 206 && status !== 200) throw this.#requests.failure(`the server answered ${status}`, status, false);
    const tag = tagOf(response);
    if (isHtml(response) && !this.#html) throw new Error("the server answered with a page");
    if (tag !== null && this.#tag !== null && !sameTag(tag, this.#tag)) throw this.#changed(status);
    const range = contentRange(response);
    if (status === 206 && range !== null) {
      if (range.size !== undefined && range.size !== this.#size) throw this.#changed(status);
      if (range.start !== from) throw new Error(`requested byte ${from}, got byte ${range.start}`);
    }
    const length = status === 200 ? lengthOf(response) : undefined;
    if (length !== undefined && length !== this.#size) throw new Error(`the response says that the file has ${length} bytes instead of ${this.#size}`);
  }

  #changed(status: number): Failure {
    this.context.changed = true;
    return this.#requests.failure("the file changed on the server while it was read", status, true);
  }

  /** Fetches a stored file again and returns the indices of the blocks that changed. */
  async #replaced(): Promise<number[]> {
    const kept = this.#kept;
    if (kept === null) return [];
    const before = kept.forget();
    for (let start = 0; start < this.#size; start += 8 * BLOCK) give(await this.#blocks(start, Math.min(this.#size, start + 8 * BLOCK)));
    return [...before].filter(([index, hash]) => kept.hash(index)?.some((byte, i) => byte !== hash[i]) ?? true).map(([index]) => index);
  }
}

/** The tag that identifies a version of a file. */
function tagOf(response: Response): string | null {
  return response.headers.get("etag") ?? response.headers.get("last-modified");
}

/** Compares tags weakly: servers that compress responses turn a strong tag into a weak one. */
function sameTag(a: string | null, b: string | null): boolean {
  return a?.replace(/^W\//, "") === b?.replace(/^W\//, "");
}

/** The tag in the form that If-Range accepts. */
function strong(tag: string | null): string | undefined {
  return tag === null || tag.startsWith("W/") ? undefined : tag;
}

/** Chunks, preceded by those that were read before. */
async function* joined(start: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield start;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}

function isHtml(response: Response): boolean {
  return /^(text\/html|application\/xhtml\+xml)\b/i.test(response.headers.get("content-type") ?? "");
}

/**
 * Whether a response is an HTML page, by how its text begins. Model files never are, but servers of single-page
 * applications serve one for every file that does not exist. A template with the content type of HTML is not a page.
 */
function isPage(response: Response, start: Uint8Array): boolean {
  const text = new TextDecoder().decode(start.subarray(0, PEEK)).trimStart();
  if (/^<(!doctype\s+html|html)[\s>]/i.test(text)) return true;
  return isHtml(response) && /^($|<(!doctype|!--|\?xml|html|head|title|meta|link|base|style|script|body)(?![\w-]))/i.test(text);
}

function page(response: Response): string {
  return `the server answered with a page (${response.headers.get("content-type") ?? "without a content type"}) instead of the file`;
}

/**
 * The length of a whole body; undefined if the server does not report it, or reports that of the compressed form. Other
 * origins hide which it is, so small files, which servers tend to compress, are not trusted.
 */
function lengthOf(response: Response): number | undefined {
  const length = response.headers.get("content-length");
  if (length === null || response.headers.get("content-encoding") !== null) return undefined;
  return response.type === "cors" && Number(length) < BLOCK ? undefined : Number(length);
}

/** The file's size in the Content-Range of a 416 response. */
function totalOf(response: Response): number | undefined {
  const total = /^bytes \*\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}

function contentRange(response: Response): { start: number; end: number; size?: number } | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  if (match === null) return null;
  return { start: Number(match[1]), end: Number(match[2]) + 1, size: match[3] === "*" ? undefined : Number(match[3]) };
}
