// Types of the wasm module's exports: the only module that uses its untyped glue code.

import type { Failure } from "./errors.js";
import type { Estimate, GenerateResult, LoadOptions, Message, ModelInfo, Progress, StreamPart, TokenLogprob, Tool } from "./types.js";

/** A model file; `read` returns exactly the requested bytes, in memory that the engine may own, or throws a `Failure`. */
export interface Reader {
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  read(start: number, end: number): Promise<Uint8Array>;
  /** Releases a buffer from `read` that is no longer used. */
  done?(bytes: Uint8Array): void;
  /** Whether these bytes were already stored on this device. */
  stored?(start: number, end: number): boolean;
  /** Fetches the file again, replaces the blocks that differ, and returns their indices. */
  recheck?(): Promise<number[]>;
}

/** An incremental SHA-256. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The digest in hexadecimal; frees the hasher. */
  finish(): string;
}

/** A folder of files that are opened by name. */
export interface Files {
  id: string;
  /** Null if the file does not exist. */
  open(name: string): Promise<Reader | null>;
  /** The failure for a file that does not exist, if something else was served instead. */
  absence?(name: string): Failure | undefined;
  /** The names of all files, if known. */
  names?: string[];
}

/** A model's files. */
export type Source = Files & ({ kind: "folder"; file?: string } | { kind: "gguf"; reader: Reader });

/** Load options that are passed to the engine: those of the table (`options.ts` compares), which is not in the package, and those of tests. */
export type EngineOptions = Pick<LoadOptions, "contextLength" | "quantization" | "kvCache" | "device" | "threads" | "powerPreference"> & { internal?: Record<string, unknown> };

/** Tools by name, without their functions. */
export type EngineTools = Record<string, Pick<Tool, "description" | "inputSchema">>;

export interface TemplateArguments {
  tools?: EngineTools;
  addGenerationPrompt?: boolean;
  args?: Record<string, unknown>;
}

/** The part of an estimate that the engine provides; the browser provides the rest. */
export type EngineEstimate = Omit<Estimate, "cachedBytes"> & { files: { name: string; size: number }[] };

/** Ends a call: `abort` discards, `stop` keeps what was generated. */
export interface Canceller {
  abort(): void;
  stop(): void;
  free(): void;
}

export type EngineInput = string | readonly Message[] | Uint32Array;

export interface WasmModel {
  readonly id: string;
  info(): ModelInfo;
  device(): ModelInfo["device"];
  /** Sets what a call does that meets a lost device. */
  setFallback(move: () => Promise<void>): void;
  /** Sets what starts the source of the masks of constraints. */
  setGrammars(start: StartGrammars): void;
  moveToCpu(source: Source, onProgress: (progress: Progress) => void, startWorkers: StartWorkers, canceller: Canceller): Promise<void>;
  /** What this load and earlier ones found out about the device, if it was given what those did. */
  choices(): Uint32Array;
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

/** An instance of the wasm module with its glue code. */
export interface Glue {
  init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  Canceller: new () => Canceller;
  Hasher: new () => Hasher;
  estimateModel(source: Source, options: EngineOptions, maxBinding: number, threads: number): Promise<EngineEstimate>;
  loadModel(source: Source, options: EngineOptions, onProgress: (progress: Progress) => void, startWorkers: StartWorkers, canceller: Canceller, choices: Uint32Array | undefined): Promise<WasmModel>;
}

/** Workers on the processor, which carry out commands in order. An answer rejects if a worker has ended. */
export interface Workers {
  readonly count: number;
  tell(worker: number, command: Uint8Array): void;
  write(worker: number, buffer: number, offset: number, bytes: Uint8Array): void;
  ask(worker: number, command: Uint8Array): Promise<Uint8Array>;
  /** Resolves when a worker has ended by itself. */
  readonly lost: Promise<Error>;
  stop(): void;
}

/** Starts workers: `count` if the page is isolated, by default as many as suit the device. */
export type StartWorkers = (exact: boolean, count: number | undefined) => Promise<Workers>;

/** Exports of the processor's module. */
export interface ProcessorGlue {
  init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  Worker: new (index: number, count: number, meeting: { exchange(values: Uint8Array, from: number, to: number): void }, exact: boolean) => ProcessorWorker;
}

export interface ProcessorWorker {
  carryOut(command: Uint8Array): Uint8Array;
  write(buffer: number, offset: number, bytes: Uint8Array): void;
}

/** Starts the source of masks for a vocabulary, as `Vocabulary` in `src/constraint/lib.rs` describes it. */
export type StartGrammars = (bytes: Uint8Array, lengths: Uint32Array, ends: Uint32Array) => Promise<Grammars>;

/** Compiles constraints, which are JSON texts. Throws a `Failure` with the code "constraint" where one cannot be honoured. */
export interface Grammars {
  compile(constraint: string): Matcher;
}

/** A match in progress (`Matcher` in `src/engine/constraint.rs`). */
export interface Matcher {
  mask(): Uint32Array;
  consume(id: number): void;
  forced(): Uint8Array;
  settled(ids: Uint32Array): number;
  mayEnd(): boolean;
  mustEnd(): boolean;
  free(): void;
}

/** Exports of the constraints' module. */
export interface ConstraintGlue {
  init(options: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  Grammars: new (bytes: Uint8Array, lengths: Uint32Array, ends: Uint32Array) => Grammars;
}
