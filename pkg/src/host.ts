// The engine's side of the protocol: runs the calls of each model one after the other on its own wasm instance.

import { EngineError, failure, invalid, type Failure } from "./errors.js";
import type { Memory, Method, Methods, Reply, Request } from "./protocol.js";
import { Meter } from "./progress.js";
import { Clock } from "./sources/clock.js";
import { storageKey } from "./sources/locate.js";
import { open, type Opened } from "./sources/open.js";
import { Limit, type HttpContext } from "./sources/requests.js";
import { askHub, Verifier, type Digests, type Heard } from "./sources/verify.js";
import { evictable, remove } from "./storage/list.js";
import { StoredModel } from "./storage/model.js";
import type { EvictableModel, Progress } from "./types.js";
import type { Canceller, Glue, Reader, WasmModel } from "./wasm.js";
import { instantiate } from "../wasm/minke.js";

type Load = Extract<Request, { kind: "load" }>;
type Look = Extract<Request, { kind: "estimate" }>;
type Call = Extract<Request, { kind: "call" }>;
type Post = (reply: Reply, transfer?: Transferable[]) => void;

/** Methods that run one at a time, because they use the GPU. */
const ON_GPU: ReadonlySet<Method> = new Set(["generate", "append", "cloneConversation", "saveConversation", "restoreConversation", "score", "forward"]);

const ABORTED: Failure = { code: "abort", message: "aborted", retryable: true, detail: {} };

/** A running or waiting call, and how to end it. */
interface Running {
  model: Instance;
  canceller: Canceller;
  /** Aborts the requests of a load. */
  requests?: AbortController;
  aborted: boolean;
}

/** A model with its own wasm instance, so that traps and leaks do not affect other models. */
interface Instance {
  id: number;
  glue: Glue;
  model?: WasmModel;
  /** The last call in the queue. */
  queue: Promise<void>;
  dead?: Failure;
}

/** The wasm instance, files and store of a request. */
interface Use {
  instance: Instance;
  running: Running;
  signal: AbortSignal;
  store: StoredModel | null;
}

/** The files of a request, checked against known digests; a hub's digests are checked later. */
interface Files extends Opened {
  verifier: Verifier;
  hub: Promise<Digests>;
}

/** Codes of failures that always end a load. */
const FINAL = ["abort", "integrity", "network"];

/** How often a load is restarted because a file changed on the server. */
const CHANGES = 2;

/** Handles requests and replies through `post`. */
export class Host {
  readonly #models = new Map<number, Instance>();
  readonly #running = new Map<number, Running>();
  /** Ids of aborts that arrived while their load was still fetching wasm. */
  readonly #early = new Set<number>();
  readonly #loading = new Set<number>();
  /** Requests that wait for storage space, by id. */
  readonly #rooms = new Map<number, (ids: readonly string[]) => void>();

