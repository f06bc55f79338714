// A worker's side: carries out what the engine tells it.

import type { ProcessorGlue, ProcessorWorker } from "../wasm.js";
import { instantiate } from "../../wasm/minke_cpu.js";
import { Meeting } from "./meeting.js";
import type { Told, Telling } from "./protocol.js";

/** Carries out messages and answers through `post`; the first message starts it. */
export class Server {
  #worker: Promise<ProcessorWorker> | undefined;
  /** Whether the worker has ended: nothing after that is answered. */
  #ended = false;

  constructor(readonly post: (told: Told, transfer?: Transferable[]) => void) {}

  /** Carries out one message; never throws. */
  async handle(message: Telling): Promise<void> {
    if (this.#ended) return;
    try {
      if (message.kind === "start") {
        this.#worker = start(message);
        await this.#worker;
        return this.post({ minkeWorker: 1, kind: "started" });
      }
      // Messages are handled in their order: this promise has resolved before the second message.
      const worker = await this.#worker!;
      if (this.#ended) return;
      if (message.kind === "write") return worker.write(message.buffer, message.offset, message.bytes);
      const answer = worker.carryOut(message.command);
      if (message.id !== undefined) this.post({ minkeWorker: 1, kind: "answer", id: message.id, answer });
    } catch (error) {
      this.#ended = true;
      this.post({ minkeWorker: 1, kind: "ended", message: error instanceof Error ? error.message : String(error) });
    }
  }
}

async function start({ module, index, count, memory, exact }: Telling & { kind: "start" }): Promise<ProcessorWorker> {
  const glue: ProcessorGlue = instantiate((exports) => exports);
  await glue.init({ module_or_path: module });
  const meeting = memory === undefined ? { exchange: () => {} } : new Meeting(memory, count);
  return new glue.Worker(index, count, meeting, exact);
}
