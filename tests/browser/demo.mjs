// `cargo xtask demo`: serves the site with the demo model; with --prompt, asks a question in headless Chromium.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { site } from "./lib/app.mjs";
import { headersOf } from "./lib/headers.mjs";
import { serve } from "./lib/server.mjs";

const { values } = parseArgs({ options: { model: { type: "string" }, prompt: { type: "string" }, port: { type: "string" }, screenshot: { type: "string" } } });
const name = "SmolLM2-135M-Instruct.Q4_1.gguf";
/** The chat's catalogue, with the demo's model in front. */
const catalogue = JSON.parse(readFileSync(join(site, "chat/catalogue.json"), "utf8"));
catalogue.models.unshift({
  name: "SmolLM2 135M Instruct",
  url: `../model/${name}`,
  bytes: statSync(values.model).size,
  parameters: "135M",
  licence: "Apache-2.0",
  about: { en: "Very small: it answers fast, and is often wrong.", fr: "Très petit : il répond vite, et se trompe souvent." },
});
const server = await serve({
  "/": site,
  "/chat/catalogue.json": { type: "application/json", body: JSON.stringify(catalogue) },
  [`/model/${name}`]: values.model,
}, { port: Number(values.port ?? (values.prompt === undefined ? 8080 : 0)) }).catch((error) => {
  console.error(error.code === "EADDRINUSE" ? `the port is taken; choose another with --port` : error);
  process.exit(1);
});

// As a host would: isolated, so that models on the processor have several threads.
server.headers = (path) => headersOf(site, path);

if (values.prompt === undefined) {
  console.log(`the chat: ${server.origin}/chat/?model=../model/${name}   (Ctrl+C ends it)`);
  console.log(`the site: ${server.origin}/   a demo: ${server.origin}/demos/hello/?model=../../model/${name}`);
} else {
  const failed = await ask(values.prompt).then(() => 0, (error) => (console.error(error.message), 1));
  await server.close();
  process.exit(failed);
}

/** Uses the chat like a visitor. */
async function ask(prompt) {
  const { launch } = await import("./lib/chromium.mjs");
  const browser = await launch();
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error.message));
    await page.goto(`${server.origin}/chat/?model=../model/${name}&lang=en`);
    await page.fill("#message", prompt);
    await page.press("#message", "Enter");
    await page.waitForSelector(".message.assistant:not(.live)", { timeout: 480_000 });
    if (values.screenshot !== undefined) await page.screenshot({ path: values.screenshot });
    const error = page.locator(".ending.alarm");
    if (await error.count()) throw new Error(await error.first().textContent());
    console.log(await page.locator(".message.assistant .md").last().innerText());
    console.log(`(${await page.locator(".message.assistant .stats").last().innerText()})`);
  } finally {
    await browser.close();
  }
}
