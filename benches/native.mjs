// llama.cpp as a native program (node-llama-cpp), in a process of its own: what a processor can do without a browser. It prints a line
// of JSON for each message that it reads: node benches/native.mjs MODEL THREADS

import { createInterface } from "node:readline";
import { getLlama } from "node-llama-cpp";

const [path, threads] = process.argv.slice(2);
const at = () => performance.timeOrigin + performance.now();
const start = at();
const llama = await getLlama({ gpu: false, build: "never", maxThreads: Number(threads), progressLogs: false, logLevel: "error" });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({ contextSize: 8192, batchSize: 512, threads: Number(threads) });
const sequence = context.getSequence();
const say = (value) => console.log(JSON.stringify(value));
say({ start, end: at(), ranOn: `native, ${threads} threads` });

for await (const line of createInterface({ input: process.stdin })) {
  const { ids, tokens } = JSON.parse(line);
  await sequence.clearHistory();
  const start = at();
  const seen = [];
  const out = [];
  for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
    seen.push(at());
    out.push(token);
    if (out.length >= tokens) break;
  }
  say({ start, first: seen[0], end: seen.at(-1), text: model.detokenize(out), ids: out, tokens: out.length, promptTokens: ids.length, cached: 0 });
}
