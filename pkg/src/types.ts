// The public types of the package. Features that do not exist yet are not declared.
// Models and sessions are disposable, which the libraries that applications usually choose do not declare.
/// <reference lib="esnext.disposable" preserve="true" />

/** The source of a model. */
export type ModelSource =
  /** "org/repo", "org/repo/file.gguf", or the URL of a folder (config.json + *.safetensors) or of a GGUF file.
   *  A relative URL starts with "/", "./" or "../", or is a single name: "a/b" is always a repository.
   *  A URL that ends in .gguf is a file, one that ends in a slash is a folder; for any other URL the server's responses decide: config.json
   *  below it, or the magic bytes of GGUF (which are tried first for a URL with parameters). A "#" is part of a name, unless it
   *  follows a slash or .gguf and no file name comes after it. */
  | string
  | URL
  | {
      repo: string;
      /** A GGUF file in the repository; without it the repository is read as a folder of safetensors. */
      file?: string;
      /** Branch, tag or commit; default "main". */
      revision?: string;
      /** Sent as a bearer token to `endpoint`, and to nothing else. */
      token?: string;
      /** Default "https://huggingface.co". */
      endpoint?: string;
    }
  /** Dropped or picked from disk: nothing is fetched. Folders are searched, three levels deep. Files are recognised by their contents: names
   *  may have been changed, also those of a split model's parts; a projector next to the model is ignored with a warning, and several
   *  models cause an error that names them. */
  | { files: readonly (File | FileSystemHandle | FileSystemEntry)[] }
  /** One GGUF file. */
  | File
  | Blob;

export interface LoadOptions {
  onProgress?: (progress: Progress) => void;
  /** Aborting rejects with exactly `signal.reason` and frees everything loaded. Whole blocks (1 MiB) that arrived stay on
   *  this device: the next load continues from them. */
  signal?: AbortSignal;
  /** Context length in tokens; default: the largest that fits, at most the model's own. */
  contextLength?: number;
  /** Quantisation of weights that are stored unquantised; quantised ones are kept as they are. "q4" keeps the embedding and the head in q8.
   *  "auto": the most exact of none, q8 and q4 whose weights fit in 2 GiB and in the device's memory. */
  quantization?: "auto" | "none" | "q8" | "q4";
  /** Number format of the KV cache: 16 bits, or 8.5. "auto": "f16" if it holds 8,192 tokens (or `contextLength`, or all that
   *  the model supports) within 1 GiB, else "q8". */
  kvCache?: "auto" | "f16" | "q8";
  /**
   * Where downloaded data is stored: in this origin's private file system (default), so that the next load starts from
   * it and an interrupted one can continue; or nowhere. Only workers can store files: with `worker: false` nothing is
   * stored.
   */
  cache?: "opfs" | "none";
  /**
   * Called when this origin's storage is full: resolves to the ids of stored models to delete. Nothing is ever deleted
   * without it. If too little is freed, a load continues without storing the rest; `store.download` rejects with
   * "storage", with the same facts in its `detail`.
   */
  onStorageFull?: (full: StorageFull) => readonly string[] | Promise<readonly string[]>;
  /**
   * Digests of files by path, in the repository or below the model's folder: each file is read completely and checked
   * before a weight of it is used (without a store it is fetched twice). For repositories on a hub, the sizes and
   * digests of large files are requested: sizes are compared when a file is opened, digests of completely stored files
   * before the load resolves.
   */
  integrity?: Record<string, `sha256-${string}`>;
  /**
   * What to run on; default "auto": a GPU, or the processor where there is none, or only a software adapter, which is slower.
   * "gpu" rejects with "no-webgpu" without an adapter. `model.info.device` says what was chosen.
   */
  device?: "auto" | "gpu" | "cpu";
  /**
   * Threads on the processor, at most 8; default: as many as suit the device. Pages that are not cross-origin isolated have one,
   * whatever is asked for. Results do not depend on the number.
   */
  threads?: number;
  /**
   * Whether a model whose GPU is lost moves to the processor: calls that are under way go on with what they have generated, and
   * `model.info.device` changes. The files are read again, from this device if they are stored. Default: false.
   */
  fallback?: boolean;
  /**
   * Whether the first load of a model on a GPU times the variants of its kernels, for at most 0.3 s, and keeps which are the fastest for later
   * loads of models of these shapes. Nothing is timed where that cannot be kept (`cache: "none"`, `worker: false`), on software adapters, and
   * where the browser's clock is too coarse: what is known to suit the device is used then. Default: true.
   */
  tune?: boolean;
  powerPreference?: "low-power" | "high-performance";
  /** Used for every request for the model. Only with `worker: false`: a function cannot be sent to a worker. */
  fetch?: typeof fetch;
  /** Default true: the engine runs in a worker of its own. `false` runs it on the calling thread. */
  worker?: boolean | Worker | (() => Worker);
  /** The engine's .wasm; default: the one beside the package's own script. */
  wasm?: string | URL | BufferSource | WebAssembly.Module;
  /** The .wasm of models that run on the processor, fetched only for them; default: the one beside the package's own script. */
  cpuWasm?: string | URL | BufferSource | WebAssembly.Module;
  /** The .wasm of `responseConstraint`, fetched when one is first used; default: the one beside the package's own script. */
  constraintWasm?: string | URL | BufferSource | WebAssembly.Module;
  /** @internal Options of tests: `clockRate`, how many times faster the clock of requests runs, and those of `Internal` in
   *  `src/engine/engine_options.rs`, which the engine checks. */
  internal?: { clockRate?: number; [name: string]: unknown };
}

