// Measures this machine, one thing after the other, and tells of each as it is known.

import { EngineError, deviceInfo, load } from "../minke/index.js";
import * as bandwidth from "./bandwidth.js";
import { model as noise } from "./noise.js";
import { cacheBytes, size, TINY } from "./shapes.js";

const [SHORT, LONG] = [128, 4096];
/** Seconds that a prefill may take, unless the visitor is patient. */
const PATIENCE = 60;
/** The variants of kernels, and what a device needs for them. */
const VARIANTS = {
  subgroups: (info) => info.subgroups,
  f16: (info) => info.shaderF16,
  int8: () => navigator.gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") ?? false,
};

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const seconds = (from) => (performance.now() - from) / 1000;

/**
 * The report. `tell(step, text)` is called as steps begin and end; `options`: `{ name, shape, device: "gpu" | "cpu", patient, signal }`.
 */
export async function measure({ name, shape, device, patient, signal }, tell) {
  const info = await deviceInfo();
  const { parameters, bytes, read } = size(shape);
  const report = {
    bench: 1,
    minke: (await (await fetch(new URL("../minke/package.json", import.meta.url), { signal })).json()).version,
    at: new Date().toISOString(),
    browser: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    memoryGB: navigator.deviceMemory,
    isolated: crossOriginIsolated,
    device: { kind: device, ...(await described(device, info)) },
    shape: { name, parameters, bytes, bytesPerToken: Math.round(read) },
  };
  const rounded = (value, digits = 3) => Number(value.toPrecision(digits));
  const step = async (key, work) => {
    signal.throwIfAborted();
    tell(key, "…");
    report[key] = await work();
    tell(key, report[key]);
    return report[key];
  };

  const ceiling = await step("bandwidth", async () => {
    const rate = device === "gpu" ? await bandwidth.ofGpu(signal) : await bandwidth.ofProcessor(info.threads, signal);
    return { gigabytesPerSecond: rounded(rate / 1e9) };
  });

  const open = (file, more = {}) => load(file, { device, cache: "none", kvCache: "f16", signal, ...more });
  await step("selfTest", async () => {
    const file = noise("tiny", TINY);
    const timed = async (internal) => {
      const began = performance.now();
      const model = await open(file, { contextLength: 256, internal });
      const took = seconds(began);
      await model.unload();
      return { took, warnings: model.info.warnings };
    };
    if (device === "cpu") return { skipped: "it is for the kernels of GPUs" };
    await timed({}); // compiles, for the others
    const [without, tested] = [await timed({ withoutSelfTest: true }), await timed({})];
    const dropped = tested.warnings.filter(({ code }) => code === "kernel").map(({ message }) => message);
    return { passed: dropped.length === 0, ...(dropped.length > 0 && { dropped }), seconds: rounded(Math.max(0, tested.took - without.took)) };
  });

  const file = noise(name, shape);
  const options = { contextLength: LONG + 192, onProgress: (progress) => tell("start", progress) };
  let model;
  await step("start", async () => {
    const began = performance.now();
    const stages = {};
    model = await open(file, { ...options, onProgress: (progress) => (options.onProgress(progress), (stages[progress.stage] = rounded(seconds(began)))) });
    report.device.name = model.info.device.name || undefined;
    return { seconds: rounded(seconds(began)), until: stages, memory: model.memory() };
  });

  try {
    const speeds = await probe(model, signal);
    await step("prefill", () => speeds.prefill(patient));
    report.decode = {};
    for (const context of [SHORT, LONG]) {
      const key = `decode${context}`;
      signal.throwIfAborted();
      tell(key, "…");
      const expected = context / report.prefill.tokensPerSecond;
      const result = expected > PATIENCE && !patient ? { skipped: `reading ${context} tokens would take ${Math.round(expected)} seconds` } : await speeds.decode(context);
      if (result.tokensPerSecond !== undefined) {
        const moved = result.tokensPerSecond * (read + cacheBytes(shape, context));
        Object.assign(result, { gigabytesPerSecond: rounded(moved / 1e9), shareOfBandwidth: rounded(moved / 1e9 / ceiling.gigabytesPerSecond) });
      }
      report.decode[context] = result;
      tell(key, result);
    }
  } finally {
    await model.unload();
  }

  if (device === "gpu") {
    report.variants = {};
    const which = Object.keys(VARIANTS).filter((variant) => VARIANTS[variant](info));
    for (const variant of ["none", ...which]) {
      tell("variants", `${variant} …`);
      report.variants[variant] = await only(variant);
      tell("variants", report.variants);
    }
  }
  return report;

  /** Speeds with one variant, or none. */
  async function only(variant) {
    let model;
    try {
      model = await open(file, { contextLength: 1024, internal: { variants: variant === "none" ? {} : { [variant]: true } } });
      const wrong = model.info.warnings.filter(({ code }) => code === "kernel");
      if (wrong.length > 0) return { failed: wrong.map(({ message }) => message).join("; ") };
      const speeds = await probe(model, signal);
      const { tokensPerSecond: prefill } = await speeds.prefill(false);
      const { tokensPerSecond: decode } = await speeds.decode(SHORT);
      return { prefill, decode };
    } catch (error) {
      if (signal.aborted || !(error instanceof EngineError)) throw error;
      return { failed: `${error.message} (${error.code})` };
    } finally {
      await model?.unload();
    }
  }

  /** The measurements of a loaded model. */
  async function probe(model, signal) {
    let salt = 0;
    const ids = (count, salt) => Uint32Array.from({ length: count }, (_, i) => (i * 37 + salt * 101) % 251);
    const run = (input, maxOutputTokens) => model.generate(input, { temperature: 0, maxOutputTokens, signal });
    await run(ids(16, 0), 2); // whatever a first run still has to set up

    /** Tokens a second of a prompt that nothing is known of yet. */
    const reads = async (count) => {
      const { usage } = await run(ids(count, ++salt), 1);
      return (usage.inputTokens - usage.cachedTokens) / usage.prefillMs * 1000;
    };
    return {
      async prefill(patient) {
        let rate = await reads(64);
        const tokens = 512 / rate < (patient ? PATIENCE : PATIENCE / 4) ? 512 : 64;
        const rates = [];
        for (let i = 0; i < 3; i++) rates.push(await reads(tokens));
        return { tokens, tokensPerSecond: rounded(median(rates)) };
      },
      async decode(context) {
        const input = ids(context, 0);
        const once = async (tokens) => {
          const { usage } = await run(input, tokens + 1); // the first comes from the prompt
          return ((usage.outputTokens - 1) / usage.decodeMs) * 1000;
        };
        const first = await once(4);
        // Rounds of about a second.
        const tokens = Math.max(4, Math.min(128, Math.round(first)));
        const rates = [];
        for (let i = 0; i < 3; i++) rates.push(await once(tokens));
        return { tokensPerSecond: rounded(median(rates)), slowest: rounded(Math.min(...rates)), fastest: rounded(Math.max(...rates)), tokens };
      },
    };
  }
}

/** What the browser says about the device. */
async function described(device, info) {
  if (device === "cpu") return { threads: info.threads };
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  const { vendor, architecture, device: id, description, subgroupMinSize, subgroupMaxSize, isFallbackAdapter } = adapter?.info ?? {};
  const { features, maxBufferSize, maxStorageBufferBindingSize } = info;
  return { vendor, architecture, id, description, subgroupMinSize, subgroupMaxSize, isFallbackAdapter, features, maxBufferSize, maxStorageBufferBindingSize };
}
