// A prelude to the engine, in a page or a worker: the device accepts every call but does no work once weights are
// written. Commands are encoded and sent to the browser's GPU process as usual; submits, writes and copies end there,
// and readbacks return a sampled token. The adapter does not report that it is software, so that the engine behaves as
// on a GPU.

(() => {
  const counts = { submits: 0, landed: 0, behind: {} };
  globalThis.withoutGpu = counts;
  if (typeof GPUDevice === "undefined") return;
  const WEIGHTS = 1 << 20; // a write of this size does not belong to the self-test of kernels
  let idle = false;
  const instead = (type, name, act) => {
    const original = type.prototype[name];
    type.prototype[name] = function (...args) {
      return idle ? act.apply(this, args) : original.apply(this, args);
    };
  };
  const submit = GPUQueue.prototype.submit;
  instead(GPUQueue, "submit", function () {
    counts.submits++;
    submit.call(this, []); // the encoded commands leave the page, as usual
  });
  instead(GPUQueue, "onSubmittedWorkDone", () => Promise.resolve());
  const write = GPUQueue.prototype.writeBuffer;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, ...rest) {
    idle ||= data.byteLength >= WEIGHTS;
    if (!idle) write.call(this, buffer, offset, data, ...rest);
  };
  instead(GPUBuffer, "mapAsync", () => {
    // The number of submits queued after the one whose token is awaited.
    const behind = counts.submits - ++counts.landed;
    counts.behind[behind] = (counts.behind[behind] ?? 0) + 1;
    return Promise.resolve();
  });
  instead(GPUBuffer, "getMappedRange", (offset, size) => {
    const bytes = new ArrayBuffer(size);
    new Uint32Array(bytes)[0] = 65 + (counts.landed % 26);
    return bytes;
  });
  instead(GPUBuffer, "unmap", () => undefined);
  const info = { vendor: "bench", architecture: "none", device: "", description: "", isFallbackAdapter: false, subgroupMinSize: 4, subgroupMaxSize: 4 };
  Object.defineProperty(GPUAdapter.prototype, "info", { get: () => info });
})();