/**
 * The progress of a load. Stages come in this order, and those with nothing to do are skipped; within a stage, `loaded` never decreases, and
 * it equals `total`, which never changes, exactly once: at the end of the stage.
 *
 * - "download": weights are read, from the network or from this device. If digests are known in advance (`integrity`, a
 *   pack's manifest) they are checked in this stage, before any weight is used. Otherwise weights are written to the GPU as they arrive.
 * - "upload": weights are written to the GPU, after a download that had to be checked first.
 * - "compile": pipelines are built.
 * - "verify": stored files are compared with a hub's digests.
 */
export interface Progress {
  stage: "download" | "upload" | "compile" | "verify";
  /** Bytes of weights, or pipelines in "compile". */
  loaded: number;
  total: number;
  /** The file that the latest bytes belong to. */
  file?: string;
  /** Whether the latest bytes were on this device before this load. */
  fromCache: boolean;
}

/** The storage that a model needs, and what could be deleted. */
export interface StorageFull {
  /** The model being stored. */
  id: string;
  /** Bytes of its files, as far as they are known, that are not stored yet. */
  needed: number;
  /** Bytes that this origin uses and may use, as estimated by the browser. */
  used: number;
  quota: number;
  /** Other models on this device that are not being loaded, the least recently used first. */
  evictable: readonly EvictableModel[];
}

export interface EvictableModel {
  id: string;
  bytes: number;
  lastUsed: Date;
}

export interface DeviceInfo {
  /** What a load chooses by itself. */
  device: "gpu" | "cpu";
  /** Threads that a load runs on the processor by itself: one, unless the page is cross-origin isolated. */
  threads: number;
  /** Whether there is a GPU adapter, which may be software. */
  webgpu: boolean;
  vendor: string;
  architecture: string;
  features: readonly string[];
  /** Bytes. */
  maxBufferSize: number;
  /** Bytes. */
  maxStorageBufferBindingSize: number;
  shaderF16: boolean;
  subgroups: boolean;
  /** Bytes that this origin may store, and stores. */
  quota: number;
  usage: number;
  persisted: boolean;
}

/** For a template without the role "developer", such messages become "system". */
export type Role = "system" | "developer" | "user" | "assistant" | "tool";

export interface Message {
  role: Role;
  content: string;
  /** The speaker's name, for templates that distinguish speakers of the same role. */
  name?: string;
  /** The model's reasoning before `content` (R1-style models). */
  reasoning?: string;
  /** On an assistant turn. */
  toolCalls?: readonly ToolCall[];
  /** On a tool turn. */
  toolCallId?: string;
  /** On the last assistant turn: continue its text instead of starting a new answer. */
  prefix?: boolean;
}

/**
 * A message in one of the accepted forms: a `Message`, or a message of OpenAI's chat API. Its text parts are joined
 * with line breaks; parts of other types and unsupported fields reject with "invalid-argument".
 */
export interface InputMessage extends Omit<Message, "content"> {
  /** May be null or absent on an assistant turn that calls tools; null means the empty text. */
  content?: string | null | readonly TextPart[];
  reasoning_content?: string | null;
  tool_calls?: readonly { id: string; type?: "function"; function: { name: string; arguments: string } }[] | null;
  tool_call_id?: string;
  refusal?: "" | null;
  audio?: null;
  function_call?: null;
  annotations?: readonly [] | null;
}

