// Opens an application in the browser and returns its answers, with whatever went wrong beside them.

import { createHash } from "node:crypto";

/** Files below this size may be equal by chance, as two empty modules are. */
const SMALL = 1024;
const PATIENCE_MS = 60_000;

/**
 * `front` serves the application and `cdn` the package, if that is elsewhere. `strict`: with a content security policy that allows no more than the guide names, and isolated, so that
 * the engine has two threads; `inline`: the bundler's pages need scripts in them.
 */
export async function visit({ browser, front, cdn, models, path, strict, inline }) {
  const faults = [];
  const address = `${front.origin}${path}`;
  // As servers have it in production: a file that is asked for twice comes from the browser's cache.
  const kept = { "cache-control": "public, max-age=600" };
  const html = await (await fetch(address)).text();
  const isolation = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
  const headers = strict ? { ...isolation, "content-security-policy": policy(html, { cdn, models, inline }) } : {};
  front.headers = { ...kept, ...headers };
  if (cdn) cdn.headers = { ...kept, "cross-origin-embedder-policy": "require-corp" };
  for (const server of [front, cdn]) server?.requests.splice(0);

  const context = await browser.newContext();
  const page = await context.newPage();
  const seen = (event, what) => page.on(event, (of) => faults.push(`${event}: ${what(of)}`));
  seen("pageerror", (error) => error.message);
  page.on("requestfailed", (request) => {
    // The engine cancels answers of the model's server when it has what it needs of them.
    const { errorText } = request.failure() ?? {};
    if (errorText !== "net::ERR_ABORTED" || !request.url().includes("/smol.gguf")) faults.push(`failed: ${request.url()} ${errorText}`);
  });
  page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
  page.on("response", (response) => response.status() >= 400 && faults.push(`${response.status()} ${response.url()}`));
  const began = Date.now();
  let outcome;
  try {
    await page.goto(`${address}?${new URLSearchParams({ model: `${models.origin}/smol.gguf`, threads: strict ? 2 : 1 })}`);
    await page.waitForFunction(() => window.outcome, undefined, { timeout: PATIENCE_MS });
    outcome = await page.evaluate(() => window.outcome);
    if (outcome.error) faults.push(outcome.error);
  } catch (error) {
    faults.push(error.message);
  }
  const seconds = (Date.now() - began) / 1000;
  await context.close();
  const modules = [front, cdn].flatMap((server) => server?.requests ?? []).filter(({ path }) => path.includes(".wasm"));
  if (modules.length !== 3) faults.push(`it fetched ${modules.length} of 3 modules: ${modules.map(({ path }) => path).join(", ")}`);
  for (const server of [front, cdn]) if (server) faults.push(...(await twice(server)));
  return { answers: outcome?.answers, faults, seconds, strict };
}

/** The strictest policy with which the package works (docs/guide/content-security-policy.md), and what the page itself needs. */
function policy(html, { cdn, models, inline }) {
  const hashes = [...html.matchAll(/<script type="?importmap"?>(.*?)<\/script>/gs)].map(([, text]) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`);
  const scripts = ["'self'", "'wasm-unsafe-eval'", cdn?.origin, ...(inline ? ["'unsafe-inline'"] : hashes)];
  const list = (words) => words.filter(Boolean).join(" ");
  return [
    "default-src 'none'", `script-src ${list(scripts)}`, `worker-src ${list(["'self'", ...(cdn ? ["blob:", cdn.origin] : [])])}`,
    `connect-src ${list(["'self'", models.origin, cdn?.origin])}`, "img-src data:", ...(inline ? ["style-src 'self' 'unsafe-inline'"] : []),
  ].join("; ");
}

/** What a server was asked for twice: the same address, or the same bytes under two. */
async function twice(server) {
  const faults = [];
  const contents = new Map();
  const paths = server.requests.filter(({ method }) => method === "GET").map(({ path, query }) => path + query);
  for (const path of new Set(paths)) {
    const count = paths.filter((other) => other === path).length;
    if (count > 1) faults.push(`${path} was asked for ${count} times`);
    const response = await fetch(server.origin + path);
    if (!response.ok) faults.push(`${path}: ${response.status}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    const digest = createHash("sha256").update(bytes).digest("hex");
    if (bytes.length > SMALL && contents.has(digest)) faults.push(`${path} is ${contents.get(digest)} once more`);
    contents.set(digest, path);
  }
  return faults;
}
