// The long campaign of constraints: SmolLM2 in Chromium under ten schemas, 20 seeds each at temperature 1, all of which must parse and
// validate; and how fast that is beside free generation, with and without jump-forward.
// `cargo xtask soak constraints [--seeds N]`

import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { installApp, smollm } from "./lib/app.mjs";
import { launch } from "./lib/chromium.mjs";
import { CASES, fault } from "./lib/constraints.mjs";
import { serve } from "./lib/server.mjs";

const { values } = parseArgs({ options: { seeds: { type: "string", default: "20" } } });
const seeds = Number(values.seeds);
const server = await serve({ "/smollm/": dirname(smollm), "/": installApp("constraint-app") });
server.headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
const browser = await launch();
const page = await browser.newPage();
await page.goto(`${server.origin}/`);
await page.waitForFunction(() => document.title === "ready");

/** Tokens and milliseconds of generations, by way; free ones are as long as the constrained one. */
const totals = { free: [0, 0], jumping: [0, 0], sampling: [0, 0] };
const faults = [];
let valid = 0;
for (const way of ["jumping", "sampling"]) {
  await page.evaluate(async (internal) => {
    window.opened = (await open("/smollm/SmolLM2-135M-Instruct.Q4_1.gguf", { cache: "none", contextLength: 512, internal })).model;
  }, { withoutJumps: way === "sampling" });
  for (const [name, { prompt, schema }] of Object.entries(CASES)) {
    for (let seed = 0; seed < seeds; seed++) {
      const made = await page.evaluate(async ([prompt, schema, seed, free]) => {
        const timed = async (options) => {
          await model.generate("", { raw: true, maxOutputTokens: 1 }).catch(() => {}); // nothing of the prompt is reused
          const start = performance.now();
          const result = await model.generate(prompt, { temperature: 1, seed, ...options });
          return { text: result.text, reason: result.finishReason, tokens: result.usage.outputTokens, ms: performance.now() - start };
        };
        const model = models.get(opened);
        const bound = await timed({ responseConstraint: { json: schema }, maxOutputTokens: 200 });
        return { bound, free: free ? await timed({ maxOutputTokens: bound.tokens }) : undefined };
      }, [prompt, schema, seed, way === "jumping"]);
      for (const [to, result] of [[way, made.bound], ["free", made.free]]) {
        if (result === undefined) continue;
        totals[to][0] += result.tokens;
        totals[to][1] += result.ms;
      }
      if (way !== "jumping") continue;
      const why = made.bound.reason === "stop" ? fault(name, made.bound.text) : made.bound.reason;
      if (why === undefined) valid++;
      else faults.push(`${name}, seed ${seed}: ${why}: ${made.bound.text}`);
    }
  }
  await page.evaluate(() => close(opened));
}
await browser.close();
await server.close();

const speed = ([tokens, ms]) => (tokens / ms) * 1000;
for (const [way, total] of Object.entries(totals)) console.log(`${way.padEnd(8)} ${total[0]} tokens, ${speed(total).toFixed(1)} tokens/s, ${(speed(total) / speed(totals.free)).toFixed(2)} of free`);
console.log(`${valid} of ${Object.keys(CASES).length * seeds} answers parse and validate`);
for (const fault of faults) console.log(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
