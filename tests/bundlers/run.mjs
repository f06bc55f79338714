// Installs the packed package with each bundler, builds one application, and runs it in Chromium:
// `node tests/bundlers/run.mjs [NAME …] [--record]`, after a build. Every application must answer what the page without a bundler does.

import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { root, smollm } from "../browser/lib/app.mjs";
import { launch } from "../browser/lib/chromium.mjs";
import { serve } from "../browser/lib/server.mjs";
import { proxy } from "./proxy.mjs";
import { visit } from "./visit.mjs";

const here = dirname(fileURLToPath(import.meta.url));
/** Where an application is served that is not at the root of its site. */
const BASE = "/below/the/root/";

/**
 * How each application is made and served. `folder` has the bundler's configuration and versions; `build` is an npm script, whose
 * result is in `output`; `server` is one that answers at a port, instead of static files. `based`: built once more for `BASE`. `copied`: its
 * page is no part of the build; `classic`: nor are its scripts modules. `inline`: its pages have scripts in them.
 */
const APPLICATIONS = {
  "no bundler": {},
  "no bundler, package on another origin": { elsewhere: true },
  esbuild: { folder: "esbuild", build: "build", output: "dist", copied: true },
  "esbuild, classic scripts and files named": { folder: "esbuild", build: "build:classic", output: "dist", copied: true, classic: true },
  "Vite 8": { folder: "vite", build: "build", output: "dist" },
  "Vite 8, development": { folder: "vite", server: (port) => ["dev", "--port", port, "--strictPort"] },
  "Vite 7": { folder: "vite-7", build: "build", output: "dist" },
  "Vite 7, development": { folder: "vite-7", server: (port) => ["dev", "--port", port, "--strictPort"] },
  webpack: { folder: "webpack", build: "build", output: "dist", copied: true, classic: true },
  Rspack: { folder: "rspack", build: "build", output: "dist", copied: true, classic: true },
  Parcel: { folder: "parcel", build: "build", output: "dist" },
  "Next (Turbopack)": { folder: "next", build: "build", output: ".next/static", server: (port) => ["start", "--port", port], based: true, inline: true },
  "Next (webpack)": { folder: "next", build: "build:webpack", output: ".next/static", server: (port) => ["start", "--port", port], based: true, inline: true },
  "Next, development": { folder: "next", server: (port) => ["dev", "--port", port] },
};

const wanted = process.argv.slice(2).filter((word) => !word.startsWith("--")).map((word) => word.toLowerCase());
const chosen = Object.keys(APPLICATIONS).filter((name) => wanted.length === 0 || wanted.some((word) => name.toLowerCase().startsWith(word)));
if (wanted.length > 0 && chosen.length === 0) throw new Error(`no application begins with ${wanted.join(" or ")}: ${Object.keys(APPLICATIONS).join(", ")}`);

const record = process.argv.includes("--record");
if (record && wanted.length > 0) throw new Error("a record has all applications");

