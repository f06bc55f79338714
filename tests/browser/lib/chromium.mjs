// Starts headless Chromium with WebGPU on its own software adapter.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PLACES = [process.env.MINKE_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
export const chromiumPath = PLACES.find((path) => path && existsSync(path));

const FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
  // Otherwise a crashed GPU process would disable WebGPU for later tests.
  "--disable-domain-blocking-for-3d-apis",
];

/** Starts a browser with a fresh profile; `args` are further flags. */
export function launch({ args = [], ...options } = {}) {
  return chromium.launch({ executablePath: chromiumPath, headless: true, args: [...FLAGS, ...args], ...options });
}

/** A temporary profile folder that exists until this process ends; a private window would keep files in memory. */
export function profile() {
  const folder = mkdtempSync(join(tmpdir(), "minke-profile-"));
  // The browser's processes end shortly after it.
  process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/**
 * Opens a page in a browser without a debugging connection: listening to network events, as Playwright does, makes
 * pages keep the bodies of responses, a hundred megabytes and more.
 */
export function launchAlone(folder, url) {
  const flags = [...FLAGS, "--headless", "--disable-dev-shm-usage", "--no-default-browser-check", "--password-store=basic", `--user-data-dir=${folder}`];
  const browser = spawn(chromiumPath, [...flags, url], { stdio: "ignore" });
  const ended = new Promise((resolve) => browser.once("exit", resolve));
  const kill = () => browser.kill();
  process.once("exit", kill);
  return {
    running: () => browser.exitCode === null && browser.signalCode === null,
    async close() {
      kill();
      await ended;
      process.off("exit", kill);
    },
  };
}
