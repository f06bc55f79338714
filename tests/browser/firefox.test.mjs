// A smoke test in a second browser: Firefox, on the processor and on the system's Vulkan driver.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { absent, golden, installApp, seeded } from "./lib/app.mjs";
import { serve } from "./lib/server.mjs";

const path = [process.env.MINKE_FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"].find((p) => p && existsSync(p));
const PREFERENCES = { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true, "dom.webgpu.workers.enabled": true };

const skip = (!path && "Firefox: it is not installed") || absent(golden);

/** Opens the application in Firefox; `use` receives its page and a check of the golden answer with some load options. */
async function inFirefox(use) {
  const { launch } = await import("puppeteer-core");
  const server = await serve({ "/deep/path/": installApp(), "/golden/": golden });
  let browser;
  try {
    browser = await launch({ browser: "firefox", executablePath: path, headless: true, extraPrefsFirefox: PREFERENCES });
    const page = await browser.newPage();
    await page.goto(`${server.origin}/deep/path/`);
    // waitForFunction is not possible: it evaluates a function in the page, which the page's policy forbids.
    while ((await page.evaluate(() => document.title)) !== "ready") await setTimeout(50);
    const { ids, greedy_ids } = JSON.parse(readFileSync(join(golden, "models/llama/golden.json"), "utf8")).prompts.short;
    await use(page, async (options) => {
      const got = await page.evaluate(async (ids, options) => {
        const { model } = await open("/golden/models/llama/", options);
        const result = await greedy(model, ids, { maxOutputTokens: 8 });
        await close(model);
        return result.ids;
      }, ids, options);
      assert.deepEqual(got, greedy_ids.slice(0, 8), JSON.stringify(options));
    });
  } finally {
    await browser?.close();
    await server.close();
  }
}

test("Firefox generates on the processor", { skip, timeout: 180_000 }, () => inFirefox(async (_, answers) => {
  for (const worker of [false, true]) await answers({ worker });
}));

test("Firefox generates with WebGPU", { skip, timeout: 180_000 }, (t) => inFirefox(async (page, answers) => {
  const info = await page.evaluate(() => minke.deviceInfo());
  if (!info.webgpu) return t.skip("WebGPU in Firefox: it finds no adapter");
  for (const worker of [false, true]) await answers({ device: "gpu", worker, internal: { f32: true } });
  const drawn = await page.evaluate(async ({ prompt, cases }) => {
    const { model } = await open("/golden/models/llama/", { device: "gpu" });
    const drawn = [];
    for (const { options } of cases) drawn.push((await greedy(model, prompt, options)).ids);
    await close(model);
    return drawn;
  }, seeded);
  assert.deepEqual(drawn, seeded.cases.map((c) => c.ids), "a seed means the same tokens as natively");
}));
