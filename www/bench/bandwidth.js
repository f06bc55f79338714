// How fast this machine reads memory: the ceiling of decoding, which reads every weight for each token.

/** Invocations of the GPU's program. */
const THREADS = 1 << 16;

/** Each invocation combines vec4s by XOR, so that no read can be left out; neighbours read neighbouring ones. */
const READ = /* wgsl */ `
override PER: u32; // vec4s that an invocation reads, a multiple of 8
@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> reduced: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let step = ${THREADS}u;
    var at = id.x;
    var x = vec4<u32>();
    for (var i = 0u; i < PER; i += 8u) {
        x ^= source[at] ^ source[at + step] ^ source[at + 2u * step] ^ source[at + 3u * step];
        x ^= source[at + 4u * step] ^ source[at + 5u * step] ^ source[at + 6u * step] ^ source[at + 7u * step];
        at += 8u * step;
    }
    reduced[id.x] = x.x ^ x.y ^ x.z ^ x.w;
}`;

/** The largest of three rates, in bytes a second, after one to warm up; each round takes as long as a clock needs to be exact. */
async function fastest(pass, signal) {
  let best = 0;
  let times = 1;
  for (let round = 0; round < 4; ) {
    signal.throwIfAborted();
    const { bytes, seconds } = await pass(times);
    if (seconds < 0.15 && times < 4096) {
      times = Math.ceil(times * Math.min(16, 0.25 / Math.max(seconds, 1e-3)));
      continue;
    }
    if (round++ > 0) best = Math.max(best, bytes / seconds);
  }
  return best;
}

/** Of the GPU. */
export async function ofGpu(signal) {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
  try {
    // More than caches hold; a software adapter is slow enough with less.
    const most = adapter.info.isFallbackAdapter ? 2 ** 26 : 2 ** 29;
    const bytes = Math.floor(Math.min(most, maxStorageBufferBindingSize) / (THREADS * 128)) * THREADS * 128;
    const buffer = (size, usage) => device.createBuffer({ size, usage });
    const source = buffer(bytes, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
    const noise = new Uint32Array(2 ** 20).map((_, i) => Math.imul(i, 2654435761));
    for (let at = 0; at < bytes; at += noise.byteLength) {
      device.queue.writeBuffer(source, at, noise, 0, Math.min(noise.length, (bytes - at) / 4));
    }
    const module = device.createShaderModule({ code: READ });
    const compute = { module, constants: { PER: bytes / 16 / THREADS } };
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
    const entries = [source, buffer(THREADS * 4, GPUBufferUsage.STORAGE)].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    await device.queue.onSubmittedWorkDone();
    return await fastest(async (times) => {
      const began = performance.now();
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < times; i++) pass.dispatchWorkgroups(THREADS / 256);
      pass.end();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      return { bytes: bytes * times, seconds: (performance.now() - began) / 1000 };
    }, signal);
  } finally {
    device.destroy();
  }
}

/** Of the processor, with some threads that each read memory of their own. */
export async function ofProcessor(threads, signal) {
  const share = String(Math.max(2 ** 26, 2 ** 29 / threads)); // bytes: more than caches hold
  const start = () => new Worker(new URL("read-worker.js", import.meta.url), { type: "module", name: share });
  const workers = Array.from({ length: threads }, start);
  const ask = (worker, times) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message || "the worker did not start"));
    worker.postMessage(times);
  });
  try {
    return await fastest(async (times) => {
      const began = performance.now();
      const read = await Promise.all(workers.map((worker) => ask(worker, times)));
      return { bytes: read.reduce((a, b) => a + b), seconds: (performance.now() - began) / 1000 };
    }, signal);
  } finally {
    for (const worker of workers) worker.terminate();
  }
}
