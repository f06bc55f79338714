// The messages between the engine and its workers on the processor.

export type Telling = { minkeWorker: 1 } & (
  | { kind: "start"; module: WebAssembly.Module; index: number; count: number; memory?: SharedArrayBuffer; exact: boolean }
  /** With an id, the command is answered. */
  | { kind: "command"; command: Uint8Array; id?: number }
  | { kind: "write"; buffer: number; offset: number; bytes: Uint8Array }
);

export type Told = { minkeWorker: 1 } & (
  | { kind: "started" }
  | { kind: "answer"; id: number; answer: Uint8Array }
  /** The worker has trapped, or its script does not run. */
  | { kind: "ended"; message: string }
);
