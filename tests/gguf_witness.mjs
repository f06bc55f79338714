// What llama.cpp makes of the plain twins (tests/gguf_twins.py), its KV cache in f32: 24 greedy tokens for each prompt of a golden
// case, or why it does not load the file. In a folder of its own, `npm install node-llama-cpp@3.22.1`, then there
//     node .../tests/gguf_witness.mjs TWINS .../shared/data/golden/models > .../tests/gguf_witness.json
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [twins, models] = process.argv.slice(2);
const entry = createRequire(`${process.cwd()}/`).resolve("node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry));
const log = [];
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, logger: (_, text) => log.push(text.trim()) });
const out = {};
for (const file of readdirSync(twins).filter((name) => name.endsWith(".plain.gguf")).sort()) {
  const name = file.replace(".plain.gguf", "");
  const golden = JSON.parse(readFileSync(`${models}/${name}/golden.json`));
  log.length = 0;
  try {
    const model = await llama.loadModel({ modelPath: `${twins}/${file}`, gpuLayers: 0, useMmap: false });
    out[name] = {};
    for (const [prompt, { ids }] of Object.entries(golden.prompts)) {
      const context = await model.createContext({ contextSize: 512, flashAttention: false, threads: 1, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" });
      const tokens = [];
      for await (const token of context.getSequence().evaluate(ids, { temperature: 0 })) {
        if (tokens.push(token) === 24) break;
      }
      out[name][prompt] = tokens;
      await context.dispose();
    }
    await model.dispose();
  } catch (error) {
    await new Promise((resolve) => setTimeout(resolve, 500)); // the log comes later
    out[name] = { refused: log.find((line) => /missing|wrong|error|invalid/i.test(line)) ?? String(error) };
  }
}
console.log(JSON.stringify(out).replaceAll(/("\w+":\{)/g, "\n$1"));
