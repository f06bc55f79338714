// The types a user of the package sees. What is not built yet is not declared.

/** Where a model comes from. */
export type ModelSource =
  /** "org/repo", "org/repo/file.gguf", or the URL of a folder (config.json + *.safetensors) or of a GGUF file.
   *  A relative URL starts with "/", "./" or "../", or is a lone name: "a/b" is always a repository.
   *  A URL that ends in .gguf is a file, one that ends in a slash a folder; what any other is, the server's answers say: config.json
   *  below it, or first bytes that are GGUF's (for one with parameters these are asked for first). A "#" is part of a name, unless it
   *  comes after a slash or .gguf and no file follows. */
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
  /** Dropped or picked from disk: nothing is fetched. Folders are looked through, three deep. What a file is, it says itself: names
   *  may have changed, the parts of a split model's too, a projector beside the model is passed over with a warning, and several
   *  models are an error that names them. */
  | { files: readonly (File | FileSystemHandle | FileSystemEntry)[] }
  /** One GGUF file. */
  | File
  | Blob;

export interface LoadOptions {
  onProgress?: (progress: Progress) => void;
  /** Aborting rejects with exactly `signal.reason` and frees what was loaded. Whole blocks (1 MiB) of what arrived stay on
   *  this device: the next load goes on from them. */
  signal?: AbortSignal;
  /** Tokens; default: the largest that fits, at most the model's own. */
  contextLength?: number;
  /** Of weights that come unquantised; quantised ones are kept as they are. "q4" keeps the embedding and the head in q8.
   *  "auto": the most exact of none, q8 and q4 whose weights are within 2 GiB and granted by the device. */
  quantization?: "auto" | "none" | "q8" | "q4";
  /** Numbers of the KV cache: 16 bits, or 8.5. "auto": "f16" where that holds 8,192 tokens (or `contextLength`, or all that
   *  the model takes) within 1 GiB, else "q8". */
  kvCache?: "auto" | "f16" | "q8";
  /**
   * Where what arrives is kept: in this origin's own file system (default), so that the next load starts from it and an
   * interrupted one goes on; or nowhere. Only workers can keep anything: with `worker: false` nothing is.
   */
  cache?: "opfs" | "none";
  /**
   * Asked where this origin may keep no more: resolves to the ids of stored models to delete. Nothing is ever deleted
   * unasked. Where too little is given up, a load goes on without keeping the rest; `store.download` rejects with
   * "storage", the same facts in its `detail`.
   */
  onStorageFull?: (full: StorageFull) => readonly string[] | Promise<readonly string[]>;
  /**
   * Digests of files by path, in the repository or below the model's folder: each is read whole and checked before a weight of
   * it is used (without a store, that is to fetch it twice). Of repositories on a hub the sizes and digests of large files are
   * asked for: sizes are compared when a file is opened, digests with the files that are stored whole before the load resolves.
   */
  integrity?: Record<string, `sha256-${string}`>;
  powerPreference?: "low-power" | "high-performance";
  /** Used for every request for the model. Only with `worker: false`: a function cannot be sent to a worker. */
  fetch?: typeof fetch;
  /** Default true: the engine runs in a worker of its own. `false` runs it on the calling thread. */
  worker?: boolean | Worker | (() => Worker);
  /** The engine's .wasm; default: the one beside the package's own script. */
  wasm?: string | URL | BufferSource | WebAssembly.Module;
  /** @internal */
  internal?: InternalOptions;
}

/** @internal What tests set. */
export interface InternalOptions {
  /** The largest storage binding, in bytes. */
  maxBinding?: number;
  /** The most bytes of weights. */
  weightBudget?: number;
  /** The most bytes of snapshots of sessions. */
  copiesBudget?: number;
  /** The KV cache is f32. */
  f32?: boolean;
  /** Every prompt is prefilled whole. */
  withoutReuse?: boolean;
  /** Kernels are not tested on load. */
  withoutSelfTest?: boolean;
  /** The kernel variants to use, in place of those that suit the device. */
  variants?: { software?: boolean; subgroups?: boolean; f16?: boolean; int8?: boolean };
  /** How many times faster the clock of requests runs. */
  clockRate?: number;
}

/**
 * How far a load is. Stages come in this order, those with nothing to do are left out; in each, `loaded` never falls, and
 * it equals `total`, which never changes, exactly once: at the stage's end.
 *
 * - "download": weights arrive, from the network or from this device. Where digests are known beforehand (`integrity`, a
 *   pack's) they are compared here, before any weight is used. Otherwise weights go on to the GPU as they arrive.
 * - "upload": weights go to the GPU, after a download that had to be compared first.
 * - "compile": pipelines.
 * - "verify": stored files are compared with a hub's digests.
 */
export interface Progress {
  stage: "download" | "upload" | "compile" | "verify";
  /** Bytes of weights, or pipelines in "compile". */
  loaded: number;
  total: number;
  /** The file that the latest bytes are of. */
  file?: string;
  /** Whether they were on this device before this load. */
  fromCache: boolean;
}

