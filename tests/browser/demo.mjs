// `cargo xtask demo`: serves the site with the demo model; with --prompt, asks a question in headless Chromium.

import { statSync } from "node:fs";
import { parseArgs } from "node:util";
import { site } from "./lib/app.mjs";
import { headersOf } from "./lib/headers.mjs";
import { serve } from "./lib/server.mjs";

const { values } = parseArgs({ options: { model: { type: "string" }, prompt: { type: "string" }, port: { type: "string" }, screenshot: { type: "string" } } });
const name = "SmolLM2-135M-Instruct.Q4_1.gguf";
const demo = { name: "SmolLM2 135M Instruct", file: `../model/${name}`, bytes: statSync(values.model).size };
const server = await serve({
  "/": site,
  ...Object.fromEntries(["page", "chat"].map((page) => [`/${page}/demo.json`, { type: "application/json", body: JSON.stringify(demo) }])),
  [`/model/${name}`]: values.model,
}, { port: Number(values.port ?? (values.prompt === undefined ? 8080 : 0)) }).catch((error) => {
  console.error(error.code === "EADDRINUSE" ? `the port is taken; choose another with --port` : error);
  process.exit(1);
});

// As a host would: isolated, so that models on the processor have several threads.
server.headers = headersOf(site, "/chat/index.html");

if (values.prompt === undefined) {
  console.log(`the chat: ${server.origin}/chat/?model=../model/${name}   (Ctrl+C ends it)`);
  console.log(`the site: ${server.origin}/   a demo: ${server.origin}/demos/hello/?model=../../model/${name}`);
} else {
  const failed = await ask(values.prompt).then(() => 0, (error) => (console.error(error.message), 1));
  await server.close();
  process.exit(failed);
}

/** Operates the plain page like a visitor. */
async function ask(prompt) {
  const { launch } = await import("./lib/chromium.mjs");
  const browser = await launch();
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error.message));
    await page.goto(`${server.origin}/page/`);
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