export interface TextPart {
  type: "text";
  text: string;
}

export interface ToolCall {
  toolCallId: string;
  toolName: string;
  /** JSON text. */
  input: string;
}

/** A function that a model may call. */
export interface Tool<Arguments = any> {
  description?: string;
  /** A JSON Schema of an object. */
  inputSchema: object;
  /** Runs a call. Calls of a turn run together; what it throws is told to the model, which goes on. */
  execute?: (input: Arguments, context: { toolCallId: string; signal: AbortSignal }) => unknown;
}

export type ToolChoice = "auto" | "none" | "required" | { toolName: string };

/**
 * What an answer must be: text that matches a regular expression as a whole, JSON text that is valid by a JSON Schema, one of
 * some texts, or a text of a grammar in Lark's form (as llguidance reads it). What cannot be honoured is refused with "constraint".
 */
export type Constraint = RegExp | { json: object } | { choice: readonly string[] } | { grammar: string };

/** A string is a single user turn (with `raw`: text to continue). Token ids are continued without a chat template. */
export type Input = string | readonly InputMessage[] | Uint32Array;

export interface GenerateOptions {
  maxOutputTokens?: number;
  stopSequences?: readonly string[];
  /** The same seed, input and options give the same tokens on the same device. */
  seed?: number;
  /** Aborting rejects with exactly `signal.reason`; the model stays usable. */
  signal?: AbortSignal;
  /** The defaults of these four come from the model's generation_config. Temperature 0 is greedy. */
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  /** Divides positive logits of tokens that occurred in the prompt or the output, and multiplies negative
   *  ones. Default: the model's generation_config; 1 is off. */
  repetitionPenalty?: number;
  /** Subtracted from the logits of tokens generated before: once per token, and once per occurrence. 0 is off. */
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** Added to the logits of these token ids, before the penalties. */
  logitBias?: Record<number, number>;
  /** What the answer must be; thoughts are free. It always is, unless the token limit cuts it (`finishReason: "length"`), or the model
   *  calls a tool instead. */
  responseConstraint?: Constraint;
  /** Functions that the model may call, by name. With `execute`, calls are run and the model goes on with their results. */
  tools?: Record<string, Tool>;
  /** "auto" (the default): the model decides; "none": it is told of the tools, and what looks like a call is text; "required": its
   *  answer is a call or several; one by name: a call of that tool. Only the first of several steps is forced. From where a call begins, it
   *  is bound by the tools' names and schemas; one that cannot be honoured is refused with `constraint`. */
  toolChoice?: ToolChoice;
  /** How often the model is run at most, if tools have `execute`. Default: 1, so that calls are run, but not answered. A step in which a
   *  tool without `execute` is called is the last. */
  maxSteps?: number;
  /** Whether a reasoning model reasons before it answers: by default, not at all, or for at most `maxTokens` tokens. */
  reasoning?: "auto" | "none" | { maxTokens: number };
  /** Log-probabilities of the sampled tokens and, with a number, of that many most probable ones (64 at most): the
   *  model's own, before bias, penalties and temperature. 0 for tokens that close the reasoning at its budget. */
  logprobs?: boolean | number;
  /** No chat template: continue the text itself. */
  raw?: boolean;
  /** Variables for the chat template. */
  templateArgs?: Record<string, unknown>;
}

/** "tool-calls": the model waits for the results of calls. */
export type FinishReason = "stop" | "length" | "tool-calls" | "abort";

export interface Usage {
  inputTokens: number;
  /** Tokens at the beginning of the input whose keys and values were reused from an earlier call. */
  cachedTokens: number;
  outputTokens: number;
  reasoningTokens: number;
  prefillMs: number;
  decodeMs: number;
  timeToFirstTokenMs: number;
  tokensPerSecond: number;
}

export interface TokenLogprob {
  id: number;
  token: string;
  bytes: number[];
  /** Natural logarithm of the token's probability. */
  logprob: number;
  top?: TokenLogprob[];
}

