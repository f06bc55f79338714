// Builds the chat as static files that work below any address.

import { createHash } from "node:crypto";
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Files that the page works without when it is offline: each is fetched when it is first needed, and kept from then on. */
const LATER = /constraint|pdf|auto-|\.map$/;

/**
 * Tells the service worker which files make up the application. Its own name has no digest, so that browsers find the next version
 * of it; the list has, so that its text changes with any file.
 */
function offline() {
  return {
    name: "offline",
    apply: "build",
    // After the worker's and the engine's files have their names.
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const worker = bundle["sw.js"];
        const files = Object.keys(bundle).filter((name) => name !== "sw.js" && !LATER.test(name));
        const all = ["./", "catalogue.json", "favicon.svg", "manifest.webmanifest", ...files.filter((name) => name !== "index.html")];
        const hash = createHash("sha256");
        for (const name of Object.keys(bundle).sort()) hash.update(name).update(bundle[name].code ?? bundle[name].source);
        worker.code = worker.code
          .replace(/(["'`])__FILES__\1/, JSON.stringify(all.sort()))
          .replace(/(["'`])__VERSION__\1/, JSON.stringify(hash.digest("hex").slice(0, 12)));
      },
    },
  };
}

/** The icon is the site's. */
const icon = {
  name: "icon",
  apply: "build",
  writeBundle: ({ dir }) => copyFileSync(path("../favicon.svg"), `${dir}/favicon.svg`),
};

/** The licences of what is built in, but for the engine's, which `cargo xtask site` adds. */
const licences = {
  name: "licences",
  apply: "build",
  writeBundle({ dir }) {
    const names = new Set();
    for (const file of this.getModuleIds()) {
      const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/.exec(file);
      if (found) names.add(found[1]);
    }
    const texts = [...names].sort().map((name) => {
      const folder = path(`node_modules/${name}`);
      const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
      const file = readdirSync(folder).find((file) => /^licen[sc]e(\.\w+)?$/i.test(file));
      return `# ${name} ${version}: ${license}\n\n${file === undefined ? "" : readFileSync(`${folder}/${file}`, "utf8")}`;
    });
    writeFileSync(`${dir}/THIRD-PARTY.txt`, texts.join("\n\n"));
  },
};

/** While the sources are served as they are, styles come from scripts; what is built allows none of that. */
const relaxed = {
  name: "relaxed",
  apply: "serve",
  transformIndexHtml: (html) => html.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'"),
};

export default defineConfig({
  base: "./",
  plugins: [offline(), icon, licences, relaxed],
  // Its worker and its wasm are found by their place beside its script.
  optimizeDeps: { exclude: ["minke"] },
  worker: { format: "es" },
  server: { fs: { allow: [path("."), path("../../pkg")] } },
  build: {
    target: "es2023",
    // Nothing becomes a data: URL, which the page's policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: path("index.html"), sw: path("src/pwa/sw.ts") },
      output: { entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
});