const scratch = mkdtempSync(join(tmpdir(), "minke-bundlers-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Runs npm; an error has what it printed. */
function npm(cwd, args, env = {}) {
  const said = { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1", PARCEL_WORKERS: "1", ...env } };
  try {
    return execFileSync("npm", [...args, "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"], said);
  } catch (error) {
    throw new Error(`npm ${args.join(" ")}: ${`${error.stdout}${error.stderr}`.trim().split("\n").slice(-25).join("\n")}`);
  }
}

npm(join(root, "pkg"), ["pack", "--ignore-scripts", "--pack-destination", scratch]);
const tarball = join(scratch, readdirSync(scratch).find((name) => name.endsWith(".tgz")));

const installed = new Map();
/** The folder of an application with the bundler and the package installed; those of one bundler share it. */
function install(folder = "none") {
  if (installed.has(folder)) return installed.get(folder);
  const app = join(scratch, folder);
  cpSync(join(here, "app"), app, { recursive: true });
  if (folder === "none") writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  else cpSync(join(here, folder), app, { recursive: true });
  if (folder !== "none") npm(app, ["ci", "--ignore-scripts"]);
  npm(app, ["install", "--ignore-scripts", "--no-save", "--no-package-lock", tarball]);
  installed.set(folder, app);
  return app;
}

/** Starts a server by an npm script, waits until it answers, and returns what ends it. */
async function started(app, args, env) {
  const child = spawn("npm", ["run", args[0], "--", ...args.slice(1).map(String)], { cwd: app, detached: true, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1", ...env } });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
  const stop = () => {
    try {
      process.kill(-child.pid, "SIGTERM");
    } catch {
      // It has ended.
    }
  };
  process.once("exit", stop);
  const port = args.at(args.indexOf("--port") + 1);
  for (let tries = 0; ; tries++) {
    const up = await fetch(`http://localhost:${port}${env.BASE_PATH ?? ""}/`).then(() => true, () => false);
    if (up) return stop;
    if (tries > 240 || child.exitCode !== null) throw new Error(`npm run ${args.join(" ")} does not answer: ${said.slice(-2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** Files of a build, without maps, and their compressed sizes. */
function sizes(folder) {
  const total = { files: 0, scripts: 0, wasm: 0 };
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const kind = { ".js": "scripts", ".wasm": "wasm" }[extname(entry.name)];
    if (!entry.isFile() || kind === undefined) continue;
    total.files++;
    total[kind] += gzipSync(readFileSync(join(entry.parentPath, entry.name)), { level: 9 }).length;
  }
  return total;
}

const PACKAGE = ["minke", "minke/ai-sdk", "minke/openai"];
/** The application's page with an import map, for applications without a bundler. */
function mapped(app, dist) {
  const imports = Object.fromEntries(PACKAGE.map((name) => [name, `${dist}/${name.split("/")[1] ?? "index"}.js`]));
  return readFileSync(join(app, "index.html"), "utf8").replace("<script", `<script type="importmap">${JSON.stringify({ imports })}</script>\n    <script`);
}

let nextPort = 20_000 + Math.floor(Math.random() * 20_000);

/** Builds an application and visits it, at the root of its site and, as strictly as it can be, below. */
async function run(name, browser, models) {
  const { folder, build, output, server, based, inline, copied, classic, elsewhere } = APPLICATIONS[name];
  const app = install(folder);
  const began = Date.now();
  const result = { name, visits: [] };
  const make = (env) => {
    if (build === undefined) return;
    for (const old of ["dist", ".next"]) rmSync(join(app, old), { recursive: true, force: true });
    npm(app, ["run", build], env);
    if (!copied) return;
    const page = readFileSync(join(app, "index.html"), "utf8");
    writeFileSync(join(app, output, "index.html"), classic ? page.replace('type="module"', "defer") : page);
  };
  make({});
  result.seconds = (Date.now() - began) / 1000;
  if (output) result.sizes = sizes(join(app, output));

  let cdn;
  if (elsewhere) {
    cdn = await serve({ "/npm/minke@0/": join(app, "node_modules/minke") });
    cdn.cors = true;
  }
  const visits = server && !build ? [{}] : [{}, { base: BASE, strict: true }];
  for (const { base = "/", strict = false } of visits) {
    let stop, front;
    if (server) {
      const env = base === "/" ? {} : { BASE_PATH: base.slice(0, -1) };
      if (base !== "/" && based) make(env);
      const port = nextPort++;
      stop = await started(app, server(port), env);
      front = await proxy(port);
    } else {
      const dist = cdn ? `${cdn.origin}/npm/minke@0/dist` : "./node_modules/minke/dist";
      const page = output ? undefined : { type: "text/html", body: mapped(app, dist) };
      front = await serve(page ? { [base]: app, [`${base}index.html`]: page } : { [base]: join(app, output) });
    }
    // Next redirects from its base path with a slash.
    const path = based && base !== "/" ? base.slice(0, -1) : output || server ? base : `${base}index.html`;
    try {
      result.visits.push(await visit({ browser, front, cdn, models, path, strict, inline }));
    } finally {
      await front.close();
      stop?.();
    }
  }
  await cdn?.close();
  return result;
}

const models = await serve({ "/smol.gguf": smollm });
models.cors = true;
const browser = await launch();
const results = [];
let expected, failed = 0;
for (const name of ["no bundler", ...chosen.filter((name) => name !== "no bundler")]) {
  try {
    const result = await run(name, browser, models);
    const problems = [];
    for (const { answers, faults, strict } of result.visits) {
      const { device, ...texts } = answers ?? {};
      expected ??= texts;
      if (JSON.stringify(texts) !== JSON.stringify(expected)) faults.push(`it answers ${JSON.stringify(texts)} instead of ${JSON.stringify(expected)}`);
      const threads = strict ? "CPU, 2 threads" : "CPU, 1 thread";
      if (answers && device !== threads) faults.push(`it runs on ${device} instead of ${threads}`);
      problems.push(...faults.map((fault) => `${strict ? "strict" : "plain"}: ${fault}`));
    }
    if (!/^\{"capital": ?"(Paris|Rome|Madrid)"\}$/.test(expected.constrained)) problems.push(`the schema does not bind ${expected.constrained}`);
    results.push({ ...result, problems });
  } catch (error) {
    results.push({ name, visits: [], problems: [error.stack] });
  }
  const { problems, seconds, visits } = results.at(-1);
  if (problems.length > 0) failed++;
  console.log(`${problems.length === 0 ? "ok    " : "FAILED"} ${name} (built in ${seconds?.toFixed(1)} s; answered after ${visits.map(({ seconds }) => `${seconds.toFixed(1)} s`).join(", ")})`);
  for (const problem of problems) console.log(`    ${problem}`);
}
await browser.close();
await models.close();
if (record && failed === 0) {
  const { report } = await import("./report.mjs");
  writeFileSync(join(root, "docs/evidence/bundlers.md"), report(results, expected, APPLICATIONS));
}
process.exit(failed === 0 ? 0 : 1);
