// Headless Chromium with WebGPU on its own software adapter.

import { existsSync } from "node:fs";
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
