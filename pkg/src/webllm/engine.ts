// The engine of WebLLM's applications, over one model.

import { checkedConfig, checkedOptions, isModel, recordOf, sourceOf, type AppConfig, type ChatOptions, type InitProgressCallback, type MLCEngineConfig } from "./config.js";
import { read, translated, type ChatCompletionRequest, type CompletionCreateParams, type Streaming, type Whole } from "./request.js";
import { deviceInfo } from "../device.js";
import { EngineError, invalid, unsupported } from "../errors.js";
import { load } from "../load.js";
import { locate, storageKey } from "../locate.js";
import {
  chatChunks, chatCompletion, chatRequest, completion, completionChunks, completionRequest, type ChatChunk, type ChatCompletion, type Completion, type Extra,
} from "../openai-api/index.js";
import { lookUp } from "../storage/index.js";
import { store } from "../store.js";
import type { LoadOptions, Model, ModelSource, Progress } from "../types.js";

export class MLCEngine {
  readonly chat = { completions: { create: ((request: ChatCompletionRequest) => this.chatCompletion(request)) as MLCEngine["chatCompletion"] } };
  readonly completions = { create: ((request: CompletionCreateParams) => this.completion(request)) as MLCEngine["completion"] };
  readonly embeddings = { create: async (_request: unknown): Promise<never> => Promise.reject(unsupported("embeddings", "models have no embeddings yet")) };
  #config: MLCEngineConfig;
  #loaded?: { id: string; model: Model; own: boolean; defaults: Omit<ChatOptions, "context_window_size"> };
  #loading?: AbortController;
  #stop?: AbortController;
  #message = "";
  #speeds = { prefill_tokens_per_s: 0, decode_tokens_per_s: 0 };

  constructor(config: MLCEngineConfig = {}) {
    this.#config = checkedConfig(config);
  }

  setInitProgressCallback(initProgressCallback: InitProgressCallback): void {
    this.#config = { ...this.#config, initProgressCallback };
  }

  getInitProgressCallback(): InitProgressCallback | undefined {
    return this.#config.initProgressCallback;
  }

  setAppConfig(appConfig: AppConfig): void {
    this.#config = { ...this.#config, appConfig };
  }

  /** Without effect: nothing is logged. */
  setLogLevel(_level: string): void {}

