// A log of every request of the page, so that the user can see that nothing leaves it.

/** A request that was made, or that the page's policy refused. */
export interface RequestEntry {
  url: string;
  /** "https://huggingface.co"; "blob:", "data:" for such URLs. */
  origin: string;
  /** Whether it went to the page's own origin. */
  own: boolean;
  /** What made it: "fetch", "script", "link", "img", …; of a refused one the directive that refused it. */
  initiator: string;
  /** Bytes that came over the network, where the browser tells; 0 for answers from a cache. */
  bytes: number;
  /** Milliseconds since 1970. */
  time: number;
  /** Milliseconds that it took. */
  duration: number;
  /** Refused by the content security policy: nothing was sent. */
  refused: boolean;
}

/** A point in the log. */
export type Mark = { readonly index: number; readonly time: number };

export interface RequestLog {
  /** The oldest first. */
  readonly entries: readonly RequestEntry[];
  /** Calls `listener` when there are new entries. Returns what ends that. */
  subscribe(listener: () => void): () => void;
  /** This moment. */
  mark(): Mark;
  /** Requests that began after `mark`; empty: none since then. */
  since(mark: Mark): RequestEntry[];
  /** Entries of the workers that run on behalf of the page: they have a timeline of their own. */
  add(entries: readonly RequestEntry[]): void;
  stop(): void;
}

/** Entries that are kept; the oldest go first. */
const MOST = 10_000;

/** Begins to log, with what the browser remembers of the time before; call it before anything else in the page. */
export function startRequestLog(): RequestLog {
  return new Log();
}

class Log implements RequestLog {
  #entries: RequestEntry[] = [];
  /** How many entries were dropped: marks count all that ever were. */
  #dropped = 0;
  readonly #listeners = new Set<() => void>();
  readonly #observer = new PerformanceObserver((list) => this.#observed(list.getEntries()));
  readonly #refused = (event: SecurityPolicyViolationEvent) => this.add([refusal(event)]);

  constructor() {
    this.#observer.observe({ type: "resource", buffered: true });
    this.#observer.observe({ type: "navigation", buffered: true });
    addEventListener("securitypolicyviolation", this.#refused);
  }

  get entries(): readonly RequestEntry[] {
    this.#observed(this.#observer.takeRecords());
    return this.#entries;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  mark(): Mark {
    return { index: this.#dropped + this.entries.length, time: performance.timeOrigin + performance.now() };
  }

  since(mark: Mark): RequestEntry[] {
    // Entries come when requests end, so one that began before the mark may come after it.
    return this.entries.slice(Math.max(0, mark.index - this.#dropped)).filter((entry) => entry.time >= mark.time);
  }

  add(entries: readonly RequestEntry[]): void {
    if (entries.length === 0) return;
    this.#entries = [...this.#entries, ...entries];
    const over = this.#entries.length - MOST;
    if (over > 0) {
      this.#entries = this.#entries.slice(over);
      this.#dropped += over;
    }
    for (const listener of [...this.#listeners]) listener();
  }

  stop(): void {
    this.#observer.disconnect();
    removeEventListener("securitypolicyviolation", this.#refused);
  }

  #observed(entries: readonly PerformanceEntry[]): void {
    this.add(entries.filter((entry) => entry instanceof PerformanceResourceTiming).map(request));
  }
}

function request(entry: PerformanceResourceTiming): RequestEntry {
  const { origin, own } = originOf(entry.name);
  return {
    url: entry.name,
    origin,
    own,
    initiator: entry.initiatorType,
    bytes: entry.transferSize,
    time: performance.timeOrigin + entry.startTime,
    duration: entry.duration,
    refused: false,
  };
}

function refusal(event: SecurityPolicyViolationEvent): RequestEntry {
  const { origin, own } = originOf(event.blockedURI);
  return {
    url: event.blockedURI,
    origin,
    own,
    initiator: event.effectiveDirective,
    bytes: 0,
    time: performance.timeOrigin + event.timeStamp,
    duration: 0,
    refused: true,
  };
}

/** "blob:" and "data:" never leave the page; "inline" and "eval" are no addresses. */
function originOf(text: string): { origin: string; own: boolean } {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return { origin: text, own: true };
  }
  if (url.protocol === "blob:" || url.protocol === "data:") return { origin: url.protocol, own: true };
  return { origin: url.origin, own: url.origin === location.origin };
}