  constructor(
    readonly post: Post,
    readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  /** Handles one request; never throws. */
  handle(request: Request): void {
    switch (request.kind) {
      case "load":
        return void this.#load(request);
      case "estimate":
        return void this.#estimate(request);
      case "call":
        return this.#call(request);
      case "abort":
      case "stop":
        return this.#end(request.id, request.kind);
      case "room":
        return this.#rooms.get(request.id)?.(request.ids);
      case "unload":
        return void this.#unload(request.id, request.model);
    }
  }

  #load(request: Load): Promise<void> {
    return this.#fresh(request, true, async (use) => {
      const { instance, running, store } = use;
      const { id, options } = request;
      const meter = new Meter((progress) => this.post({ minke: 1, kind: "progress", id, progress }), ["download", "upload", "compile", "verify"]);
      const model = await this.#steady(request, use, async ({ source, verifier, hub, stored }) => {
        const heard = (stage: Progress["stage"]): Heard => (loaded, total, { name: file }, fromCache) => meter.report({ stage, loaded, total, file, fromCache });
        let stage: "download" | "upload" = "download";
        // Files are checked before use if the caller passed digests, or if they belong to a pack.
        let checked = false;
        verifier.packed = async () => {
          if (checked) return;
          checked = verifier.looking = true;
          const files = await instance.glue.estimateModel(source, options, 0).then((known) => known.files, (error) => {
            if (FINAL.includes(failure(error).code)) throw error;
            return []; // the load reports the same fault
          });
          if (await verifier.beforehand(source, files, heard("download"))) stage = "upload";
          verifier.looking = false;
        };
        if (verifier.digests.size > 0) await verifier.packed();
        const load = () => instance.glue.loadModel(source, options, (p) => {
          if (stage === "download") meter.skip("upload"); // everything has been checked already
          meter.report(p.stage === "compile" ? p : { ...p, stage, fromCache: stored() });
        }, running.canceller);
        let model = await load();
        try {
          // The hub's digests are compared after all files have arrived, so that uploads to the GPU need not wait for
          // the last byte.
          meter.end("verify");
          if (await verifier.opened(await hub, heard("verify"))) {
            model.unload();
            model = await load();
          }
          if (running.aborted) throw ABORTED;
        } catch (error) {
          model.unload();
          throw error;
        }
        return model;
      });
      await store?.loaded(); // before the reply: a worker may be terminated after it
      instance.model = model;
      this.#models.set(instance.id, instance);
      model.lost().then(
        // An unload destroys the device itself, which does not count as lost.
        (lost) => this.#models.get(instance.id) === instance && this.post({ minke: 1, kind: "lost", model: instance.id, failure: failure(lost) }),
        () => {}, // a trapped instance has been reported already
      );
      this.post({ minke: 1, kind: "done", id, value: { id: model.id, info: model.info() }, memory: model.memory() });
    });
  }

  /** Runs an estimate, which stores nothing, or a download, which stores the files. */
  #estimate(request: Look): Promise<void> {
    return this.#fresh(request, request.download, async (use) => {
      const { instance, store } = use;
      const { id, options, maxBinding, download } = request;
      const meter = new Meter((progress) => this.post({ minke: 1, kind: "progress", id, progress }), ["download", "verify"]);
      const heard = (stage: Progress["stage"]): Heard => async (loaded, total, { name: file, size }, fromCache) => {
        if ((await store?.file(file))?.full ?? true) await this.#noRoom(file, size, store);
        meter.report({ stage, loaded, total, file, fromCache });
      };
      const value = await this.#steady(request, use, async ({ source, verifier, hub }) => {
        verifier.looking = true;
        const value = await instance.glue.estimateModel(source, options, maxBinding);
        if (download) {
          if (store === null) throw new EngineError("storage", "this browser cannot store files: it has no private file system, or does not offer it to this thread");
          await verifier.gather(source, value.files, heard("download"));
          meter.end("verify");
          await verifier.opened(await hub, heard("verify"));
        }
        return value;
      });
      if (download) await store?.loaded();
      this.post({ minke: 1, kind: "done", id, value });
    });
  }

  async #noRoom(name: string, size: number, store: StoredModel | null): Promise<never> {
    const bytes = (await store?.file(name))?.bytes ?? 0;
    const full: Failure = {
      code: "storage", message: `${name}: not enough storage; ${bytes} of ${size} bytes are stored`, retryable: false,
      detail: { name, bytes, size, evictable: await others(store) },
    };
    throw full;
  }

  /** Opens a request's files and uses them; starts again if one of them changed on the server meanwhile. */
  async #steady<T>(request: Load | Look, { instance, signal, store }: Use, run: (files: Files) => Promise<T>): Promise<T> {
    const { location, integrity } = request;
    for (let changes = 0; ; changes++) {
      const requests = new AbortController();
      const both = AbortSignal.any([signal, requests.signal]);
      const told = askHub(location, this.fetcher, both);
      const context: HttpContext = {
        fetch: this.fetcher, clock: new Clock(request.clockRate), limit: new Limit(), store, changed: false,
        headers: location.kind === "files" || location.token === undefined ? {} : { Authorization: `Bearer ${location.token}` },
        signal: both, sizes: told.then(({ sizes }) => sizes), names: told.then(({ names }) => names), absences: new Map(),
      };
      try {
        // Without a store the files would have to be fetched twice, which only the caller can request.
        const hub = store === null ? Promise.resolve(new Map()) : told.then(({ digests }) => digests);
        const verifier = new Verifier(instance.glue.Hasher, store, new Map(Object.entries(integrity)));
        const { source, stored } = await open(location, context);
        return await run({ source: verifier.source(source), verifier, hub, stored });
      } catch (error) {
        if (!context.changed || changes === CHANGES || signal.aborted) throw error;
      } finally {
        requests.abort(); // cancels read-ahead that is no longer needed
      }
    }
  }

  /** Runs a request on an instance of its own, with the store of its files if it `keeps` them, and releases both. */
  async #fresh(
    request: Load | Look,
    keeps: boolean,
    run: (use: Use) => Promise<void>,
  ): Promise<void> {
    const { id } = request;
    this.#loading.add(id);
    const requests = new AbortController();
    const { signal } = requests;
    let running: Running | undefined;
    let store: StoredModel | null = null;
    try {
      const instance = await this.#instance(request.model, request.wasm);
      running = { model: instance, canceller: new instance.glue.Canceller(), requests, aborted: false };
      this.#running.set(id, running);
      if (this.#early.has(id)) throw ABORTED;
      store = keeps ? await stored(request, signal, (needed) => this.#makeRoom(request, needed, () => store)) : null;
      await run({ instance, running, signal, store });
    } catch (error) {
      const failed = running?.aborted ? ABORTED : (running?.model.dead ?? withAddress(failure(error)));
      this.post({ minke: 1, kind: "failed", id, failure: failed });
    } finally {
      requests.abort();
      this.#rooms.delete(id);
      await store?.close();
      this.#loading.delete(id);
      this.#early.delete(id);
      if (running !== undefined) this.#finished(id, running);
    }
  }

  /** Asks the page which models to delete; returns whether any were deleted. */
  async #makeRoom({ id, location }: Load | Look, needed: number, store: () => StoredModel | null): Promise<boolean> {
    const models = await others(store());
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    const ids = await new Promise<readonly string[]>((resolve) => {
      this.#rooms.set(id, resolve);
      this.post({ minke: 1, kind: "full", id, full: { id: location.id, needed, used: usage, quota, evictable: models } });
    });
    this.#rooms.delete(id);
    let gone = 0;
    // Another tab may have started to load one of them.
    for (const { id } of models) if (ids.includes(id)) gone += await remove(id).catch(() => 0);
    return gone > 0;
  }

  async #instance(id: number, wasm: Load["wasm"]): Promise<Instance> {
    const instance: Instance = { id, glue: undefined as unknown as Glue, queue: Promise.resolve() };
    instance.glue = instantiate((exports) => guard(exports, (error) => this.#trapped(instance, error)));
    await instance.glue.init({ module_or_path: await compile(wasm, this.fetcher) });
    return instance;
  }

  #call(request: Call): void {
    const { id, method } = request;
    const instance = this.#models.get(request.model);
    if (instance?.model === undefined) {
      return this.#fail(id, failure(invalid("model", "it has been unloaded")));
    }
    if (instance.dead !== undefined) return this.#fail(id, instance.dead);
    const model = instance.model;
    // Text methods do not wait in the queue: they run while the GPU generates.
    if (!ON_GPU.has(method)) {
      try {
        const value = (model[method] as (...args: unknown[]) => unknown)(...request.args);
        // The memory of a conversation is freed immediately.
        this.#done(id, method, value as Methods[Method][1], method === "closeConversation" ? model.memory() : undefined);
      } catch (error) {
        this.#fail(id, instance.dead ?? failure(error));
      }
      return;
    }
    const running: Running = { model: instance, canceller: new instance.glue.Canceller(), aborted: false };
    this.#running.set(id, running);
    instance.queue = instance.queue.then(async () => {
      try {
        if (instance.dead !== undefined) return; // rejected when the instance died
        if (running.aborted) throw ABORTED;
        const value = await this.#run(model, request, running.canceller);
        this.#done(id, method, value, model.memory());
      } catch (error) {
        if (instance.dead === undefined) this.#fail(id, failure(error));
      } finally {
        this.#finished(id, running);
      }
    });
  }

  #run(model: WasmModel, request: Call, canceller: Canceller): Promise<Methods[Method][1]> {
    switch (request.method) {
      case "generate":
        return model.generate(...request.args, request.parts ? (part) => this.post({ minke: 1, kind: "part", id: request.id, part }) : undefined, canceller);
      case "append":
        return model.append(...request.args, canceller);
      case "cloneConversation":
        return model.cloneConversation(...request.args, canceller);
      case "saveConversation":
        return model.saveConversation(...request.args, canceller).then((pieces) => new Blob(pieces));
      case "restoreConversation":
        return model.restoreConversation(reader(request.args[0]), canceller);
      case "score":
        return model.score(...request.args, canceller);
      case "forward":
        return model.forward(...request.args, canceller);
      default:
        throw new Error(`${request.method} does not run on the GPU`);
    }
  }

  #end(id: number, how: "abort" | "stop"): void {
    const running = this.#running.get(id);
    if (running === undefined) {
      if (this.#loading.has(id) && how === "abort") this.#early.add(id);
      return;
    }
    if (how === "abort") running.aborted = true;
    try {
      if (running.model.dead === undefined) running.canceller[how]();
    } catch {
      // the call is ending already
    }
    if (how === "abort") running.requests?.abort();
  }

  async #unload(id: number, modelId: number): Promise<void> {
    const instance = this.#models.get(modelId);
    this.#models.delete(modelId);
    try {
      for (const [call, running] of this.#running) if (running.model === instance) this.#end(call, "abort");
      await instance?.queue;
      if (instance?.dead === undefined) instance?.model?.unload();
      this.post({ minke: 1, kind: "done", id, value: undefined });
    } catch (error) {
      this.#fail(id, failure(error));
    }
  }

  /** Rejects all calls that wait for an instance that trapped. */
  #trapped(instance: Instance, error: unknown): void {
    if (instance.dead !== undefined) return;
    const message = error instanceof Error ? error.message : String(error);
    const dead: Failure = {
      code: "internal", message: `the engine stopped (${message}); load the model again`, retryable: true, detail: { message },
    };
    instance.dead = dead;
    for (const [id, running] of this.#running) {
      if (running.model !== instance) continue;
      running.requests?.abort();
      this.#running.delete(id);
      this.#fail(id, dead);
    }
    this.post({ minke: 1, kind: "dead", model: instance.id, failure: dead });
  }

  #finished(id: number, running: Running): void {
    this.#running.delete(id);
    try {
      if (running.model.dead === undefined) running.canceller.free();
    } catch {
      // freed by the call itself
    }
  }

  #done(id: number, method: Method, value: Methods[Method][1], memory?: Memory): void {
    // Logits are large, so their buffer is transferred instead of copied.
    const transfer = method === "forward" ? [(value as Float32Array).buffer] : [];
    this.post({ minke: 1, kind: "done", id, value, memory }, transfer);
  }

  #fail(id: number, failure: Failure): void {
    this.post({ minke: 1, kind: "failed", id, failure });
  }
}

