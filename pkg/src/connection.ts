// The page's side of the protocol: a connection to one engine, in a worker or on this thread.

import { EngineError, invalid, revive } from "./errors.js";
import type { Memory, Method, Methods, Reply, Request } from "./protocol.js";
import type { LoadOptions, ModelInfo, Progress, StorageFull, StreamPart } from "./types.js";

/** Callbacks of a call while it is pending. */
export interface Listener {
  progress?(progress: Progress): void;
  part?(part: StreamPart): void;
  memory?(memory: Memory): void;
  /** Chooses models to delete. */
  full?(full: StorageFull): readonly string[] | Promise<readonly string[]>;
}

/** Asks a model for one of its methods. */
export type Ask = <M extends Method>(method: M, args: Methods[M][0], listener?: Listener & { signal?: AbortSignal; id?: number }) => Promise<Methods[M][1]>;

interface Pending extends Listener {
  model: number;
  kind: Request["kind"];
  resolve(value: unknown): void;
  reject(reason: unknown): void;
}

type Send = (request: Request, transfer?: Transferable[]) => void;
type Body<R> = R extends unknown ? Omit<R, "minke" | "id"> : never;

let lastId = 0;
/** A new id, unique among the calls and models of this page. */
export const nextId = () => ++lastId;

export class Connection {
  readonly #pending = new Map<number, Pending>();
  readonly #ended = new Map<number, EngineError>(); // models that will not answer again
  readonly #lost = new Map<number, (error: EngineError) => void>();
  readonly #moved = new Map<number, (device: ModelInfo["device"], memory: Memory) => void>();
  readonly #lostEarly = new Map<number, EngineError>(); // lost before anyone called `lost`
  #broken?: EngineError;

  private constructor(
    readonly send: Send,
    /** Terminates a worker that this connection created. */
    readonly close: () => void,
  ) {}

