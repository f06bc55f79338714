// Measures where the time of a token and of a chunk goes in Chromium: replays each dispatch that the built package
// submitted alone. node benches/steps.mjs [--keys N] [--chunk N]

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { open, root, visit } from "./lib/site.mjs";

const { values: options } = parseArgs({
  options: { keys: { type: "string", default: "64" }, chunk: { type: "string", default: "128" } },
});
const server = await open();
const { browser, page } = await visit(server, "minke.html", readFileSync(join(root, "benches/lib/record-steps.js"), "utf8"));
try {
  await page.evaluate(() => window.bench.load({ contextLength: 2048, cache: "none", device: "gpu", worker: false }));
  const times = (keys, tokens, which, times) => page.evaluate(async ([keys, tokens, which, times]) => {
    const ids = [...Array(keys).keys()].map((i) => 300 + ((i * 7 + tokens) % 4000));
    window.steps.forget();
    await window.bench.run({ ids }, tokens);
    return window.steps.time(which, times, 3);
  }, [keys, tokens, which, times]);
  report(`a token after ${options.keys}`, await times(Number(options.keys), 8, -1, 24));
  report("a chunk", await times(Number(options.chunk), 1, 0, 2));
} finally {
  await browser.close();
  await server.close();
}

function report(what, { whole, each }) {
  const rows = new Map();
  for (const { label, size, ms } of each) {
    const key = `${label} ${size.join("x")}`;
    const row = rows.get(key) ?? { n: 0, ms: 0 };
    rows.set(key, { n: row.n + 1, ms: row.ms + ms });
  }
  const sum = each.reduce((s, { ms }) => s + ms, 0);
  console.log(`\n${what}: ${each.length} dispatches, together ${whole.toFixed(1)} ms, alone ${sum.toFixed(1)} ms`);
  for (const [key, { n, ms }] of [...rows].sort((a, b) => b[1].ms - a[1].ms)) {
    console.log(`${ms.toFixed(2).padStart(9)} ms ${((100 * ms) / sum).toFixed(1).padStart(5)} %  ${String(n).padStart(3)} x ${(ms / n).toFixed(3).padStart(8)}  ${key}`);
  }
}
