// Builds the package from its sources with the fake engine in place of the wasm glue.

import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { WASM } from "../fake-engine.mjs";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const { build } = createRequire(`${root}pkg/package.json`)("esbuild");

/** Builds into `target/fake-package` and returns that folder. */
export async function buildFake() {
  const out = `${root}target/fake-package`;
  const fake = {
    name: "fake-engine",
    setup: ({ onResolve }) => onResolve({ filter: /wasm\/minke\.js$/ }, () => ({ path: fileURLToPath(new URL("../fake-engine.mjs", import.meta.url)) })),
  };
  const common = { bundle: true, plugins: [fake], target: "es2022", logLevel: "warning" };
  await mkdir(out, { recursive: true });
  await build({ ...common, entryPoints: { index: `${root}pkg/src/index.ts`, "prompt-api": `${root}pkg/src/prompt-api/index.ts` }, format: "esm", splitting: true, outdir: out });
  await build({ ...common, entryPoints: [`${root}pkg/src/worker.ts`], format: "iife", outfile: `${out}/worker.js` });
  await writeFile(`${out}/minke_bg.wasm`, WASM);
  return out;
}