/** A reader for a saved conversation. */
function reader(state: Blob): Reader {
  return { name: "state", size: state.size, read: async (start, end) => new Uint8Array(await state.slice(start, end).arrayBuffer()) };
}

/** The store of a request's files; null if nothing is stored. */
async function stored({ cache, location }: Load | Look, signal: AbortSignal, ask: (needed: number) => Promise<boolean>): Promise<StoredModel | null> {
  const kept = cache === "opfs" && location.kind !== "files" && /^https?:/.test(location.url);
  return kept ? StoredModel.open(storageKey(location), location.id, signal, ask) : null;
}

/** The models that can be deleted to make room for another. */
async function others(store: StoredModel | null): Promise<EvictableModel[]> {
  return (await evictable()).filter(({ id }) => id !== store?.manifest.id);
}

/** Wraps an instance's exports to detect traps wherever wasm is entered from, such as a promise's callback. */
function guard<T extends object>(exports: T, trapped: (error: unknown) => void): T {
  const guarded: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(exports)) {
    guarded[name] = typeof value !== "function" ? value : (...args: unknown[]) => {
      try {
        return value(...args);
      } catch (error) {
        // Browsers report a stack overflow inside wasm as the last two.
        if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError || (error as Error)?.name === "InternalError") trapped(error);
        throw error;
      }
    };
  }
  return guarded as T;
}

