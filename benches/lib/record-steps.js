// A prelude to the engine in a page: records the dispatches of each submit, and replays a submit step by step.

(() => {
  const SMALL = 4096; // a write of state or tokens, and no weights
  const made = new WeakMap();
  const passes = new WeakMap();
  const encoders = new WeakMap();
  const buffers = new WeakMap();
  const around = (type, name, act) => {
    const original = type.prototype[name];
    type.prototype[name] = function (...args) {
      const result = original.apply(this, args);
      act.call(this, result, ...args);
      return result;
    };
  };
  let device;
  let submits = [];
  let writes = [];
  around(GPUAdapter, "requestDevice", (promise) => void promise.then((it) => (device = it)));
  around(GPUDevice, "createComputePipelineAsync", (promise, { label }) => void promise.then((it) => made.set(it, label)));
  around(GPUDevice, "createComputePipeline", (it, { label }) => made.set(it, label));
  around(GPUCommandEncoder, "beginComputePass", function (pass) {
    const steps = encoders.get(this) ?? [];
    encoders.set(this, steps);
    passes.set(pass, { steps, groups: [] });
  });
  around(GPUComputePassEncoder, "setPipeline", function (_, pipeline) { passes.get(this).pipeline = pipeline; });
  around(GPUComputePassEncoder, "setBindGroup", function (_, at, group) { passes.get(this).groups[at] = group; });
  around(GPUComputePassEncoder, "dispatchWorkgroups", function (_, ...size) {
    const { steps, pipeline, groups } = passes.get(this);
    steps.push({ pipeline, groups: [...groups], size });
  });
  around(GPUCommandEncoder, "finish", function (buffer) { buffers.set(buffer, encoders.get(this) ?? []); });
  around(GPUQueue, "writeBuffer", (_, buffer, at, data, from, size) => {
    if (data.byteLength < SMALL) writes.push([buffer, at, data.slice(from ?? 0, size === undefined ? undefined : (from ?? 0) + size)]);
  });
  around(GPUQueue, "submit", (_, all) => {
    submits.push({ writes, steps: all.flatMap((buffer) => buffers.get(buffer) ?? []) });
    writes = [];
  });

  const run = async (steps, times, state) => {
    for (const write of state) device.queue.writeBuffer(...write);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < times; i++) {
      for (const { pipeline, groups, size } of steps) {
        pass.setPipeline(pipeline);
        groups.forEach((group, at) => pass.setBindGroup(at, group));
        pass.dispatchWorkgroups(...size);
      }
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    const began = performance.now();
    await device.queue.onSubmittedWorkDone();
    return performance.now() - began;
  };

  window.steps = {
    forget: () => (submits = []),
    /** Milliseconds of each step of the first or last recorded submit, with its preceding writes: the minimum over `tries` of the time that `times` more runs add. */
    async time(which, times, tries) {
      const recorded = submits.filter(({ steps }) => steps.length > 0).at(which);
      const least = async (steps, n) => {
        let ms = Infinity;
        for (let i = 0; i < tries; i++) ms = Math.min(ms, await run(steps, n, recorded.writes));
        return ms;
      };
      // The end of a submit is noticed with a constant delay.
      const more = async (steps, n) => ((await least(steps, n + 1)) - (await least(steps, 1))) / n;
      const whole = await more(recorded.steps, 1);
      const each = [];
      for (const step of recorded.steps) each.push({ label: made.get(step.pipeline), size: step.size, ms: await more([step], times) });
      return { whole, each };
    },
  };
})();
