// Writes what the bench for devices needs to know of models of noise: the header of each file, which is all of it that is not noise, and
// shapes.json. They are the models of the site's bench page. node benches/device/headers.mjs FOLDER

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aligned, header } from "../../www/bench/noise.js";
import { SHAPES, bytesOf, cacheBytes, size, tensors } from "../../www/bench/shapes.js";

const folder = process.argv[2];
const NAMES = ["SmolLM2-135M", "DeepSeek-R1-Distill-Qwen-1.5B", "Llama-3.2-3B", "Qwen3-8B", "Qwen3-30B-A3B"];

mkdirSync(folder, { recursive: true });
const shapes = [];
for (const name of NAMES) {
  const shape = SHAPES[name];
  const head = Buffer.from(await header(name, shape).arrayBuffer());
  writeFileSync(join(folder, `${name}.gguf`), head);
  const fileBytes = tensors(shape).reduce((sum, tensor) => sum + aligned(bytesOf(tensor)), head.length);
  const { parameters, read } = size(shape);
  shapes.push({ name, parameters, fileBytes, bytesPerToken: Math.round(read), cacheBytesPerToken: cacheBytes(shape, 1) });
}
writeFileSync(join(folder, "shapes.json"), JSON.stringify(shapes, undefined, 2));
