// What the wasm module offers: the only place where its untyped glue gets types.

import type { Failure } from "./errors.js";
import type { Estimate, GenerateResult, InternalOptions, Message, ModelInfo, Progress, StreamPart, TokenLogprob } from "./types.js";

/** One published file; `read` gives exactly the bytes asked for, in memory that the engine may take, or throws a `Failure`. */
export interface Reader {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  read(start: number, end: number): Promise<Uint8Array>;
  /** Takes back what `read` gave: nobody uses it any more. */
  done?(bytes: Uint8Array): void;
  /** Whether these bytes were on this device before. */
  stored?(start: number, end: number): boolean;
  /** Fetches the file again, and replaces the blocks that are not the same: their numbers. */
  recheck?(): Promise<number[]>;
}

/** SHA-256 of what it is given. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** In hexadecimal; the hasher is gone then. */
  finish(): string;
}

/** Where a model's files are opened by name. */
export interface Files {
  id: string;
  /** Null where there is no such file. */
  open(name: string): Promise<Reader | null>;
  /** What came in place of a file that is not there, where that is more than "there is none". */
  absence?(name: string): Failure | undefined;
  /** The names of all files, where they are known. */
  names?: string[];
}

/** A model's files. */
export type Source = Files & ({ kind: "folder"; file?: string } | { kind: "gguf"; reader: Reader });

/** Load options that reach the engine. */
export interface EngineOptions {
  contextLength?: number;
  quantization?: string;
  kvCache?: string;
  powerPreference?: string;
  internal?: Omit<InternalOptions, "clockRate">;
}

export interface TemplateArguments {
  addGenerationPrompt?: boolean;
  args?: Record<string, unknown>;
}

/** What the engine knows of an estimate: the rest is the browser's to say. */
export type EngineEstimate = Omit<Estimate, "cachedBytes"> & { files: { name: string; size: number }[] };

/** Ends one call: `abort` discards, `stop` keeps what was generated. */
export interface Canceller {
  abort(): void;
  stop(): void;
  free(): void;
}

export type EngineInput = string | readonly Message[] | Uint32Array;

export interface WasmModel {
  readonly id: string;
  info(): ModelInfo;
  memory(): { weights: number; kv: number; scratch: number };
  generate(input: EngineInput, options: object, conversation: number | undefined, onPart: ((part: StreamPart) => void) | undefined, canceller: Canceller): Promise<GenerateResult>;
  append(input: EngineInput, options: object, conversation: number, canceller: Canceller): Promise<number>;
  openConversation(): number;
  closeConversation(conversation: number): void;
  cloneConversation(conversation: number, canceller: Canceller): Promise<number>;
  saveConversation(conversation: number, note: string, canceller: Canceller): Promise<Uint8Array<ArrayBuffer>[]>;
  restoreConversation(state: Reader, canceller: Canceller): Promise<{ conversation: number; note: string }>;
  score(input: EngineInput, options: { top?: number; raw?: boolean }, canceller: Canceller): Promise<TokenLogprob[]>;
  forward(ids: Uint32Array, rows: "last" | "all", canceller: Canceller): Promise<Float32Array>;
  encode(text: string, addSpecialTokens: boolean): Uint32Array;
  decode(ids: Uint32Array, skipSpecialTokens: boolean): string;
  applyChatTemplate(messages: readonly Message[], options: TemplateArguments): string;
  encodeMessages(messages: readonly Message[], options: TemplateArguments): Uint32Array;
  lost(): Promise<Failure>;
  unload(): void;
  free(): void;
}

/** One instance of the wasm module with its glue. */
export interface Glue {
  init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  Canceller: new () => Canceller;
  Hasher: new () => Hasher;
  estimateModel(source: Source, options: EngineOptions, maxBinding: number): Promise<EngineEstimate>;
  loadModel(source: Source, options: EngineOptions, onProgress: (progress: Progress) => void, canceller: Canceller): Promise<WasmModel>;
}
