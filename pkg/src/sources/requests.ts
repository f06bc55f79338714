// Requests for one URL, retried while servers or networks fail temporarily.

import { ABORTED, isFailure, networkFailure, type Failure, type NetworkFailure } from "../errors.js";
import type { StoredModel } from "../storage/index.js";
import type { Clock } from "./clock.js";

/** Attempts without any progress before a request counts as failed. */
export const TRIES = 5;
/** As TRIES, for requests in the middle of a file, where a failure costs more: 40 seconds or more. */
const PATIENT_TRIES = 8;
/** Milliseconds of the first pause between attempts, and of the longest that a server may request (hubs use windows of 5 minutes). */
const PAUSE = 300;
const LONGEST_PAUSE = 330_000;
/** Milliseconds without data after which a request counts as failed. */
const STALL = 20_000;
/** Bytes read from a response at once. */
const PIECE = 256 << 10;

/** State that the requests of one load share. */
export interface HttpContext {
  fetch: typeof fetch;
  clock: Clock;
  /** Headers sent with requests to the given URLs, but not to the targets of redirects. */
  headers: Record<string, string>;
  /** Aborts when nothing more will be read. */
  signal: AbortSignal;
  /** Stores data that arrives, if the browser supports it. */
  store: StoredModel | null;
  limit: Limit;
  /** Sizes of large files in the hub's record, by name. */
  sizes: Promise<ReadonlyMap<string, number>>;
  /** The names of all files, if a hub lists them. */
  names: Promise<ReadonlySet<string> | null>;
  /** Failures for files that do not exist, by name, with what was served instead. */
  absences: Map<string, Failure>;
  /** Whether files that are read straight on are fetched ahead of their reader. */
  ahead: boolean;
  /** Whether a file changed on the server during the load. */
  changed: boolean;
}

/** A server's rate limit: until it expires there are no requests; then one request tests whether it is over, and the others wait. */
export class Limit {
  #until = 0;
  #limited = false;
  #asking?: Promise<void>;

