// A loaded model and its calls, which run one after the other on its wasm instance.

import { failure } from "../errors.js";
import type { Memory, Method, Methods, RequestOf } from "../protocol.js";
import type { StreamPart } from "../types.js";
import type { Canceller, Reader, WasmModel } from "../wasm.js";
import type { Instance } from "./instance.js";
import type { Task } from "./task.js";

type Call = RequestOf<"call">;

/** Methods that run one at a time, because they use the GPU. */
const ON_GPU: ReadonlySet<Method> = new Set(["generate", "append", "cloneConversation", "saveConversation", "restoreConversation", "score", "forward"]);

/** The result of a call. */
export interface Answer {
  value: unknown;
  memory?: Memory;
  transfer?: Transferable[];
}

export class LoadedModel {
  /** Settles when the last call in the queue has ended. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    readonly instance: Instance,
    readonly wasm: WasmModel,
  ) {}

  /** Whether a method waits for its turn. The others run while the GPU generates. */
  static waits(method: Method): boolean {
    return ON_GPU.has(method);
  }

  /** Runs a method that need not wait. */
  run({ method, args }: Call): Answer {
    this.#throwIfDead();
    try {
      const value = (this.wasm[method] as (...args: unknown[]) => unknown)(...args);
      // The memory of a conversation is freed immediately.
      return { value, memory: method === "closeConversation" ? this.wasm.memory() : undefined };
    } catch (error) {
      throw this.instance.dead ?? failure(error);
    }
  }

  /** Runs a method after all calls before it have ended; `part` receives what is generated if the request wants it. */
  enqueue(request: Call, task: Task, part: (part: StreamPart) => void): Promise<Answer> {
    this.#throwIfDead();
    const canceller = task.begin(this.instance);
    const answer = this.#queue.then(async (): Promise<Answer> => {
      this.#throwIfDead();
      task.throwIfAborted();
      const value = await this.#start(request, canceller, part);
      // Logits are large, so their buffer is transferred instead of copied.
      const transfer = request.method === "forward" ? [(value as Float32Array).buffer] : [];
      return { value, memory: this.wasm.memory(), transfer };
    });
    this.#queue = answer.catch(() => {});
    return answer;
  }

  /** Frees the model after its calls have ended. */
  async unload(): Promise<void> {
    await this.#queue;
    if (this.instance.dead === undefined) this.wasm.unload();
  }

  #throwIfDead(): void {
    if (this.instance.dead !== undefined) throw this.instance.dead;
  }

  #start(request: Call, canceller: Canceller, part: (part: StreamPart) => void): Promise<Methods[Method][1]> {
    const { wasm } = this;
    switch (request.method) {
      case "generate":
        return wasm.generate(...request.args, request.parts ? part : undefined, canceller);
      case "append":
        return wasm.append(...request.args, canceller);
      case "cloneConversation":
        return wasm.cloneConversation(...request.args, canceller);
      case "saveConversation":
        return wasm.saveConversation(...request.args, canceller).then((pieces) => new Blob(pieces));
      case "restoreConversation":
        return wasm.restoreConversation(reader(request.args[0]), canceller);
      case "score":
        return wasm.score(...request.args, canceller);
      case "forward":
        return wasm.forward(...request.args, canceller);
      default:
        throw new Error(`${request.method} does not run on the GPU`);
    }
  }
}

/** A reader for a saved conversation. */
function reader(state: Blob): Reader {
  return { name: "state", size: state.size, read: async (start, end) => new Uint8Array(await state.slice(start, end).arrayBuffer()) };
}