  /** Loads a model by its name or source, in place of the one that is loaded. A loaded model is used as it is. */
  async reload(source: ModelSource | Model | readonly [string], chatOpts?: ChatOptions): Promise<void> {
    await this.unload();
    const given = Array.isArray(source) ? (source as readonly string[]) : [source as ModelSource | Model];
    if (given.length !== 1) throw invalid("modelId", "this engine holds one model at a time");
    const [one] = given as [ModelSource | Model];
    const { appConfig } = this.#config;
    const record = recordOf(one, appConfig);
    const { context_window_size: contextLength, ...defaults } = { ...checkedOptions(record?.overrides), ...checkedOptions(chatOpts) };
    if (isModel(one)) {
      if (contextLength !== undefined) throw invalid("context_window_size", "the model is loaded already");
      this.#loaded = { id: one.id, model: one, own: false, defaults };
      return;
    }
    const loading = new AbortController();
    this.#loading = loading;
    try {
      const model = await load(sourceOf(one, appConfig), { ...this.#config.loadOptions, contextLength, signal: loading.signal, onProgress: this.#reporter() });
      this.#loaded = { id: record?.model_id ?? model.id, model, own: true, defaults };
    } finally {
      if (this.#loading === loading) this.#loading = undefined;
    }
  }

  /** Frees the model; a load that is under way rejects. */
  async unload(): Promise<void> {
    this.#loading?.abort(new EngineError("invalid-argument", "model: it has been unloaded", { detail: { argument: "model" } }));
    const loaded = this.#loaded;
    this.#loaded = undefined;
    await this.resetChat();
    if (loaded?.own) await loaded.model.unload();
  }

  /** Forgets the latest answer; conversations are in the requests. */
  async resetChat(keepStats = false): Promise<void> {
    this.#message = "";
    if (!keepStats) this.#speeds = { prefill_tokens_per_s: 0, decode_tokens_per_s: 0 };
  }

  /** Ends the answer that is being generated; what there is of it is kept. */
  interruptGenerate(): void {
    this.#stop?.abort();
  }

  /** The text of the latest answer. */
  async getMessage(): Promise<string> {
    return this.#message;
  }

  async runtimeStatsText(): Promise<string> {
    const { prefill_tokens_per_s: prefill, decode_tokens_per_s: decode } = this.#speeds;
    return `prefill: ${prefill.toFixed(4)} tokens/sec, decoding: ${decode.toFixed(4)} tokens/sec`;
  }

  async getMaxStorageBufferBindingSize(): Promise<number> {
    return (await deviceInfo()).maxStorageBufferBindingSize;
  }

  async getGPUVendor(): Promise<string> {
    return (await deviceInfo()).vendor;
  }

  chatCompletion(request: ChatCompletionRequest & Streaming): Promise<AsyncIterable<ChatChunk>>;
  chatCompletion(request: ChatCompletionRequest & Whole): Promise<ChatCompletion>;
  chatCompletion(request: ChatCompletionRequest): Promise<ChatCompletion | AsyncIterable<ChatChunk>>;
  async chatCompletion(given: ChatCompletionRequest): Promise<ChatCompletion | AsyncIterable<ChatChunk>> {
    const { id: name, model, defaults } = this.#current(given.model);
    const request = read(() => chatRequest({ ...defaults, ...translated(given), model: name }));
    const call = { model, name, request, stop: this.#begin().signal, extra: this.#extra };
    if (request.stream) return this.#followed(chatChunks(call), ({ choices }) => choices[0]?.delta.content ?? "");
    const answer = await chatCompletion(call);
    this.#message = answer.choices.at(-1)?.message.content ?? "";
    return answer;
  }

  completion(request: CompletionCreateParams & Streaming): Promise<AsyncIterable<Completion>>;
  completion(request: CompletionCreateParams & Whole): Promise<Completion>;
  completion(request: CompletionCreateParams): Promise<Completion | AsyncIterable<Completion>>;
  async completion(given: CompletionCreateParams): Promise<Completion | AsyncIterable<Completion>> {
    const { id: name, model, defaults } = this.#current(given.model);
    const request = read(() => completionRequest({ ...defaults, ...translated(given), model: name }));
    const call = { model, name, request, stop: this.#begin().signal, extra: this.#extra };
    if (request.stream) return this.#followed(completionChunks(call), ({ choices }) => choices[0]?.text ?? "");
    const answer = await completion(call);
    this.#message = answer.choices.at(-1)?.text ?? "";
    return answer;
  }

  async forwardTokensAndSample(_inputIds: number[], _isPrefill: boolean): Promise<never> {
    throw unsupported("forwardTokensAndSample", "use model.forward of Minke's own API");
  }

  #current(name: string | null | undefined) {
    if (this.#loaded === undefined) throw invalid("model", "no model is loaded: call reload()");
    if (name != null && name !== this.#loaded.id) throw invalid("model", `${JSON.stringify(name)} is not loaded; ${JSON.stringify(this.#loaded.id)} is`);
    return this.#loaded;
  }

  #begin(): AbortController {
    this.#stop = new AbortController();
    this.#message = "";
    return this.#stop;
  }

  /** Keeps the text of a stream; that of the latest choice, where there are several. */
  async *#followed<C extends { choices: { index: number }[] }>(chunks: AsyncIterable<C>, text: (chunk: C) => string): AsyncGenerator<C, void, undefined> {
    let choice = 0;
    for await (const chunk of chunks) {
      const index = chunk.choices[0]?.index ?? choice;
      this.#message = (index === choice ? this.#message : "") + text(chunk);
      choice = index;
      yield chunk;
    }
  }

  /** WebLLM's figures of speed. */
  readonly #extra: Extra = (all) => {
    const sum = (of: (usage: (typeof all)[number]) => number) => all.reduce((total, usage) => total + of(usage), 0);
    const seconds = { prefill: sum((u) => u.prefillMs) / 1000, decode: sum((u) => u.decodeMs) / 1000 };
    const decoded = sum((u) => Math.max(0, u.outputTokens - 1));
    const rate = (tokens: number, time: number) => (time > 0 ? tokens / time : 0);
    this.#speeds = { prefill_tokens_per_s: rate(sum((u) => u.inputTokens - u.cachedTokens), seconds.prefill), decode_tokens_per_s: rate(decoded, seconds.decode) };
    return {
      extra: {
        ...this.#speeds,
        e2e_latency_s: seconds.prefill + seconds.decode,
        time_to_first_token_s: (all[0]?.timeToFirstTokenMs ?? 0) / 1000,
        time_per_output_token_s: decoded > 0 ? seconds.decode / decoded : 0,
      },
    };
  };

  #reporter(): LoadOptions["onProgress"] {
    const start = performance.now();
    const verbs: Record<Progress["stage"], string> = { download: "Fetching the model", upload: "Writing weights", compile: "Building pipelines", verify: "Checking files" };
    return ({ stage, loaded, total, fromCache }) => {
      const timeElapsed = (performance.now() - start) / 1000;
      const text = stage === "download" && fromCache ? "Reading the model from this device" : verbs[stage];
      const progress = total > 0 ? loaded / total : 1;
      this.#config.initProgressCallback?.({ progress, timeElapsed, text: `${text}: ${Math.round(progress * 100)} %, ${timeElapsed.toFixed(0)} s` });
    };
  }
}

/** Creates an engine and loads a model: one of the list by its name, or any source that `load` takes, or a loaded model. */
export async function CreateMLCEngine(source: ModelSource | Model, config?: MLCEngineConfig, chatOpts?: ChatOptions): Promise<MLCEngine> {
  const engine = new MLCEngine(config);
  await engine.reload(source, chatOpts);
  return engine;
}

/** As `CreateMLCEngine`, with the engine in a worker of the application, whose script has a `WebWorkerMLCEngineHandler`. */
export async function CreateWebWorkerMLCEngine(worker: Worker, source: ModelSource, config: MLCEngineConfig = {}, chatOpts?: ChatOptions): Promise<MLCEngine> {
  return CreateMLCEngine(source, { ...config, loadOptions: { ...config.loadOptions, worker } }, chatOpts);
}

/** Runs the engine in the worker that makes it, and takes its messages. */
export class WebWorkerMLCEngineHandler {
  readonly #serve = import("../engine.js").then(({ serve }) => serve());

  onmessage(message: MessageEvent): void {
    void this.#serve.then((take) => take(message));
  }
}

/** Whether a model's files are on this device. */
export async function hasModelInCache(source: string, appConfig?: AppConfig): Promise<boolean> {
  const location = await locate(sourceOf(source, appConfig));
  return location.kind !== "files" && (await lookUp(storageKey(location))).complete;
}

/** Deletes a model's files from this device, if they are there. */
export async function deleteModelAllInfoInCache(source: string, appConfig?: AppConfig): Promise<void> {
  await store.delete((await locate(sourceOf(source, appConfig))).id);
}

