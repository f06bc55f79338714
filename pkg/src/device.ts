// Describes this browser's GPU, processor and storage, without loading wasm.

import { threads } from "./processor/index.js";
import type { DeviceInfo } from "./types.js";

/** Describes the adapter that a load would use. Never rejects: without an adapter, `webgpu` is false. */
export async function deviceInfo(): Promise<DeviceInfo> {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter().catch(() => null);
  const storage = globalThis.navigator?.storage;
  const { quota = 0, usage = 0 } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
  const persisted = (await storage?.persisted?.().catch(() => false)) ?? false;
  const features = adapter == null ? [] : [...adapter.features].sort();
  return {
    device: adapter != null && !isSoftware(adapter) ? "gpu" : "cpu",
    threads: threads(),
    webgpu: adapter != null,
    vendor: adapter?.info?.vendor ?? "",
    architecture: adapter?.info?.architecture ?? "",
    features,
    maxBufferSize: adapter?.limits.maxBufferSize ?? 0,
    maxStorageBufferBindingSize: adapter?.limits.maxStorageBufferBindingSize ?? 0,
    shaderF16: features.includes("shader-f16"),
    subgroups: features.includes("subgroups"),
    quota,
    usage,
    persisted,
  };
}

/** Whether an adapter runs on the processor (SwiftShader, lavapipe, WARP): models are faster there without it. */
export function isSoftware(adapter: GPUAdapter): boolean {
  const { isFallbackAdapter = false, architecture = "", description = "" } = adapter.info ?? ({} as Partial<GPUAdapterInfo>);
  return isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(`${architecture} ${description}`);
}
