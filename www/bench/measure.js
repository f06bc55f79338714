// Measures this machine, one thing after the other, and tells of each as it is known.

import { EngineError, deviceInfo, load } from "../minke/index.js";
import * as bandwidth from "./bandwidth.js";
import { model as noise } from "./noise.js";
import { cacheBytes, size, TINY } from "./shapes.js";
import { rounded, Speeds } from "./speeds.js";

const [SHORT, LONG] = [128, 4096];
/** Seconds that reading a prompt may take, unless the visitor is patient. */
const PATIENCE = 60;
/** The variants of kernels, and what a device needs for them. */
const VARIANTS = {
  subgroups: (info) => info.subgroups,
  f16: (info) => info.shaderF16,
  int8: () => navigator.gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") ?? false,
};

const seconds = (from) => (performance.now() - from) / 1000;

/**
 * The report. `tell(step, result)` is called as steps begin, with text or a load's progress, and end, with their results.
 * `options`: `{ name, shape, device: "gpu" | "cpu", patient, signal }`.
 */
export async function measure(options, tell) {
  const { name, shape, device, patient, signal } = options;
  const info = await deviceInfo();
  const report = await facts(options, info);
  const step = async (key, work) => {
    signal.throwIfAborted();
    tell(key, "…");
    const result = await work();
    tell(key, result);
    return result;
  };
  const open = (file, more) => load(file, { device, cache: "none", kvCache: "f16", signal, ...more });

  report.bandwidth = await step("bandwidth", async () => {
    const rate = device === "gpu" ? await bandwidth.ofGpu(signal) : await bandwidth.ofProcessor(info.threads, signal);
    return { gigabytesPerSecond: rounded(rate / 1e9) };
  });
  report.selfTest = await step("selfTest", () => device === "gpu" ? selfTest(open) : { skipped: "it is for the kernels of GPUs" });

  const file = noise(name, shape);
  let model;
  report.start = await step("start", async () => {
    const until = {};
    const began = performance.now();
    const onProgress = (progress) => {
      until[progress.stage] = rounded(seconds(began));
      tell("start", progress);
    };
    model = await open(file, { contextLength: LONG + 192, onProgress });
    return { seconds: rounded(seconds(began)), until, memory: model.memory() };
  });
  report.device.name = model.info.device.name || undefined;
  try {
    const speeds = new Speeds(model, signal);
    report.prefill = await step("prefill", async () => {
      await speeds.warmUp();
      return speeds.prefill(patient ? PATIENCE : PATIENCE / 4);
    });
    report.decode = {};
    for (const context of [SHORT, LONG]) {
      report.decode[context] = await step(`decode${context}`, async () => {
        const reading = Math.round(context / report.prefill.tokensPerSecond);
        if (reading > PATIENCE && !patient) return { skipped: `reading ${context} tokens would take ${reading} seconds` };
        const result = await speeds.decode(context);
        const moved = (result.tokensPerSecond * (size(shape).read + cacheBytes(shape, context))) / 1e9;
        const share = moved / report.bandwidth.gigabytesPerSecond;
        return { ...result, gigabytesPerSecond: rounded(moved), shareOfBandwidth: rounded(share) };
      });
    }
  } finally {
    await model.unload();
  }

  if (device === "gpu") {
    report.variants = {};
    for (const variant of ["none", ...Object.keys(VARIANTS).filter((variant) => VARIANTS[variant](info))]) {
      signal.throwIfAborted();
      tell("variants", `${variant} …`);
      report.variants[variant] = await alone(() => open(file, { contextLength: 1024, internal: { variants: only(variant) } }), signal);
      tell("variants", report.variants);
    }
  }
  return report;
}

/** What is known before anything is measured. */
async function facts({ name, shape, device, signal }, info) {
  const manifest = await fetch(new URL("../minke/package.json", import.meta.url), { signal });
  const { parameters, bytes, read } = size(shape);
  return {
    bench: 1, minke: (await manifest.json()).version, at: new Date().toISOString(),
    browser: navigator.userAgent, cores: navigator.hardwareConcurrency, memoryGB: navigator.deviceMemory, isolated: crossOriginIsolated,
    device: { kind: device, ...(device === "cpu" ? { threads: info.threads } : await adapterFacts(info)) },
    shape: { name, parameters, bytes, bytesPerToken: Math.round(read) },
  };
}

/** What the browser says about the GPU. */
async function adapterFacts({ features, maxBufferSize, maxStorageBufferBindingSize }) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  const { vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize, isFallbackAdapter } = adapter?.info ?? {};
  return {
    vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize, isFallbackAdapter,
    features, maxBufferSize, maxStorageBufferBindingSize,
  };
}

/** Whether every kernel agrees with its reference, and the time that takes: a load with the test, less one without. */
async function selfTest(open) {
  const file = noise("tiny", TINY);
  const timed = async (internal) => {
    const began = performance.now();
    const model = await open(file, { contextLength: 256, internal });
    const took = seconds(began);
    await model.unload();
    return { took, dropped: wrongKernels(model) };
  };
  await timed({}); // compiles, for the others
  const [without, tested] = [await timed({ withoutSelfTest: true }), await timed({})];
  const { dropped } = tested;
  const passed = dropped.length === 0;
  return { passed, ...(!passed && { dropped }), seconds: rounded(Math.max(0, tested.took - without.took)) };
}

const wrongKernels = (model) => model.info.warnings.filter(({ code }) => code === "kernel").map(({ message }) => message);
const only = (variant) => (variant === "none" ? {} : { [variant]: true });

/** Speeds with one variant, or none; why there are none, if it fails. */
async function alone(open, signal) {
  let model;
  try {
    model = await open();
    const wrong = wrongKernels(model);
    if (wrong.length > 0) return { failed: wrong.join("; ") };
    const speeds = new Speeds(model, signal);
    await speeds.warmUp();
    const { tokensPerSecond: prefill } = await speeds.prefill(PATIENCE / 4);
    const { tokensPerSecond: decode } = await speeds.decode(SHORT);
    return { prefill, decode };
  } catch (error) {
    if (signal.aborted || !(error instanceof EngineError)) throw error;
    return { failed: `${error.message} (${error.code})` };
  } finally {
    await model?.unload();
  }
}
