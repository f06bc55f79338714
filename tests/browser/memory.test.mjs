// Tests the memory of loading a small checkpoint, measured as memory.mjs measures large ones.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { chromiumPath, profile } from "./lib/chromium.mjs";
import { synthetic } from "./lib/shapes.mjs";
import { figures, kitchen, measure } from "./memory.mjs";

const MB = 1e6;

describe("memory of a load", { skip: chromiumPath ? false : "Chromium: it is not installed" }, () => {
  let server;
  before(async () => {
    server = await kitchen(["tiny"]);
  }, { timeout: 120_000 });
  after(async () => {
    await server?.close();
  });

  test("a synthetic tensor is the same however it is read", () => {
    const file = synthetic("tiny").get("model-00001-of-00001.safetensors");
    const whole = file.read(0, file.size);
    for (let start = 0; start < file.size; start += 777_777) {
      const end = Math.min(file.size, start + 777_777);
      assert.ok(whole.subarray(start, end).equals(file.read(start, end)), `bytes ${start}-${end}`);
    }
  });

  test("weights pass the heap by, and what it takes was estimated", { timeout: 300_000 }, async () => {
    const runs = [];
    const browser = profile();
    for (const pass of ["cold", "warm"]) {
      const run = await measure(browser, server, "tiny", { quantization: "q4", contextLength: 1024 });
      const f = figures(run);
      const held = f.on;
      assert.ok(run.finite, `${pass}: logits are numbers`);
      assert.ok(f.heap > 0 && f.heap < 32 * MB, `${pass}: a heap of ${f.heap} bytes`);
      // Only vectors and parameters are uploaded from the heap.
      assert.ok(f.bytes.uploaded > 4 * MB && f.bytes.throughHeap < 0.1 * f.bytes.uploaded, `${pass}: ${f.bytes.throughHeap} of ${f.bytes.uploaded} bytes`);
      assert.ok(Math.abs(run.estimate.gpuBytes - held) <= 0.05 * held, `${pass}: ${run.estimate.gpuBytes} bytes were estimated, ${held} are held`);
      assert.equal(run.estimate.maxContextLength, run.info.contextLength);
      assert.deepEqual([...new Set(run.stages.map((s) => s.stage))], ["download", "compile"]);
      runs.push(run);
    }
    const [cold, warm] = runs;
    assert.ok(Math.abs(cold.estimate.downloadBytes - cold.fetched) <= 0.05 * cold.fetched, `${cold.fetched} bytes were fetched, ${cold.estimate.downloadBytes} estimated`);
    assert.ok(warm.fetched < 1000, `${warm.fetched} bytes were fetched again`);
    assert.deepEqual(warm.ids, cold.ids);
  });
});