/** After several steps, text, reasoning and calls are those of the last, usage, log-probabilities and tokens those of all. */
export interface GenerateResult {
  text: string;
  reasoning: string;
  /** The calls of the last turn. */
  toolCalls: ToolCall[];
  /** The call that was cut by the token limit, or by `stop()`: it is not in `toolCalls`. */
  incompleteToolCall?: { toolName?: string; input: string };
  finishReason: FinishReason;
  usage: Usage;
  logprobs?: TokenLogprob[];
  /** The conversation with this turn added. */
  messages: Message[];
  /** The tokens generated. */
  ids: Uint32Array;
}

export type StreamPart =
  | { type: "prefill"; done: number; total: number }
  | { type: "reasoning-delta"; text: string }
  | { type: "text-delta"; text: string; logprobs?: TokenLogprob[] }
  /** A piece of a call's input: JSON text. Pieces that no `tool-call` follows are void. */
  | { type: "tool-input-delta"; toolCallId: string; toolName: string; delta: string }
  | ({ type: "tool-call" } & ToolCall)
  /** What `execute` returned, or with `isError` the message of what it threw. */
  | { type: "tool-result"; toolCallId: string; toolName: string; output: unknown; isError?: true }
  | { type: "finish"; finishReason: FinishReason; usage: Usage };

/** A running generation. Leaving its loop early, or cancelling `textStream`, stops it like `stop()`. */
export interface Generation extends AsyncIterable<StreamPart> {
  /** The answer's text only. */
  readonly textStream: ReadableStream<string>;
  readonly result: Promise<GenerateResult>;
  /** Keeps what was generated; `finishReason` is then "abort". */
  stop(): void;
}

export interface TextGenerator {
  generate(input: Input, options?: GenerateOptions): Promise<GenerateResult>;
  stream(input: Input, options?: GenerateOptions): Generation;
}

/** A loaded model. Calls are queued and run one at a time. */
export interface Model extends TextGenerator, AsyncDisposable {
  readonly id: string;
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  /** Starts a conversation, or continues a saved one. Generation options are defaults for its calls. */
  createSession(options?: SessionOptions): Promise<Session>;
  /** Log-probability of each token of the input after the first, given those before it (teacher forcing). */
  score(input: Input, options?: { top?: number; raw?: boolean }): Promise<TokenLogprob[]>;
  /** Logits, [rows, vocabSize], of the last id or of all ids. */
  forward(ids: Uint32Array, options?: { rows?: "last" | "all" }): Promise<Float32Array>;
  /** Bytes of buffers, on the GPU or in memory. */
  memory(): { weights: number; kv: number; scratch: number };
  /** Settles only when the GPU device is lost and cannot be recovered. */
  readonly lost: Promise<import("./errors.js").EngineError>;
  /** Frees everything; pending calls reject. */
  unload(): Promise<void>;
}

export interface SessionOptions extends GenerateOptions {
  /** Earlier messages, which are prefilled immediately, so that the first turn only costs its own tokens. */
  messages?: readonly InputMessage[];
  /**
   * The result of `save()` with this model loaded in the same way (weights, quantisation and KV-cache format): the
   * session continues without prefilling. Anything else rejects with "format", modified bytes with "integrity".
   */
  state?: Blob;
}

/**
 * A conversation whose keys and values stay on the GPU between turns, so that a turn only costs its own tokens; if the
 * template renders earlier turns differently from how they were generated (those of reasoning models omit the
 * reasoning), it also costs the tokens after the first difference.
 *
 * Calls run one at a time. A call that rejects leaves the messages unchanged; one that is stopped keeps its output so
 * far. Sessions of a model share its KV cache: inactive ones are saved to snapshots on the GPU, up to 256 MiB in total,
 * and prefilled again if that is not enough. Unloading the model ends its sessions.
 *
 * If a turn no longer fits the context, the oldest turns except system messages are dropped, and a "contextoverflow"
 * event is dispatched for each: a CustomEvent with `detail.messages`. `preventDefault()` keeps the turn, and the call
 * rejects with "context-overflow".
 */
