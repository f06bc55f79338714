// Loading: from a source and options to a model.

import { Connection, nextId } from "./connection.js";
import { invalid } from "./errors.js";
import { RemoteModel } from "./model.js";
import { loadOptions } from "./options.js";
import type { LoadValue, Memory } from "./protocol.js";
import { locate } from "./sources/locate.js";
import type { LoadOptions, Model, ModelSource } from "./types.js";

/**
 * Loads a model onto the GPU. Rejects with an EngineError, or with `signal.reason` where the signal aborted.
 */
export async function load(source: ModelSource, given?: LoadOptions): Promise<Model> {
  const { options, engine } = loadOptions(given);
  const { signal } = options;
  signal?.throwIfAborted();
  const location = await locate(source);
  const wasm = wasmOption(options.wasm);
  const connection = await Connection.open(options);
  const model = nextId();
  let memory: Memory = { weights: 0, kv: 0, scratch: 0 };
  try {
    const value = await connection.request(
      { kind: "load", model, location, options: engine, wasm },
      { signal, progress: options.onProgress, memory: (m) => (memory = m) },
    );
    return new RemoteModel(connection, model, value as LoadValue, memory);
  } catch (error) {
    // A worker of our own ends with everything in it, an aborted load's allocations too.
    connection.close();
    throw error;
  }
}

function wasmOption(wasm: LoadOptions["wasm"]): string | BufferSource | WebAssembly.Module {
  if (wasm === undefined) return new URL("./minke_bg.wasm", import.meta.url).href;
  if (typeof wasm === "string" || wasm instanceof URL) return new URL(wasm, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  if (wasm instanceof WebAssembly.Module || wasm instanceof ArrayBuffer || ArrayBuffer.isView(wasm)) return wasm;
  throw invalid("wasm", "expected a URL, bytes or a WebAssembly.Module");
}