/** What there is no room for, and what could go. */
export interface StorageFull {
  /** The model being kept. */
  id: string;
  /** Bytes of its files, as far as they are known, that are not kept yet. */
  needed: number;
  /** Bytes this origin uses and may use, by the browser's estimate. */
  used: number;
  quota: number;
  /** Other models on this device, the least recently used first; none that is being loaded. */
  evictable: readonly EvictableModel[];
}

export interface EvictableModel {
  id: string;
  bytes: number;
  lastUsed: Date;
}

export interface DeviceInfo {
  /** Whether the engine can run here. */
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
  /** Bytes this origin may store, and stores. */
  quota: number;
  usage: number;
  persisted: boolean;
}

/** "developer" is what a template without that role is shown as "system". */
export type Role = "system" | "developer" | "user" | "assistant" | "tool";

export interface Message {
  role: Role;
  content: string;
  /** Who speaks, for templates that tell speakers of one role apart. */
  name?: string;
  /** What the model thought before `content` (R1-style models). */
  reasoning?: string;
  /** On an assistant turn. */
  toolCalls?: readonly ToolCall[];
  /** On a tool turn. */
  toolCallId?: string;
  /** Last assistant turn: go on from its text instead of answering it. */
  prefix?: boolean;
}

/**
 * A message as it may be given: a `Message`, or what clients of OpenAI's chat API send. Its text parts are joined by line
 * breaks; parts of other types, and what has no counterpart here, reject with "invalid-argument".
 */