const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** Compiles the engine, once per address. */
function compile(wasm: Load["wasm"], fetcher: typeof fetch): Promise<WebAssembly.Module> {
  if (typeof wasm !== "string") return wasm instanceof WebAssembly.Module ? Promise.resolve(wasm) : WebAssembly.compile(wasm);
  let module = compiled.get(wasm);
  if (module === undefined) {
    module = download(wasm, fetcher);
    module.catch(() => compiled.delete(wasm));
    compiled.set(wasm, module);
  }
  return module;
}

async function download(url: string, fetcher: typeof fetch): Promise<WebAssembly.Module> {
  const fail = (message: string, status: number | null, retryable: boolean): Failure => ({
    code: "network", message: `${url}: ${message}`, retryable, detail: { url, status },
  });
  let response: Response;
  try {
    response = await fetcher(url, { credentials: "same-origin" });
  } catch (error) {
    throw fail(`the engine cannot be fetched: ${error instanceof Error ? error.message : error}`, null, true);
  }
  if (!response.ok) throw fail(`the server answered ${response.status}`, response.status, response.status >= 500);
  try {
    if (response.headers.get("content-type")?.split(";")[0] === "application/wasm") return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    throw fail(`that is not the engine's wasm: ${error instanceof Error ? error.message : error}`, response.status, false);
  }
}

/** Adds the URL to the message of a network failure, unless it is there already. */
function withAddress(failure: Failure): Failure {
  const { url } = failure.detail;
  if (failure.code !== "network" || typeof url !== "string" || failure.message.includes(url)) return failure;
  return { ...failure, message: `${url}: ${failure.message}` };
}
