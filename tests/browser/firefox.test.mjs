// A smoke test in a second browser: Firefox on the system's Vulkan driver.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { absent, golden, installApp, seeded } from "./lib/app.mjs";
import { serve } from "./lib/server.mjs";

const path = [process.env.MINKE_FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"].find((p) => p && existsSync(p));
const PREFERENCES = { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true, "dom.webgpu.workers.enabled": true };

test("Firefox generates", { skip: (!path && "Firefox: it is not installed") || absent(golden), timeout: 180_000 }, async (t) => {
  const { launch } = await import("puppeteer-core");
  const server = await serve({ "/deep/path/": installApp(), "/golden/": golden });
  let browser;
  try {
    browser = await launch({ browser: "firefox", executablePath: path, headless: true, extraPrefsFirefox: PREFERENCES });
    const page = await browser.newPage();
    await page.goto(`${server.origin}/deep/path/`);
    // waitForFunction is not possible: it evaluates a function in the page, which the page's policy forbids.
    while ((await page.evaluate(() => document.title)) !== "ready") await setTimeout(50);
    const info = await page.evaluate(() => minke.deviceInfo());
    if (!info.webgpu) return t.skip("WebGPU in Firefox: it finds no adapter");
    const { ids, greedy_ids } = JSON.parse(readFileSync(join(golden, "models/llama/golden.json"), "utf8")).prompts.short;
    for (const worker of [false, true]) {
      const got = await page.evaluate(async (ids, worker) => {
        const { model } = await open("/golden/models/llama/", { worker, internal: { f32: true } });
        const result = await greedy(model, ids, { maxOutputTokens: 8 });
        await close(model);
        return result.ids;
      }, ids, worker);
      assert.deepEqual(got, greedy_ids.slice(0, 8), `worker: ${worker}`);
    }
    const drawn = await page.evaluate(async ({ prompt, cases }) => {
      const { model } = await open("/golden/models/llama/", {});
      const drawn = [];
      for (const { options } of cases) drawn.push((await greedy(model, prompt, options)).ids);
      await close(model);
      return drawn;
    }, seeded);
    assert.deepEqual(drawn, seeded.cases.map((c) => c.ids), "a seed means the same tokens as natively");
  } finally {
    await browser?.close();
    await server.close();
  }
});