  /** Waits until a request may be sent; the returned function must be told whether the limit is over. */
  async turn({ clock, signal }: HttpContext): Promise<(over: boolean) => void> {
    for (;;) {
      const wait = this.#until - clock.now();
      if (wait > 0) await clock.sleep(wait, signal);
      else if (!this.#limited) return () => {};
      else if (this.#asking !== undefined) await this.#asking;
      else {
        let asked = () => {};
        this.#asking = new Promise((resolve) => (asked = resolve));
        return (over) => {
          this.#limited = !over;
          this.#asking = undefined;
          asked();
        };
      }
    }
  }

  /** Sets the limit: no requests for this number of milliseconds. */
  set(now: number, milliseconds: number): void {
    this.#limited = true;
    this.#until = Math.max(this.#until, now + Math.min(milliseconds, LONGEST_PAUSE));
  }
}

/** Options of a request. */
export interface Asking {
  /** Whether to wait while the network is down, and longer for a server that fails. */
  patient?: boolean;
  /** Number of attempts; default TRIES, or PATIENT_TRIES. */
  tries?: number;
  /** Sent as If-Range. */
  version?: string;
}

export class Requests {
  /** The URL of the first response, which saves a redirect per request. */
  #resolved?: string;
  #redirects = false;

  constructor(
    readonly url: string,
    readonly context: HttpContext,
  ) {}

  /** Requests the bytes [start, end) and returns the first conclusive response; temporary faults are retried. */
  async answer(start: number, end: number, { patient = false, tries = patient ? PATIENT_TRIES : TRIES, version }: Asking = {}): Promise<Response> {
    const { context } = this;
    for (let attempt = 0; ; attempt++) {
      // In the middle of a file, wait for the network to come back.
      if (patient && offline()) await this.#online();
      let status = 0;
      let fault: unknown;
      const request = new AbortController();
      const signal = AbortSignal.any([context.signal, request.signal]);
      const answered = await context.limit.turn(context).catch((reason) => { throw this.failed(reason, 0); });
      try {
        const headers: Record<string, string> = { Range: `bytes=${start}-${end - 1}` };
        if (version !== undefined && this.#conditional()) headers["If-Range"] = version;
        const response = await context.clock.within(STALL, this.#get(headers, "GET", signal));
        status = response.status;
        const expired = denied(status) && this.#resolved !== undefined; // a signed address
        if (response.ok || (!expired && (denied(status) || [404, 410, 416].includes(status)))) return this.#known(response);
        await response.body?.cancel();
        if (expired) {
          this.#resolved = undefined;
          continue;
        }
        if (status !== 408 && status !== 429 && status < 500) throw this.failure(`the server answered ${status}`, status, false);
        const wait = retryAfter(response);
        if (wait !== undefined) context.limit.set(context.clock.now(), wait);
        fault = `the server answered ${status}`;
      } catch (error) {
        if (isFailure(error)) throw error;
        request.abort(); // a late response is dropped
        fault = error;
      } finally {
        answered(status !== 429 && status !== 503);
      }
      if (patient && offline()) attempt = -1;
      if (attempt + 1 >= tries || context.signal.aborted) throw this.failed(fault, status);
      await this.pause(attempt);
    }
  }

  /** The length in a HEAD response. */
  async length(): Promise<number> {
    const response = await this.#get({}, "HEAD", this.context.signal);
    const length = Number(response.headers.get("content-length") ?? Number.NaN);
    if (!response.ok || !Number.isSafeInteger(length)) throw this.failure("the server does not report its size", response.status, false);
    return length;
  }

  /** The chunks of a response, each valid until the next is requested. Ending the iteration cancels the rest. */
  async *chunks(response: Response): AsyncGenerator<Uint8Array> {
    if (response.body === null) return;
    const reader = pieces(response.body);
    try {
      for (;;) {
        const { done, value } = await this.context.clock.within(STALL, reader.read());
        if (done || value === undefined) return;
        yield value;
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /** The first bytes of a body, at least `least` if it is long enough, and the chunks that follow. */
  async begin(response: Response, least: number): Promise<{ start: Uint8Array<ArrayBuffer>; rest: AsyncGenerator<Uint8Array> }> {
    const rest = this.chunks(response);
    const parts: Uint8Array[] = [];
    let length = 0;
    while (length < least) {
      const { done, value } = await rest.next();
      if (done) break;
      parts.push(value.slice());
      length += value.length;
    }
    const start = new Uint8Array(length);
    for (let at = 0; parts.length > 0; ) {
      const part = parts.shift()!;
      start.set(part, at);
      at += part.length;
    }
    return { start, rest };
  }

  /** The first bytes of a body, at most `most`. */
  async body(response: Response, most: number): Promise<Uint8Array<ArrayBuffer>> {
    const { start, rest } = await this.begin(response, most);
    await rest.return(undefined);
    return start.length > most ? start.slice(0, most) : start;
  }

  /** Waits with exponential backoff and jitter. */
  async pause(attempt: number): Promise<void> {
    const time = PAUSE * 2 ** Math.max(0, attempt) * (0.5 + Math.random());
    const { clock, signal } = this.context;
    await clock.sleep(Math.min(time, LONGEST_PAUSE), signal).catch((reason) => { throw this.failed(reason, 0); });
  }

  failed(fault: unknown, status: number): Failure {
    if (isFailure(fault)) return fault;
    if (this.context.signal.aborted) return ABORTED;
    // Fetch deliberately does not report why there was no response.
    const unanswered = fault instanceof TypeError && status === 0;
    const message = unanswered
      ? "no response: the server cannot be reached, or does not allow requests from this page's origin (CORS)"
      : fault instanceof Error ? fault.message : String(fault);
    return this.failure(message, status, true);
  }

  failure(reason: string, status: number, retryable: boolean): NetworkFailure {
    return networkFailure(this.url, reason, { status: status === 0 ? null : status, retryable });
  }

  #known(response: Response): Response {
    if (response.redirected && response.ok) {
      this.#resolved = response.url;
      this.#redirects = true;
    }
    return response;
  }

  /** Whether If-Range may be sent: for other origins it needs a CORS preflight, which few servers accept. */
  #conditional(): boolean {
    return !this.#redirects && (globalThis.origin === undefined || new URL(this.url).origin === globalThis.origin);
  }

  #get(headers: Record<string, string>, method: string, signal: AbortSignal): Promise<Response> {
    const { fetch, headers: own } = this.context;
    return fetch(this.#resolved ?? this.url, {
      method,
      // The Accept header keeps development servers from responding with their start page.
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
      // Not every worker receives the event.
      const timer = setInterval(() => {
        if (!signal.aborted && offline()) return;
        clearInterval(timer);
        if (signal.aborted) reject(this.failed(signal.reason, 0));
        else resolve();
      }, PAUSE);
    });
  }
}

/** Reads a body into the same memory repeatedly, if supported: garbage collectors let hundreds of megabytes of chunks accumulate. */
function pieces(body: ReadableStream<Uint8Array>): { read(): Promise<{ done: boolean; value?: Uint8Array }>; cancel(): Promise<void> } {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    return body.getReader(); // not a byte stream
  }
  let memory: ArrayBuffer = new ArrayBuffer(PIECE);
  return {
    cancel: () => reader.cancel(),
    read: async () => {
      const { done, value } = await reader.read(new Uint8Array(memory));
      if (value !== undefined) memory = value.buffer;
      return { done, value: value as Uint8Array | undefined };
    },
  };
}

/** Whether the browser reports that it is offline. */
export function offline(): boolean {
  return globalThis.navigator?.onLine === false;
}

/** Whether a failure means that the server is unavailable at present: no response, or one that says to retry later. */
export function unreachable(error: unknown): boolean {
  return isFailure(error) && error.code === "network" && error.retryable;
}

/** Whether a status denies access; static hosts also use it for files that do not exist. */
export function denied(status: number): boolean {
  return status === 401 || status === 403;
}

/** Milliseconds that a server requests to wait: Retry-After in seconds or as a date, or the t= of a RateLimit header. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after") ?? /\bt=(\d+)/.exec(response.headers.get("ratelimit") ?? "")?.[1];
  if (value === undefined || value === null) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
}
