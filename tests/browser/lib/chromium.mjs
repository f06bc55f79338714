// Headless Chromium with WebGPU on its own software adapter.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PLACES = [process.env.MINKE_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
export const chromiumPath = PLACES.find((path) => path && existsSync(path));

const FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
  // A crashed GPU process would otherwise take WebGPU away from the tests that follow.
  "--disable-domain-blocking-for-3d-apis",
];

/** Starts a browser with a fresh profile. */
export function launch(options = {}) {
  return chromium.launch({ executablePath: chromiumPath, headless: true, args: FLAGS, ...options });
}

/** Starts a browser whose files are kept on disk, as a visitor's are, until this process ends: a private window keeps them in memory. */
export async function launchKept(options = {}) {
  const profile = mkdtempSync(join(tmpdir(), "minke-profile-"));
  const context = await chromium.launchPersistentContext(profile, { executablePath: chromiumPath, headless: true, args: FLAGS, ...options });
  // Its processes end a moment after it.
  process.on("exit", () => rmSync(profile, { recursive: true, force: true, maxRetries: 5 }));
  return context;
}
