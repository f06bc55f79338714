// The messages between the page and the engine, which is in a worker or on the same thread.

import type { Failure } from "./errors.js";
import type { Wanted } from "./sources/index.js";
import type { GenerateResult, Message, ModelInfo, Progress, StorageFull, StreamPart, TokenLogprob } from "./types.js";
import type { EngineInput, EngineOptions, TemplateArguments } from "./wasm.js";

export interface Memory {
  weights: number;
  kv: number;
  scratch: number;
}

/** The methods of a model, with arguments and result. */
export interface Methods {
  generate: [args: [input: EngineInput, options: object, conversation: number | undefined], value: GenerateResult];
  append: [args: [input: EngineInput, options: object, conversation: number], value: number];
  openConversation: [args: [], value: number];
  closeConversation: [args: [conversation: number], value: void];
  cloneConversation: [args: [conversation: number], value: number];
  saveConversation: [args: [conversation: number, note: string], value: Blob];
  restoreConversation: [args: [state: Blob], value: { conversation: number; note: string }];
  score: [args: [input: EngineInput, options: { top?: number; raw?: boolean }], value: TokenLogprob[]];
  forward: [args: [ids: Uint32Array, rows: "last" | "all"], value: Float32Array];
  encode: [args: [text: string, addSpecialTokens: boolean], value: Uint32Array];
  decode: [args: [ids: Uint32Array, skipSpecialTokens: boolean], value: string];
  applyChatTemplate: [args: [messages: readonly Message[], options: TemplateArguments], value: string];
  encodeMessages: [args: [messages: readonly Message[], options: TemplateArguments], value: Uint32Array];
}

export type Method = keyof Methods;

export interface LoadValue {
  id: string;
  info: ModelInfo;
}

/** The parameters for opening a model. */
export interface Opening extends Wanted {
  model: number;
  options: EngineOptions;
  wasm: string | BufferSource | WebAssembly.Module;
  /** What the processor's workers run. */
  cpuWasm: string | BufferSource | WebAssembly.Module;
  /** What makes the masks of constraints. */
  constraintWasm: string | BufferSource | WebAssembly.Module;
}

/** Requests of the page. Ids are unique per page, so that several models can share a worker. */
export type Request = { minke: 1; id: number } & (
  /** With `fallback`, a model whose GPU is lost moves to the processor; with `tune`, variants of kernels are timed. */
  | ({ kind: "load"; fallback: boolean; tune: boolean } & Opening)
  /** Reads headers only; with `download`, stores all weight files. */
  | ({ kind: "estimate"; maxBinding: number; download: boolean } & Opening)
  /** With `parts`, what is generated is also told part by part. */
  | { [M in Method]: { kind: "call"; model: number; method: M; args: Methods[M][0]; parts: boolean } }[Method]
  | { kind: "unload"; model: number }
  /** The reply to "full": the models to delete. */
  | { kind: "room"; ids: readonly string[] }
  | { kind: "abort" }
  | { kind: "stop" }
);

/** A request of one kind. */
export type RequestOf<K extends Request["kind"]> = Extract<Request, { kind: K }>;

export type Reply = { minke: 1 } & (
  | { kind: "ready" }
  | { kind: "progress"; id: number; progress: Progress }
  | { kind: "part"; id: number; part: StreamPart }
  /** Storage is full; the engine waits for "room". */
  | { kind: "full"; id: number; full: StorageFull }
  | { kind: "done"; id: number; value: unknown; memory?: Memory }
  | { kind: "failed"; id: number; failure: Failure }
  /** The model's wasm instance trapped: no further replies will come. */
  | { kind: "dead"; model: number; failure: Failure }
  | { kind: "lost"; model: number; failure: Failure }
  /** The model's GPU was lost, and it has moved to the processor. */
  | { kind: "moved"; model: number; device: ModelInfo["device"]; memory: Memory }
);
