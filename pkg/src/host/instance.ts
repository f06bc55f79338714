// An instance of the engine's wasm. Each model has its own, so that a trap or a leak cannot affect another.

import { networkFailure, type Failure } from "../errors.js";
import type { Glue } from "../wasm.js";
import { instantiate } from "../../wasm/minke.js";

/** The engine's wasm, or its URL. */
export type Wasm = string | BufferSource | WebAssembly.Module;

export class Instance {
  /** Why the instance can no longer be used. */
  dead?: Failure;
  readonly glue: Glue;

  private constructor(readonly trapped: (failure: Failure) => void) {
    this.glue = instantiate((exports) => guard(exports, (error) => this.#end(error)));
  }

  /** Creates an instance; `trapped` is called if it traps. */
  static async create(wasm: Wasm, fetcher: typeof fetch, trapped: (failure: Failure) => void): Promise<Instance> {
    const instance = new Instance(trapped);
    await instance.glue.init({ module_or_path: await compile(wasm, fetcher) });
    return instance;
  }

  #end(error: unknown): void {
    if (this.dead !== undefined) return;
    const message = error instanceof Error ? error.message : String(error);
    this.dead = { code: "internal", message: `the engine stopped (${message}); load the model again`, retryable: true, detail: { message } };
    this.trapped(this.dead);
  }
}

/** Wraps an instance's exports to detect traps wherever wasm is entered from, such as a promise's callback. */
function guard<T extends object>(exports: T, trapped: (error: unknown) => void): T {
  const guarded: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(exports)) {
    guarded[name] = typeof value !== "function" ? value : (...args: unknown[]) => {
      try {
        return value(...args);
      } catch (error) {
        // Browsers report a stack overflow inside wasm as the last two.
        if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError || (error as Error)?.name === "InternalError") trapped(error);
        throw error;
      }
    };
  }
  return guarded as T;
}

const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** Compiles a module, once per URL. */
export function compile(wasm: Wasm, fetcher: typeof fetch): Promise<WebAssembly.Module> {
  if (typeof wasm !== "string") return wasm instanceof WebAssembly.Module ? Promise.resolve(wasm) : WebAssembly.compile(wasm);
  let module = compiled.get(wasm);
  if (module === undefined) {
    module = download(wasm, fetcher);
    module.catch(() => compiled.delete(wasm));
    compiled.set(wasm, module);
  }
  return module;
}

async function download(url: string, fetcher: typeof fetch): Promise<WebAssembly.Module> {
  const because = (error: unknown) => (error instanceof Error ? error.message : error);
  let response: Response;
  try {
    response = await fetcher(url, { credentials: "same-origin" });
  } catch (error) {
    throw networkFailure(url, `the engine cannot be fetched: ${because(error)}`, { retryable: true });
  }
  const { ok, status } = response;
  if (!ok) throw networkFailure(url, `the server answered ${status}`, { status, retryable: status >= 500 });
  try {
    if (response.headers.get("content-type")?.split(";")[0] === "application/wasm") return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    throw networkFailure(url, `that is not the engine's wasm: ${because(error)}`, { status });
  }
}
