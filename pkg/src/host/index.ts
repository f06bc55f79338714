// The engine's side of the protocol: takes the page's requests, answers each once, and keeps the loaded models.
// Code outside this folder imports this file only.

import { ABORTED, failure, invalid, type Failure } from "../errors.js";
import type { LoadValue, Reply, Request, RequestOf } from "../protocol.js";
import { startGrammars } from "./constraints.js";
import { Instance } from "./instance.js";
import { estimateModel, loadModel, moveModel, type Means, type Page } from "./load.js";
import { LoadedModel, type Answer } from "./model.js";
import { Task } from "./task.js";

type Post = (reply: Reply, transfer?: Transferable[]) => void;

/** Handles requests and replies through `post`. */
export class Host {
  readonly #models = new Map<number, LoadedModel>();
  /** Requests that have not been answered, by id. */
  readonly #tasks = new Map<number, Task>();
  /** Requests that wait for the page to choose models to delete, by id. */
  readonly #choices = new Map<number, (ids: readonly string[]) => void>();

  constructor(
    readonly post: Post,
    /** Starts a worker that runs this package's worker script. */
    readonly worker: () => Worker,
    readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  /** Handles one request; never throws. */
  handle(request: Request): void {
    const { id } = request;
    switch (request.kind) {
      case "load":
        return void this.#answer(id, request.model, (task) => this.#load(request, task));
      case "estimate":
        return void this.#answer(id, request.model, (task) => this.#estimate(request, task));
      case "call":
        return this.#call(request);
      case "abort":
      case "stop":
        return this.#tasks.get(id)?.end(request.kind);
      case "room":
        return this.#choices.get(id)?.(request.ids);
      case "unload":
        return void this.#unload(id, request.model);
    }
  }

  async #load(request: RequestOf<"load">, task: Task): Promise<Answer> {
    const instance = await this.#instance(request);
    const wasm = await loadModel(request, instance, task, this.#means(request.id));
    wasm.setGrammars(startGrammars(request.constraintWasm, this.fetcher));
    const model = new LoadedModel(instance, wasm);
    this.#models.set(request.model, model);
    if (request.fallback && wasm.info().device.kind === "gpu") wasm.setFallback(() => this.#move(request, model));
    else this.#watch(request.model, model);
    const value: LoadValue = { id: wasm.id, info: wasm.info() };
    return { value, memory: wasm.memory() };
  }

  /** Reports when the device of a model is lost. */
  #watch(id: number, model: LoadedModel): void {
    model.wasm.lost().then(
      // An unload destroys the device itself, which does not count as lost.
      (lost) => this.#models.get(id) === model && this.post({ minke: 1, kind: "lost", model: id, failure: failure(lost) }),
      () => {}, // a trapped instance has been reported already
    );
  }

  /** Moves a model whose GPU was lost to the processor. */
  async #move(request: RequestOf<"load">, model: LoadedModel): Promise<void> {
    const task = new Task(request.model);
    try {
      await moveModel(request, model.instance, task, this.#means(request.id), model.wasm);
      this.post({ minke: 1, kind: "moved", model: request.model, device: model.wasm.device(), memory: model.wasm.memory() });
    } finally {
      task.release();
      this.#watch(request.model, model); // of the GPU, if the model could not be moved
    }
  }

  #means(id: number): Means {
    return { fetcher: this.fetcher, page: this.#page(id), worker: this.worker };
  }

  async #estimate(request: RequestOf<"estimate">, task: Task): Promise<Answer> {
    const instance = await this.#instance(request);
    return { value: await estimateModel(request, instance, task, this.fetcher, this.#page(request.id)) };
  }

  #call(request: RequestOf<"call">): void {
    const { id } = request;
    const model = this.#models.get(request.model);
    if (model === undefined) return this.#fail(id, failure(invalid("model", "it has been unloaded")));
    if (LoadedModel.waits(request.method)) {
      return void this.#answer(id, request.model, async (task) => model.enqueue(request, task, (part) => this.post({ minke: 1, kind: "part", id, part })));
    }
    try {
      this.#done(id, model.run(request));
    } catch (error) {
      this.#fail(id, failure(error));
    }
  }

  async #unload(id: number, modelId: number): Promise<void> {
    const model = this.#models.get(modelId);
    this.#models.delete(modelId);
    try {
      for (const task of this.#tasks.values()) if (task.model === modelId) task.end("abort");
      await model?.unload();
      this.#done(id, { value: undefined });
    } catch (error) {
      this.#fail(id, failure(error));
    }
  }

  /** Runs a task and answers its request, unless that was answered because the instance trapped. */
  async #answer(id: number, model: number, run: (task: Task) => Promise<Answer>): Promise<void> {
    const task = new Task(model);
    this.#tasks.set(id, task);
    const answered = () => this.#tasks.get(id) !== task;
    try {
      const answer = await run(task);
      if (!answered()) this.#done(id, answer);
    } catch (error) {
      if (!answered()) this.#fail(id, task.aborted ? ABORTED : failure(error));
    } finally {
      this.#tasks.delete(id);
      this.#choices.delete(id);
      task.release();
    }
  }

  #instance({ model, wasm }: RequestOf<"load" | "estimate">): Promise<Instance> {
    return Instance.create(wasm, this.fetcher, (failure) => this.#trapped(model, failure));
  }

  /** Answers all requests of a model whose instance trapped, some of which would never end. */
  #trapped(model: number, failure: Failure): void {
    for (const [id, task] of this.#tasks) {
      if (task.model !== model) continue;
      this.#tasks.delete(id);
      task.release();
      this.#fail(id, failure);
    }
    this.post({ minke: 1, kind: "dead", model, failure });
  }

  /** The page as a load sees it. */
  #page(id: number): Page {
    return {
      progress: (progress) => this.post({ minke: 1, kind: "progress", id, progress }),
      choose: (full) =>
        new Promise((resolve) => {
          this.#choices.set(id, resolve);
          this.post({ minke: 1, kind: "full", id, full });
        }),
    };
  }

  #done(id: number, { value, memory, transfer = [] }: Answer): void {
    this.post({ minke: 1, kind: "done", id, value, memory }, transfer);
  }

  #fail(id: number, failure: Failure): void {
    this.post({ minke: 1, kind: "failed", id, failure });
  }
}
