// Measures which share of the adapter's read bandwidth decode reaches: alternates the probe and a model's tokens, each
// in its own browser. node benches/ceiling.mjs [--quick]

import { mkdirSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Watch } from "./lib/processes.mjs";
import { short } from "./lib/prompts.mjs";
import { open, root, visit } from "./lib/site.mjs";
import { figures, spread } from "./lib/statistics.mjs";

const { values: options } = parseArgs({ options: { quick: { type: "boolean" } } });
const rounds = options.quick ? 1 : 5;
const BYTES = 256 << 20; // larger than every cache
const TOKENS = options.quick ? 8 : 32;

const server = await open();
const probe = await visit(server, "ceiling.html");
const minke = await visit(server, "minke.html");
const watch = new Watch();
try {
  const adapter = await probe.page.evaluate((bytes) => window.bench.start(bytes), BYTES);
  const loaded = await minke.page.evaluate(() => window.bench.load({ contextLength: 256, cache: "none", device: "gpu" }));
  const question = await short(minke.page);
  // One token reads every weight except an untied embedding; SmolLM2's is tied to the head.
  const { weights } = loaded.memory;
  const decode = (tokens) => minke.page.evaluate(([prompt, tokens]) => window.bench.run(prompt, tokens), [question, tokens]);
  const read = (workgroup, interleaved, passes) => probe.page.evaluate((o) => window.bench.read(o), { bytes: BYTES, workgroup, interleaved, passes });
  const ways = [[16, false], [64, false], [64, true], [256, true]];
  await decode(4);
  const result = { adapter: adapter.name, weights, rounds: [] };
  for (let i = 0; i < rounds; i++) {
    const round = { reads: [], busy: loadavg()[0] };
    for (const [workgroup, interleaved] of ways) {
      for (const { start, end, rate } of await read(workgroup, interleaved, options.quick ? 1 : 3)) {
        await settle();
        round.reads.push({ workgroup, interleaved, rate, perCpu: BYTES / 1e9 / watch.seconds(start, end) });
      }
    }
    const { first, end, tokens } = await decode(TOKENS);
    await settle();
    const bytes = (tokens - 1) * weights;
    round.decode = { rate: bytes / (end - first) / 1e6, perCpu: bytes / 1e9 / watch.seconds(first, end), tokens: ((tokens - 1) / (end - first)) * 1000 };
    const best = (key) => Math.max(...round.reads.map((r) => r[key]).filter(Number.isFinite));
    round.share = round.decode.rate / best("rate");
    round.sharePerCpu = round.decode.perCpu / best("perCpu");
    result.rounds.push(round);
    console.log(`reads ${figures(best("rate"))} GB/s, decode ${figures(round.decode.rate)} GB/s (${figures(round.decode.tokens)} tokens/s): ${(100 * round.share).toFixed(0)} %; by processor second ${(100 * round.sharePerCpu).toFixed(0)} %`);
  }
  result.share = spread(result.rounds.map((r) => r.share));
  result.sharePerCpu = spread(result.rounds.map((r) => r.sharePerCpu));
  mkdirSync(join(root, "target/bench"), { recursive: true });
  writeFileSync(join(root, "target/bench/ceiling.json"), JSON.stringify({ at: new Date().toISOString(), quick: options.quick ?? false, ...result }, null, 1));
} finally {
  watch.stop();
  await Promise.all([probe, minke].map(({ browser }) => browser.close()));
  await server.close();
}

function settle() {
  return new Promise((done) => setTimeout(done, 250)); // until the watch has sampled the end
}
