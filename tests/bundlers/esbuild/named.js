import { run } from "./answers.js";

run({
  worker: () => new Worker("minke/worker.js", { name: "minke" }),
  wasm: "minke/minke_bg.wasm",
  cpuWasm: "minke/minke_cpu_bg.wasm",
  constraintWasm: "minke/minke_constraint_bg.wasm",
});
