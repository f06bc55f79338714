// `cargo xtask demo`: serves the page with the demo model; with --prompt, asks a question in headless Chromium.

import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { serve } from "./lib/server.mjs";

const { values } = parseArgs({ options: { model: { type: "string" }, prompt: { type: "string" }, port: { type: "string" }, screenshot: { type: "string" } } });
const demo = { name: "SmolLM2 135M Instruct", file: "models/SmolLM2-135M-Instruct.Q4_1.gguf", bytes: statSync(values.model).size };
const server = await serve({
  "/": fileURLToPath(new URL("../../www/dist", import.meta.url)),
  "/demo.json": { type: "application/json", body: JSON.stringify(demo) },
  [`/${demo.file}`]: values.model,
}, { port: Number(values.port ?? (values.prompt === undefined ? 8080 : 0)) }).catch((error) => {
  console.error(error.code === "EADDRINUSE" ? `the port is taken; choose another with --port` : error);
  process.exit(1);
});

// Isolated, so that models on the processor have several threads.
server.headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

if (values.prompt === undefined) {
  console.log(`the chat page: ${server.origin}/   (Ctrl+C ends it)`);
} else {
  const failed = await ask(values.prompt).then(() => 0, (error) => (console.error(error.message), 1));
  await server.close();
  process.exit(failed);
}

/** Operates the page like a visitor. */
async function ask(prompt) {
  const { launch } = await import("./lib/chromium.mjs");
  const browser = await launch();
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error.message));
    await page.goto(server.origin);
    await page.click("#demo");
    await page.waitForSelector("body[data-state=ready], #notice:not([hidden])", { timeout: 180_000 });
    if (await page.isVisible("#notice")) throw new Error(await page.innerText("#notice"));
    await page.click("#settings summary");
    await page.fill("#temperature", "0");
    await page.fill("#prompt", prompt);
    await page.press("#prompt", "Enter");
    await page.waitForSelector("body[data-state=answering]");
    await page.waitForSelector("body[data-state=ready]", { timeout: 300_000 });
    if (values.screenshot !== undefined) await page.screenshot({ path: values.screenshot });
    const error = page.locator(".message.error");
    if (await error.count()) throw new Error(await error.first().innerText());
    console.log(await page.locator(".message.assistant .text").last().innerText());
    console.log(`(${await page.locator(".message.assistant footer").last().innerText()})`);
  } finally {
    await browser.close();
  }
}