  /** Connects to an engine on this thread: `start` receives what takes its replies, and returns what takes requests. */
  static local(start: (post: (reply: Reply) => void) => Send): Connection {
    // Replies are asynchronous, as from a worker.
    const send = start((reply) => queueMicrotask(() => connection.#receive(reply)));
    const connection: Connection = new Connection(send, () => {});
    return connection;
  }

  static async open(options: LoadOptions): Promise<Connection> {
    const { worker = true } = options;
    if (worker === false) {
      const { Host } = await import("./engine.js");
      return Connection.local((post) => {
        const host = new Host(post, startWorker, options.fetch);
        return (request) => host.handle(request);
      });
    }
    const own = worker === true;
    const target = own ? startWorker() : typeof worker === "function" ? worker() : worker;
    if (typeof target?.postMessage !== "function") throw invalid("worker", "expected a boolean, a Worker or a function that makes one");
    let ready = false;
    const receive = ({ data }: MessageEvent<Reply>) => {
      if (typeof data !== "object" || data === null || data.minke !== 1) return;
      ready = true;
      connection.#receive(data);
    };
    const failed = (event: ErrorEvent) => {
      if (ready) {
        // The host catches its own errors; an error that it did not catch has ended it.
        if (own) connection.#break(new EngineError("internal", `the worker failed: ${event.message}`, { retryable: true }));
        return;
      }
      connection.#break(new EngineError("network", `the worker could not be started: ${event.message || "its script cannot be loaded or is not allowed"}`, { retryable: true }));
    };
    const close = () => {
      target.removeEventListener("message", receive);
      target.removeEventListener("error", failed);
      if (worker === true || typeof worker === "function") target.terminate();
    };
    const connection: Connection = new Connection((request, transfer = []) => target.postMessage(request, transfer), close);
    target.addEventListener("message", receive);
    target.addEventListener("error", failed);
    return connection;
  }

  /** Sends a request and waits for its reply. If the signal aborts, rejects immediately with its reason. */
  request(body: Body<Request> & { model: number }, listener: Listener & { signal?: AbortSignal; id?: number } = {}): Promise<unknown> {
    const { signal, id = nextId(), progress, part, memory, full } = listener;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const ended = this.#broken ?? this.#ended.get(body.model);
      if (ended !== undefined) return reject(ended);
      const abort = () => {
        settle();
        this.tell(id, "abort");
        reject(signal!.reason);
      };
      const settle = () => {
        this.#pending.delete(id);
        signal?.removeEventListener("abort", abort);
      };
      this.#pending.set(id, {
        model: body.model,
        kind: body.kind,
        progress,
        part,
        memory,
        full,
        resolve: (value) => (settle(), resolve(value)),
        reject: (reason) => (settle(), reject(reason)),
      });
      signal?.addEventListener("abort", abort, { once: true });
      try {
        this.send({ minke: 1, id, ...body } as Request);
      } catch (error) {
        // An argument that structured clone does not support, such as a function.
        settle();
        reject(invalid("arguments", `they cannot be sent to the worker: ${error instanceof Error ? error.message : error}`));
      }
    });
  }

  /** Ends a call. */
  tell(id: number, kind: "abort" | "stop"): void {
    if (this.#broken === undefined) this.send({ minke: 1, id, kind });
  }

  /** Calls back when the GPU device of a model is lost for good. */
  onLost(model: number, lost: (error: EngineError) => void): void {
    const early = this.#lostEarly.get(model);
    if (early !== undefined) return lost(early);
    this.#lost.set(model, lost);
  }

  /** Calls back when a model has moved to the processor. */
  onMoved(model: number, moved: (device: ModelInfo["device"], memory: Memory) => void): void {
    this.#moved.set(model, moved);
  }

  /** Rejects all pending and future calls of a model, except a pending unload. */
  end(model: number, error: EngineError): void {
    this.#end(model, error, (pending) => pending.kind !== "unload");
  }

  #end(model: number, error: EngineError, which: (pending: Pending) => boolean): void {
    this.#ended.set(model, error);
    for (const pending of [...this.#pending.values()]) if (pending.model === model && which(pending)) pending.reject(error);
  }

  /** Replies which models the page agrees to delete; an error thrown by its callback ends the call. */
  async #room(id: number, full: StorageFull, pending: Pending): Promise<void> {
    let ids: string[] = [];
    try {
      ids = [...((await pending.full?.(full)) ?? [])].map(String);
    } catch (error) {
      if (this.#pending.get(id) !== pending) return;
      this.tell(id, "abort");
      return pending.reject(error);
    }
    if (this.#pending.get(id) === pending) this.send({ minke: 1, id, kind: "room", ids });
  }

  #break(error: EngineError): void {
    this.#broken = error;
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  #receive(reply: Reply): void {
    switch (reply.kind) {
      case "ready":
        return;
      case "lost":
        this.#lostEarly.set(reply.model, revive(reply.failure));
        return this.#lost.get(reply.model)?.(revive(reply.failure));
      case "moved":
        return this.#moved.get(reply.model)?.(reply.device, reply.memory);
      case "dead":
        this.#end(reply.model, revive(reply.failure), () => true);
        return this.close();
    }
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return; // aborted meanwhile
    switch (reply.kind) {
      case "progress":
        return pending.progress?.(reply.progress);
      case "part":
        return pending.part?.(reply.part);
      case "full":
        return void this.#room(reply.id, reply.full, pending);
      case "failed":
        return pending.reject(revive(reply.failure));
      case "done":
        if (reply.memory !== undefined) pending.memory?.(reply.memory);
        return pending.resolve(reply.value);
    }
  }
}

/** The package's own worker. */
function startWorker(): Worker {
  if (typeof Worker === "undefined") throw invalid("worker", "this environment has no workers; pass `worker: false`");
  const here = new URL(import.meta.url);
  const page = globalThis.location;
  if (page !== undefined && /^https?:$/.test(here.protocol) && here.origin !== page.origin) {
    // The script is on another origin (a CDN), from which no worker may be started: a blob of this origin imports it.
    // The name is not a literal, so that bundlers do not process it.
    const script = new URL(["worker", "js"].join("."), here);
    const blob = URL.createObjectURL(new Blob([`import ${JSON.stringify(script.href)};`], { type: "text/javascript" }));
    return new Worker(blob, { type: "module", name: "minke" });
  }
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "minke" });
}