export interface InputMessage extends Omit<Message, "content"> {
  /** May be null or absent on an assistant turn that calls tools; null is the empty text. */
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

/** A string is one user turn (with `raw`: text to continue). Ids are continued as they are. */
export type Input = string | readonly InputMessage[] | Uint32Array;

export interface GenerateOptions {
  maxOutputTokens?: number;
  stopSequences?: readonly string[];
  /** The same seed, input and options give the same tokens on the same device. */
  seed?: number;
  /** Aborting rejects with exactly `signal.reason`; the model stays usable. */
  signal?: AbortSignal;
  /** Defaults of these four: the model's generation_config. Temperature 0 is greedy. */
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  /** Divides the logits of tokens that occurred, in the prompt or since, where they are positive, and multiplies the
   *  others. Default: the model's generation_config; 1 is off. */
  repetitionPenalty?: number;
  /** Taken off the logits of tokens generated before: once, and for each time. 0 is off. */
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** Added to the logits of these token ids, before the penalties. */
  logitBias?: Record<number, number>;
  /** Whether a model that thinks before it answers does so: as it likes, not at all, or for so many tokens at most. */
  reasoning?: "auto" | "none" | { maxTokens: number };
  /** Log-probabilities of the tokens chosen, and with a number of as many of the most probable ones (64 at most): the
   *  model's own, before bias, penalties and temperature. 0 for tokens that end a thought at its budget. */
  logprobs?: boolean | number;
  /** No chat template: continue the text itself. */
  raw?: boolean;
  /** Passed to the chat template by name. */
  templateArgs?: Record<string, unknown>;
}

export type FinishReason = "stop" | "length" | "tool-calls" | "abort" | "error";

export interface Usage {
  inputTokens: number;
  /** Those at the beginning of the input whose keys and values were there from an earlier call. */
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

export interface GenerateResult {
  text: string;
  reasoning: string;
  toolCalls: ToolCall[];
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
  | { type: "finish"; finishReason: FinishReason; usage: Usage };

/** A generation under way. Leaving its loop early, or cancelling `textStream`, stops it like `stop()`. */
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

/** A loaded model. Calls made while another runs wait for their turn. */
export interface Model extends TextGenerator, AsyncDisposable {
  readonly id: string;
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  /** Begins a conversation, or goes on with one that was saved. Generation options are its calls' defaults. */
  createSession(options?: SessionOptions): Promise<Session>;
  /** Log-probability of each token of the input after the first, given those before it (teacher forcing). */
  score(input: Input, options?: { top?: number; raw?: boolean }): Promise<TokenLogprob[]>;
  /** Logits, [rows, vocabSize]: of the last id, or of every id. */
  forward(ids: Uint32Array, options?: { rows?: "last" | "all" }): Promise<Float32Array>;
  /** GPU bytes. */
  memory(): { weights: number; kv: number; scratch: number };
  /** Settles only when the GPU device was lost and could not be brought back. */
  readonly lost: Promise<import("./errors.js").EngineError>;
  /** Frees everything; calls still under way reject. */
  unload(): Promise<void>;
}

export interface SessionOptions extends GenerateOptions {
  /** What was said before: fed at once, so that the first turn pays for its own tokens only. */
  messages?: readonly InputMessage[];
  /**
   * What `save()` gave, of this model loaded alike (the same weights, quantisation and format of the KV cache): the
   * session goes on without feeding anything. Anything else rejects with "format", changed bytes with "integrity".
   */
  state?: Blob;
}

/**
 * A conversation whose keys and values stay on the GPU between turns, so that a turn pays for its own tokens only; where
 * the template writes earlier turns otherwise than they were generated (those of models that think leave out the thought)
 * for those after the first difference too.
 *
 * Calls wait for each other. A call that rejects leaves the messages as they were; one that is stopped keeps what it has.
 * Sessions of a model take turns on its KV cache: those that wait are copied aside on the GPU, up to 256 MiB together, and
 * fed again where that is too little. An unloaded model ends its sessions.
 *
 * Where a turn does not fit the context any more, the oldest turns are left out, system messages apart, and a
 * "contextoverflow" event tells of each: a CustomEvent with `detail.messages`. `preventDefault()` keeps the turn, and the
 * call rejects with "context-overflow".
 */
export interface Session extends TextGenerator, EventTarget, AsyncDisposable {
  /** What was said. Empty in a session of raw text or ids, which messages cannot join. */
  readonly messages: readonly Message[];
  /** Tokens of what was said, as the next turn will see it. */
  readonly contextUsage: number;
  /** Tokens that the context holds. */
  readonly contextWindow: number;
  /** Adds turns without answering them, and feeds them ahead of the question. */
  append(input: Input, options?: { signal?: AbortSignal }): Promise<void>;
  /** Goes back to the first so many messages. */
  truncate(messageCount: number): Promise<void>;
  /** Another session that goes on from here, without feeding anything again where there is room for a copy. */
  clone(options?: { signal?: AbortSignal }): Promise<Session>;
  /** Tokens that an input would add, the beginning of its answer included. */
  measureContextUsage(input: Input): Promise<number>;
  /** The messages with their keys and values, for `createSession({ state })`. */
  save(): Promise<Blob>;
  /** Gives back what the engine keeps for it. Calls under way reject, as do later ones. */
  destroy(): void;
}

export interface ModelInfo {
  architecture: string;
  parameters: number;
  activeParameters: number;
  quantization: string;
  contextLength: number;
  vocabSize: number;
  format: "safetensors" | "gguf";
  license?: string;
  /** SHA-256 of the chat template, in hexadecimal: an application that has looked at one (`tokenizer.applyChatTemplate`) can pin it. */
  chatTemplateHash?: string;
  capabilities: { chat: boolean; tools: boolean; reasoning: boolean };
  /** What of the model's files or of the device is not as it should be; the console was told once. */
  warnings: readonly Warning[];
}

/**
 * What a load got over. "checkpoint": tensors and what describes them differ in something that changes no weight; "config",
 * "generation-config": a setting is not used; "kernel": a kernel variant computes wrong results on this device, or does not
 * compile, and is not used; "rope": the context is longer than rotary embeddings were made for; "template": it was mended, or
 * cannot do something; "tokenizer": its description is incomplete; "unused-file": a file that was given is not used.
 */
export interface Warning {
  code: "checkpoint" | "config" | "generation-config" | "kernel" | "rope" | "template" | "tokenizer" | "unused-file";
  message: string;
}

export interface TemplateOptions {
  addGenerationPrompt?: boolean;
  args?: Record<string, unknown>;
}

export interface Tokenizer {
  encode(text: string, options?: { addSpecialTokens?: boolean }): Promise<Uint32Array>;
  decode(ids: Iterable<number>, options?: { skipSpecialTokens?: boolean }): Promise<string>;
  applyChatTemplate(messages: readonly InputMessage[], options?: TemplateOptions): Promise<string>;
  /** What generate() feeds the model: like encode(applyChatTemplate(…)), but special tokens written inside a
   *  message's content are plain text. Equal ids for every conversation that contains none. */
  encodeMessages(messages: readonly InputMessage[], options?: TemplateOptions): Promise<Uint32Array>;
}

/** What a model would cost, from headers alone. */
export interface Estimate {
  /** Bytes of weights that a load reads, of which `cachedBytes` are on this device. */
  downloadBytes: number;
  cachedBytes: number;
  /** Bytes of buffers on the GPU, at `maxContextLength` tokens. */
  gpuBytes: number;
  kvBytesPerToken: number;
  /** Bytes outside the GPU at most, while loading. */
  peakHostBytes: number;
  /** Tokens of context that a load takes. */
  maxContextLength: number;
  /** Whether it will run; "tight": only where there is more memory than is usual. */
  fit: "yes" | "tight" | "no";
  reasons: readonly FitReason[];
}

export interface FitReason {
  code: "no-webgpu" | "feature" | "buffer-limit" | "memory" | "storage" | "architecture" | "dtype";
  message: string;
}

/** "downloading": another load of this origin is at it. */
export type Availability = "unavailable" | "downloadable" | "downloading" | "available";

/** A model on this device. */
export interface StoredModelInfo {
  id: string;
  /** Of what is here. */
  bytes: number;
  /** Whether a load had all it needed. */
  complete: boolean;
  lastUsed: Date;
  files: string[];
}
