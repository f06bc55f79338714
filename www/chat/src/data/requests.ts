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

/** Begins to log, with what the browser remembers of the time before; call it before anything else in the page. */
export function startRequestLog(): RequestLog {
  throw new Error("not written yet");
}
