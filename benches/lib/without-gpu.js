// Put in front of the engine, in a page or a worker: the device takes every call and, once weights are written, does no work. Commands
// are encoded and finished as ever and sent to the browser's GPU process; a submit, a write and a copy end there, and what is read back is a token that was sampled. The
// adapter does not say that it is software, so that the engine does what it does on a GPU.

(() => {
  const counts = { submits: 0, landed: 0, behind: {} };
  globalThis.withoutGpu = counts;
  if (typeof GPUDevice === "undefined") return;
  const WEIGHTS = 1 << 20; // a write as large as this is no test of kernels
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
    submit.call(this, []); // what was encoded leaves the page, as it would
  });
  instead(GPUQueue, "onSubmittedWorkDone", () => Promise.resolve());
  const write = GPUQueue.prototype.writeBuffer;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, ...rest) {
    idle ||= data.byteLength >= WEIGHTS;
    if (!idle) write.call(this, buffer, offset, data, ...rest);
  };
  instead(GPUBuffer, "mapAsync", () => {
    // How many submits lie behind the one whose token is waited for.
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
