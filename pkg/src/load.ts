// The public functions that take a source: load a model, estimate its cost, check its availability, download its files.

import { Connection, nextId } from "./connection.js";
import { isSoftware } from "./device.js";
import { EngineError, invalid } from "./errors.js";
import { below, locate, storageKey, type Location } from "./locate.js";
import { RemoteModel } from "./model.js";
import { loadOptions } from "./options.js";
import type { LoadValue, Memory, Opening } from "./protocol.js";
import { lookUp, type Stored } from "./storage/index.js";
import type { Availability, Estimate, FitReason, LoadOptions, Model, ModelSource } from "./types.js";
import type { EngineEstimate } from "./wasm.js";

/** The reason why WebGPU and storage are missing if it is the page's URL, which browsers do not report. */
const insecure = () => (globalThis.isSecureContext === false ? "browsers offer WebGPU and storage only to pages from https:// or localhost, and this page is from neither" : undefined);

/**
 * Loads a model, onto the GPU if there is one. Rejects with an EngineError, or with `signal.reason` if the signal aborted: data that
 * arrived until then stays on this device, and the next load continues from it.
 */
export async function load(source: ModelSource, given?: LoadOptions): Promise<Model> {
  const { options, opening, location } = await prepare(source, given);
  const connection = await Connection.open(options);
  let memory: Memory = { weights: 0, kv: 0, scratch: 0 };
  try {
    const value = await connection.request(
      { kind: "load", fallback: options.fallback ?? false, tune: options.tune ?? true, ...opening, location },
      { signal: options.signal, progress: options.onProgress, full: options.onStorageFull, memory: (m) => (memory = m) },
    );
    return new RemoteModel(connection, opening.model, value as LoadValue, memory);
  } catch (error) {
    // Terminating the worker frees everything in it, including the allocations of an aborted load.
    connection.close();
    const reason = error instanceof EngineError && error.code === "no-webgpu" ? insecure() : undefined;
    throw reason === undefined ? error : new EngineError("no-webgpu", `WebGPU is not available: ${reason}`, { detail: { reason } });
  }
}

/**
 * Estimates what a model would cost and whether it will run here, from headers only: nothing large is fetched and
 * nothing is stored. Rejects if files are missing or incomplete; for a model that cannot run here, the estimate says
 * so.
 */
export async function estimate(source: ModelSource, given?: LoadOptions): Promise<Estimate> {
  const { options, opening, location } = await prepare(source, given);
  const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference: options.powerPreference }).catch(() => null);
  const onGpu = adapter != null && (options.device === "gpu" || !isSoftware(adapter));
  const maxBinding = !onGpu ? 0 : Math.min(adapter.limits.maxStorageBufferBindingSize, adapter.limits.maxBufferSize);
  const { files: _, ...known } = (await look(options, { ...opening, location, maxBinding, download: false })) as EngineEstimate;
  const cachedBytes = (await stored(opening.cache, location))?.bytes ?? 0;
  const reason = insecure();
  const reasons: FitReason[] = known.reasons.map((known) => (known.code === "no-webgpu" && reason ? { ...known, message: `WebGPU is not available: ${reason}` } : known));
  const { quota, usage = 0 } = (await globalThis.navigator?.storage?.estimate?.().catch(() => undefined)) ?? {};
  let { fit } = known;
  const missing = known.downloadBytes - cachedBytes;
  if (opening.cache === "opfs" && location.kind !== "files" && quota !== undefined && missing > quota - usage) {
    reasons.push({ code: "storage", message: `${missing} bytes would have to be stored; this origin may store ${Math.max(0, quota - usage)} more` });
    if (fit === "yes") fit = "tight"; // a load continues without storing the model
  }
  return { ...known, cachedBytes: Math.min(cachedBytes, known.downloadBytes), fit, reasons };
}

/** Whether a model can run here, and whether its files are on this device. */
export async function availability(source: ModelSource, given?: LoadOptions): Promise<Availability> {
  const { opening, location } = await prepare(source, given);
  const known = await stored(opening.cache, location);
  if (known?.loading) return "downloading";
  if (known?.complete) {
    const runs = given?.device !== "gpu" || (await globalThis.navigator?.gpu?.requestAdapter().catch(() => null)) != null;
    return runs ? "available" : "unavailable";
  }
  const { fit } = await estimate(source, given);
  return fit === "no" ? "unavailable" : location.kind === "files" ? "available" : "downloadable";
}

/** Fetches a model's files onto this device, for `store.download`. */
export async function download(source: ModelSource, given?: LoadOptions): Promise<void> {
  const { options, opening, location } = await prepare(source, given);
  if (location.kind === "files") return;
  if (opening.cache === "none") throw invalid("cache", 'a download must be stored, so it must not be "none"');
  const reason = insecure();
  if (reason !== undefined) throw new EngineError("storage", reason, { detail: { reason } });
  if (options.worker === false) throw new EngineError("storage", "only workers can store files; do not pass `worker: false`");
  await look(options, { ...opening, location, maxBinding: 0, download: true });
}

async function prepare(source: ModelSource, given?: LoadOptions) {
  const { options, engine } = loadOptions(given);
  options.signal?.throwIfAborted();
  const location = await locate(source);
  const opening: Omit<Opening, "location"> = {
    model: nextId(), options: engine, cache: options.cache ?? "opfs", integrity: digests(options.integrity, location), wasm: wasmOption("wasm", options.wasm) ?? new URL("./minke_bg.wasm", import.meta.url).href,
    cpuWasm: wasmOption("cpuWasm", options.cpuWasm) ?? new URL("./minke_cpu_bg.wasm", import.meta.url).href,
    constraintWasm: wasmOption("constraintWasm", options.constraintWasm) ?? new URL("./minke_constraint_bg.wasm", import.meta.url).href,
    clockRate: options.internal?.clockRate ?? 1,
  };
  return { options, opening, location };
}

/** Digests in hexadecimal, by the names that files are opened by. Throws if none belongs to the model's folder. */
function digests(given: LoadOptions["integrity"], location: Location): Record<string, string> {
  const hex = (text: string) => [...atob(text)].map((c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  const all = Object.entries(given ?? {}).map(([path, digest]) => [below(location, path), hex(digest.slice("sha256-".length))] as const);
  const mine = all.filter(([name]) => name !== undefined);
  if (all.length > mine.length && mine.length === 0) throw invalid("integrity", `none of its paths is below ${JSON.stringify((location as { at?: string }).at)}, the model's folder`);
  return Object.fromEntries(mine);
}

/** Sends a request to an engine that is created for it and ended after its reply. */
async function look(options: LoadOptions, body: Opening & { maxBinding: number; download: boolean }): Promise<unknown> {
  const connection = await Connection.open(options);
  try {
    return await connection.request({ kind: "estimate", ...body }, { signal: options.signal, progress: options.onProgress, full: options.onStorageFull });
  } finally {
    connection.close();
  }
}

/** What this device has of a model; null for the visitor's own files, and if the store is not used. */
async function stored(cache: Opening["cache"], location: Location): Promise<Stored | null> {
  return cache === "none" || location.kind === "files" ? null : lookUp(storageKey(location));
}

function wasmOption(name: string, wasm: LoadOptions["wasm"]): string | BufferSource | WebAssembly.Module | undefined {
  if (wasm === undefined) return undefined;
  if (typeof wasm === "string" || wasm instanceof URL) return new URL(wasm, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  if (wasm instanceof WebAssembly.Module || wasm instanceof ArrayBuffer || ArrayBuffer.isView(wasm)) return wasm;
  throw invalid(name, "expected a URL, bytes or a WebAssembly.Module");
}
