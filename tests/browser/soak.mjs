// The long campaign of the store: every kind of transport fault by seed, kills at any point, damaged blocks, full disks.
// `cargo xtask soak [faults|kills|flips|quotas] [--seeds N]`; store.test.mjs plays a sample of it.

import { statSync } from "node:fs";
import { installApp, smollm } from "./lib/app.mjs";
import { launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";
import { asked, begin, damage, ended, open, sha256, storedHash } from "./lib/store.mjs";

const PATH = "/smol.gguf";
const size = statSync(smollm).size;
const want = sha256(smollm);

/** A generator of numbers from 0 to 1, the same for the same seed (SplitMix32). */
function random(seed) {
  let state = (seed * 0x9e3779b9) >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** What happens to a share of the requests. Never to all: a server that is always wrong cannot be read from. */
const KINDS = {
  none: () => undefined,
  range_200: () => ({ ignoreRange: true }),
  range_before: () => ({ shift: -1 }),
  range_after: () => ({ shift: 1 }),
  cut_early: () => ({ cutAfter: 1 }),
  cut_late: (r) => ({ cutAfter: 1 + Math.floor(r() * 900_000) }),
  no_answer: () => ({ drop: true }),
  h408: () => ({ status: 408 }),
  h429: () => ({ status: 429, headers: { "retry-after": "0" } }),
  h429_ratelimit: () => ({ status: 429, headers: { ratelimit: '"api";r=0;t=0' } }),
  h500: () => ({ status: 500 }),
  h502_html: () => ({ status: 502, headers: { "content-type": "text/html" }, body: "<html>bad gateway</html>" }),
  h503: () => ({ status: 503 }),
  etag_weak: () => ({ headers: { etag: `W/"${size}"` } }),
  mixed: (r) => KINDS[["range_200", "range_after", "cut_early", "cut_late", "no_answer", "h429", "h503"][Math.floor(r() * 7)]](r),
};

const [what = "all", ...rest] = process.argv.slice(2);
const seeds = Number(rest[rest.indexOf("--seeds") + 1] || 25);
const server = await serve({ "/app/": installApp(), [PATH]: smollm });
const browser = await launch();
let failures = 0;

/** One run in a profile of its own. */
async function run(name, seed, body) {
  const context = await browser.newContext();
  const from = server.requests.length;
  const began = Date.now();
  try {
    const note = await body(context, random(seed), from);
    console.log(`ok     ${name} ${seed}: ${note} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failures++;
    console.log(`FAILED ${name} ${seed}: ${error.message}`);
  } finally {
    server.fault = () => undefined;
    await context.close();
  }
}

/** Lets a download end and compares its bytes. */
async function whole(page) {
  const error = await ended(page);
  if (error !== null) throw new Error(`${error.code}: ${error.message}`);
  const hash = await storedHash(page, "smol.gguf");
  if (hash !== want) throw new Error(`the bytes are ${hash}`);
}

const twice = (from) => `${(100 * (asked(server, PATH, from) / size - 1)).toFixed(1)} % asked for twice`;

if (["all", "faults"].includes(what)) {
  for (const [name, fault] of Object.entries(KINDS)) {
    for (let seed = 1; seed <= seeds; seed++) {
      await run(name, seed, async (context, r, from) => {
        server.fault = (request) => (request.path === PATH && r() < 0.25 ? fault(r) : undefined);
        const page = await open(context, server);
        await begin(page);
        await whole(page);
        return twice(from);
      });
    }
  }
}
if (["all", "kills"].includes(what)) {
  for (let seed = 1; seed <= 8 * seeds; seed++) {
    await run("kill", seed, async (context, r, from) => {
      const share = r();
      let page = await open(context, server);
      await begin(page);
      let over = false;
      const end = () => (over = true);
      ended(page).then(end, end);
      while (!over && asked(server, PATH, from) < share * size) await new Promise((resolve) => setTimeout(resolve, 2));
      await page.close();
      page = await open(context, server);
      await begin(page);
      await whole(page);
      return `at ${(100 * share).toFixed(0)} %, ${twice(from)}`;
    });
  }
}
if (["all", "flips"].includes(what)) {
  for (let seed = 1; seed <= Math.ceil(seeds / 5); seed++) {
    await run("flips", seed, async (context, r) => {
      const page = await open(context, server);
      await begin(page);
      await whole(page);
      const blocks = [...new Set(Array.from({ length: 20 }, () => Math.floor(r() * Math.floor(size / 2 ** 20))))];
      await damage(page, "smol.gguf", blocks.map((index) => index * 2 ** 20 + Math.floor(r() * 2 ** 20)), 1 << Math.floor(r() * 8));
      const from = server.requests.length;
      await begin(page);
      await whole(page);
      const extra = asked(server, PATH, from) - 1;
      if (extra !== blocks.length * 2 ** 20) throw new Error(`${extra} bytes were fetched for ${blocks.length} blocks`);
      return `${blocks.length} blocks found and fetched`;
    });
  }
}
if (["all", "quotas"].includes(what)) {
  for (let seed = 1; seed <= 2 * seeds; seed++) {
    await run("quota", seed, async (context, r) => {
      const quotaSize = Math.floor(2e6 + r() * 1.2 * size);
      const page = await open(context, server);
      const session = await context.newCDPSession(page);
      await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize });
      await begin(page);
      const error = await ended(page);
      if (error !== null && error.code !== "storage") throw new Error(`${error.code}: ${error.message}`);
      await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin });
      await begin(page);
      await whole(page);
      return `${quotaSize} bytes of room: ${error === null ? "enough" : "said so, then resumed"}`;
    });
  }
}
await browser.close();
await server.close();
console.log(failures === 0 ? "all hold" : `${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
