// Files behind HTTP, read by ranges, with the faults real servers have.
//
// A server that ignores ranges is read once, as one stream. An answer 401 or 403, or an HTML page, in place of a file means that
// the file is absent there. If a needed file is absent, the error says what came instead.

import { isFailure, type Failure } from "../errors.js";
import type { StoredFile } from "../storage/index.js";
import type { Reader } from "../wasm.js";
import type { Pool } from "./blocks.js";
import { Contents, type Version } from "./contents.js";
import { denied, offline, Requests, TRIES, unreachable, type HttpContext } from "./requests.js";
import { contentRange, isHtml, isPage, lengthOf, page, PEEK, sameTag, tagOf, totalOf } from "./responses.js";

/** Bytes requested when a file is opened: small files as a whole, the header of most large ones. */
const HEAD = 64 * 1024;
/** What a response turned out to be: the file, or what the server has in its place. */
type Answer = { file: Contents } | { instead: string };

/** Opens a file; null if the server does not have it or serves something else instead, which is recorded in the context. */
export async function openHttp(url: string, name: string, context: HttpContext, pool: Pool): Promise<Reader | null> {
  return (await new Opening(url, name, context).open())?.reader(name, pool) ?? null;
}

class Opening {
  readonly #requests: Requests;

  constructor(
    url: string,
    readonly name: string,
    readonly context: HttpContext,
  ) {
    this.#requests = new Requests(url, context);
  }

  async open(): Promise<Contents | null> {
    const { store } = this.context;
    const kept = (await store?.file(this.name)) ?? null;
    const current = kept && (await this.#unchanged(kept));
    if (current !== null) return this.#stored(current, kept);
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
      let answer: Answer;
      try {
        answer = await (denied(status) ? this.#denied(response) : status === 206 ? this.#ranged(response) : status === 416 ? this.#empty(response) : this.#whole(response));
      } catch (error) {
        if (isFailure(error) || attempt + 1 >= TRIES) throw this.#requests.failed(error, status);
        await this.#requests.pause(attempt);
        continue;
      }
      if ("file" in answer) return answer.file;
      // The status says nothing about a stored file.
      if (kept !== null) return this.#stored({ ...kept.identity, html: false }, kept);
      this.context.absences.set(this.name, this.#requests.failure(answer.instead, status, false));
      store?.lacking.add(this.name);
      return null;
    }
  }

  async #stored(version: Version, kept: StoredFile | null): Promise<Contents> {
    await this.#compare(version.size);
    return new Contents(version, this.#requests, kept);
  }

  /** The stored version of the file, if the server still has it or cannot be reached; otherwise null. */
  async #unchanged(kept: StoredFile): Promise<Version | null> {
    const { size, tag } = kept.identity;
    const version = { size, tag, html: false };
    if (offline()) return version;
    let response: Response;
    try {
      response = await this.#requests.answer(0, 1, { tries: 1 });
    } catch (error) {
      if (unreachable(error)) return version;
      throw error;
    }
    await response.body?.cancel();
    if (denied(response.status)) return version; // says nothing about the file
    if (response.status === 416) return size === (totalOf(response) ?? 0) ? version : null;
    if (!response.ok || !sameTag(tagOf(response), tag)) return null;
    const now = response.status === 206 ? contentRange(response)?.size : lengthOf(response);
    // If the server does not report the size, the tag suffices.
    const same = now === undefined ? tag !== null || response.headers.get("content-encoding") !== null : now === size;
    return same ? { ...version, html: isHtml(response) } : null;
  }

  async #denied(response: Response): Promise<Answer> {
    await response.body?.cancel();
    return { instead: `the server answered ${response.status}` };
  }

  /** Opens a file on a server that supports ranges: keeps the head, fetches the rest on demand. */
  async #ranged(response: Response): Promise<Answer> {
    const range = contentRange(response);
    const head = await this.#requests.body(response, range === null ? HEAD : range.end);
    if (isPage(response, head)) return { instead: page(response) };
    let size = range?.size;
    if (size === undefined && head.length < HEAD) size = head.length;
    // The Content-Range header may be hidden from other origins; the length of a HEAD response is not.
    size ??= await this.#requests.length();
    if (range !== null && (range.start !== 0 || head.length < range.end)) throw new Error("the response is not the beginning of the file");
    if (head.length < Math.min(size, HEAD)) throw new Error("the response is truncated");
    const file = await this.#create(size, response);
    await file.begin(head);
    return { file };
  }

  /** The first byte does not exist: the file is empty, unless the response says otherwise. */
  async #empty(response: Response): Promise<Answer> {
    if ((totalOf(response) ?? 0) > 0) throw new Error("the server answered 416 to a valid range");
    return { file: await this.#create(0, response) };
  }

  /** Opens a file on a server that ignores ranges, from its only response. */
  async #whole(response: Response): Promise<Answer> {
    const size = lengthOf(response);
    if (size !== undefined) {
      const { start, rest } = await this.#requests.begin(response, PEEK);
      let file: Contents | undefined;
      try {
        if (isPage(response, start)) return { instead: page(response) };
        file = await this.#create(size, response);
      } finally {
        if (file === undefined) await rest.return(undefined);
      }
      file.follow(joined(start, rest));
      return { file };
    }
    // The size is only known after the whole file has arrived.
    const blob = await response.blob();
    if (isPage(response, new Uint8Array(await blob.slice(0, PEEK).arrayBuffer()))) return { instead: page(response) };
    const declared = Number(response.headers.get("content-length") ?? 0);
    if (response.headers.get("content-encoding") === null && declared > blob.size) throw new Error("the response is truncated");
    const file = await this.#create(blob.size, response);
    await file.fill(blob);
    return { file };
  }

  /** The contents, still empty, of a file that is opened for the first time, or that has changed. */
  async #create(size: number, response: Response): Promise<Contents> {
    try {
      await this.#compare(size, response);
    } catch (error) {
      response.body?.cancel().catch(() => {}); // a body that is being read is cancelled elsewhere
      throw error;
    }
    const tag = tagOf(response);
    const kept = (await this.context.store?.create({ name: this.name, size, tag })) ?? null;
    return new Contents({ size, tag, html: isHtml(response) }, this.#requests, kept);
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