export interface Session extends TextGenerator, EventTarget, AsyncDisposable {
  /** The messages so far. Empty in a session of raw text or ids, to which messages cannot be added. */
  readonly messages: readonly Message[];
  /**
   * Tokens of the conversation so far: those that the latest call read and generated, without the reasoning, which
   * templates leave out of later turns. The next turn may start from a few more (the end of the answer's turn), and from
   * the reasoning if the template keeps it: `usage.inputTokens` of that turn is exact.
   */
  readonly contextUsage: number;
  /** Tokens that the context holds. */
  readonly contextWindow: number;
  /** Adds turns without answering them, and prefills them in advance. */
  append(input: Input, options?: { signal?: AbortSignal }): Promise<void>;
  /** Truncates the conversation to the first `messageCount` messages. */
  truncate(messageCount: number): Promise<void>;
  /** Creates another session that continues from here, without prefilling again if there is memory for a snapshot. */
  clone(options?: { signal?: AbortSignal }): Promise<Session>;
  /** Tokens that an input would add to `contextUsage`, including the end of the turn before it and the header of its answer. */
  measureContextUsage(input: Input): Promise<number>;
  /** The messages with their keys and values, for `createSession({ state })`. */
  save(): Promise<Blob>;
  /** Frees the engine's resources for the session. Pending and later calls reject. */
  destroy(): void;
}

export interface ModelInfo {
  architecture: string;
  parameters: number;
  activeParameters: number;
  quantization: string;
  contextLength: number;
  vocabSize: number;
  /** What the model runs on, the adapter's name as far as the browser tells it, and why it was chosen. */
  device: { kind: "gpu" | "cpu"; name: string; reason: string };
  format: "safetensors" | "gguf";
  license?: string;
  /** SHA-256 of the chat template, in hexadecimal: an application that has reviewed a template (`tokenizer.applyChatTemplate`) can pin it. */
  chatTemplateHash?: string;
  /** `tools`: the chat template has a place for tools. Where it has none, they are described in the system message. */
  capabilities: { chat: boolean; tools: boolean; reasoning: boolean };
  /** Faults of the model's files or of the device, which are also logged to the console once. */
  warnings: readonly Warning[];
}

/**
 * A fault that a load worked around. "checkpoint": tensors and their description differ in a way that changes no
 * weight; "config", "generation-config": a setting is not used; "kernel": a kernel variant computes wrong results on
 * this device, or does not compile, and is not used; "rope": the context is longer than rotary embeddings were made
 * for; "template": the chat template was repaired, or lacks a common feature; "tokenizer": its description is
 * incomplete; "unused-file": a given file is not used.
 */
export interface Warning {
  code: "checkpoint" | "config" | "generation-config" | "kernel" | "rope" | "template" | "tokenizer" | "unused-file";
  message: string;
}

export interface TemplateOptions {
  /** Functions that the prompt offers. */
  tools?: Record<string, Tool>;
  addGenerationPrompt?: boolean;
  args?: Record<string, unknown>;
}

export interface Tokenizer {
  encode(text: string, options?: { addSpecialTokens?: boolean }): Promise<Uint32Array>;
  decode(ids: Iterable<number>, options?: { skipSpecialTokens?: boolean }): Promise<string>;
  applyChatTemplate(messages: readonly InputMessage[], options?: TemplateOptions): Promise<string>;
  /** The ids that generate() feeds: as encode(applyChatTemplate(…)), except that special tokens written inside a
   *  message's content are plain text. The ids are equal for every conversation without any. */
  encodeMessages(messages: readonly InputMessage[], options?: TemplateOptions): Promise<Uint32Array>;
}

/** An estimate of what a model would cost, from headers alone. */
export interface Estimate {
  /** Bytes of weights that a load reads, of which `cachedBytes` are on this device. */
  downloadBytes: number;
  cachedBytes: number;
  /** Bytes of buffers, at `maxContextLength` tokens: on the GPU, or in memory where the model runs on the processor. */
  gpuBytes: number;
  kvBytesPerToken: number;
  /** Peak bytes outside the GPU while loading. */
  peakHostBytes: number;
  /** Tokens of context that a load allocates. */
  maxContextLength: number;
  /** Whether the model will run; "tight": only with more memory than usual. */
  fit: "yes" | "tight" | "no";
  reasons: readonly FitReason[];
}

export interface FitReason {
  code: "no-webgpu" | "buffer-limit" | "memory" | "storage" | "architecture" | "dtype";
  message: string;
}

/** "downloading": another load of this origin is in progress. */
export type Availability = "unavailable" | "downloadable" | "downloading" | "available";

/** A model on this device. */
export interface StoredModelInfo {
  id: string;
  /** Bytes that are stored. */
  bytes: number;
  /** Whether a load or download was completed. */
  complete: boolean;
  lastUsed: Date;
  files: string[];
}
