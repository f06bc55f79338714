// Reads all weight buffers on the GPU after a load, from outside the unmodified package.

/**
 * A worker script that runs the package's own, and reports the SHA-256 of every weight buffer on request. It
 * wraps platform functions: buffers are recorded when they are created; only the pipelines that a load runs are the
 * engine's, the others do nothing, because a software adapter takes half a minute to compile them.
 */
export const WORKER = `
const channel = new BroadcastChannel("tensors");
const wrap = (object, name, make) => { const old = object[name]; object[name] = make(old); };
const make = GPUDevice.prototype.createBuffer;
let device, buffers = [];
wrap(GPUDevice.prototype, "createBuffer", (old) => function (descriptor) {
  const buffer = old.call(this, descriptor);
  if (device !== this) [device, buffers] = [this, []]; // a load that was restarted
  if (descriptor.usage & GPUBufferUsage.STORAGE) buffers.push(buffer);
  return buffer;
});
wrap(GPUBuffer.prototype, "destroy", (old) => function () {
  buffers = buffers.filter((buffer) => buffer !== this);
  return old.call(this);
});
const idle = new WeakMap();
wrap(GPUDevice.prototype, "createComputePipeline", (old) => function (descriptor) {
  if (/^(quantize|arrange)/.test(descriptor.label)) return old.call(this, descriptor);
  if (!idle.has(this)) idle.set(this, this.createShaderModule({ code: "@compute @workgroup_size(1) fn main() {}" }));
  return old.call(this, { label: descriptor.label, layout: descriptor.layout, compute: { module: idle.get(this), entryPoint: "main" } });
});
channel.onmessage = async () => {
  const places = [];
  let size = 0;
  for (const buffer of buffers) {
    places.push([buffer, size]);
    size += buffer.size;
  }
  const staging = make.call(device, { size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  for (const [buffer, at] of places) encoder.copyBufferToBuffer(buffer, 0, staging, at, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const found = [];
  for (const [{ label, size }, at] of places) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", staging.getMappedRange(at, size).slice()));
    found.push({ label, size, hash: [...hash].map((b) => b.toString(16).padStart(2, "0")).join("") });
  }
  staging.unmap();
  staging.destroy();
  channel.postMessage(found);
};
importScripts("node_modules/minke/dist/worker.js");
`;

/** Loads a model in the page's own worker and returns all buffers on the GPU, `{ label, size, hash }`, and the ledger's bytes of weights. */
export const tensors = (page, url, options) => page.evaluate(async ([url, options]) => {
  window.hashing ??= new Worker("hashed.js");
  window.engine ??= await WebAssembly.compileStreaming(fetch("./node_modules/minke/dist/minke_bg.wasm"));
  const model = await minke.load(url, { ...options, worker: hashing, wasm: engine }).catch((e) => ({ error: facts(e) }));
  if (model.error) return model;
  const channel = new BroadcastChannel("tensors");
  const buffers = await new Promise((resolve) => {
    channel.onmessage = ({ data }) => resolve(data);
    channel.postMessage("tell");
  });
  channel.close();
  const { weights } = model.memory();
  await model.unload();
  return { buffers, weights };
}, [url, options]);
