// Opens the built chat, in the static site, below a sub-path and with the headers that the site asks hosts for.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { absent, shots, site, smollm } from "../../browser/lib/app.mjs";
import { chromiumPath, launch } from "../../browser/lib/chromium.mjs";
import { headersOf } from "../../browser/lib/headers.mjs";
import { serve } from "../../browser/lib/server.mjs";

export { assert, shots, site, smollm };
export const skip = chromiumPath ? absent(site) : "Chromium: it is not installed";
export const noSmol = skip || absent(smollm);

const BASE = "/some/where/";
/** A name of this machine that browsers do not trust as they trust localhost. */
const ELSEWHERE = "minke.test";
const axe = readFileSync(createRequire(join(import.meta.dirname, "../../browser/package.json")).resolve("axe-core/axe.min.js"), "utf8");

/** Starts a server with the site and a browser; `mounts` are further files of the server, by path below the site. */
export async function startApp(mounts = {}) {
  const more = Object.fromEntries(Object.entries(mounts).map(([path, file]) => [BASE + path, file]));
  const server = await serve({ [BASE]: site, ...more });
  server.headers = (path) => headersOf(site, path.slice(BASE.length - 1));
  const browser = await launch({ args: [`--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`] });
  return {
    server,
    browser,
    /** A fresh profile; its pages share what they store. */
    async visitor({ width = 1000, height = 760, locale = "en-GB", ...options } = {}) {
      const context = await browser.newContext({ viewport: { width, height }, locale, colorScheme: "light", ...options });
      await context.grantPermissions(["clipboard-read", "clipboard-write"]);
      return {
        context,
        /** Opens the chat. `script`: a function that the echo model answers by; `query`: the address's. `expect`: problems that are none.
         *  `insecure`: from an address that is neither https: nor localhost. */
        async open({ query = "?model=echo", script, hash = "", expect = [], insecure = false } = {}) {
          const page = await context.newPage();
          const problems = [];
          const note = (text) => expect.some((known) => known.test(text)) || problems.push(text);
          page.on("pageerror", (error) => note(`${error.message}\n${error.stack}`));
          page.on("console", (message) => ["error", "warning"].includes(message.type()) && note(message.text()));
          page.on("response", (response) => response.status() >= 400 && note(`${response.url()}: ${response.status()}`));
          await page.addInitScript(() => {
            globalThis.violations = [];
            document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(`${event.effectiveDirective} ${event.blockedURI}`));
          });
          if (script) await page.addInitScript(`globalThis.echoScript = ${script}`);
          const origin = insecure ? `http://${ELSEWHERE}:${server.port}` : server.origin;
          await page.goto(`${origin}${BASE}chat/${query}${hash}`);
          await page.waitForSelector("main");
          /** Nothing went wrong since the page was opened, and nothing was refused. */
          page.fine = async () => {
            assert.deepEqual(problems, []);
            assert.deepEqual(await page.evaluate(() => globalThis.violations), []);
          };
          return page;
        },
        close: () => context.close(),
      };
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

/** axe-core finds nothing, in light and dark; pictures of both; and nothing is wider than a phone. */
export async function looksWell(page, name) {
  for (const [colorScheme, width, height] of [["light", 1000, 760], ["dark", 360, 740]]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(100);
    await page.screenshot({ path: join(shots, `chat-${name}-${colorScheme}.png`) });
    const found = await page.evaluate(`${axe}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html, failureSummary }) => html.slice(0, 300) + " " + failureSummary).join(" ")))`);
    assert.deepEqual(found, [], `${name}, ${colorScheme}`);
    const { scrollWidth, scrollHeight } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, scrollHeight: document.documentElement.scrollHeight }));
    assert.ok(scrollWidth <= width && scrollHeight <= height, `${name} needs no scrolling of the whole page at ${width}: ${scrollWidth} × ${scrollHeight}`);
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
  await page.setViewportSize({ width: 1000, height: 760 });
}

/** Writes a message and waits for its answer to end. */
export async function say(page, text) {
  await page.fill("#message", text);
  await page.press("#message", "Enter");
  await answered(page);
}

/** Waits until no answer is being written, and the last one is there, rendered. */
export async function answered(page) {
  await page.waitForFunction(() => document.querySelector(".message.live, .unrendered") === null && [...document.querySelectorAll(".message")].at(-1)?.matches(".assistant"), null, { timeout: 60_000 });
}

export const texts = (page, selector) => page.locator(selector).allInnerTexts();
/** A button of a menu that the button with a label opens. */
export async function choose(page, menu, item) {
  await menu.click();
  await page.getByRole("menuitem", { name: item }).or(page.getByRole("menuitemcheckbox", { name: item })).locator("visible=true").click();
}
