// docs/evidence/bundlers.md: what `run.mjs --record` found.

import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { root } from "../browser/lib/app.mjs";
import { chromiumPath } from "../browser/lib/chromium.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const kilo = (bytes) => (bytes / 1000).toFixed(1);

/** The pinned versions of a bundler's folder. */
function versions(folder) {
  if (folder === undefined) return "";
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
  return Object.entries({ ...dependencies, ...devDependencies }).map(([name, version]) => `${name} ${version}`).join(", ");
}

export function report(results, expected, applications) {
  const chromium = execFileSync(chromiumPath, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  const rows = results.map(({ name, visits, sizes, seconds }) => {
    const { folder, build } = applications[name];
    const [plain, strict] = [visits.find(({ strict }) => !strict), visits.find(({ strict }) => strict)];
    const said = (visit) => (visit ? "same text" : "–");
    const size = sizes ? [sizes.files, kilo(sizes.scripts), kilo(sizes.wasm)] : ["–", "–", "–"];
    return `| ${[name, versions(folder), said(plain), said(strict), build ? seconds.toFixed(1) : "–", ...size].join(" | ")} |`;
  });
  const dist = join(root, "pkg/dist");
  const files = readdirSync(dist).filter((name) => /\.(js|wasm)$/.test(name)).map((name) => {
    const bytes = readFileSync(join(dist, name));
    return `| ${[name, bytes.length, gzipSync(bytes, { level: 9 }).length].join(" | ")} |`;
  });
  return `# The package in bundlers

Written by \`cargo xtask soak bundlers --record\`; do not edit. ${chromium}, SmolLM2-135M-Instruct (Q4_1) on the processor.

Each application installs the packed tarball, is built with the bundler's configuration in \`tests/bundlers/\`, and runs in Chromium. It generates text by a seed, answers within
a JSON schema, and answers through \`minke/openai\` and \`minke/ai-sdk\`. "Same text": the four answers are those of the page without a bundler, no request
failed (but for those to the model's server that the engine cancels when it has read enough), the console has no error, and nothing was fetched twice, neither one address nor the same bytes under two. The plain visit is at the root of a site, with one thread. The strict one is
below the root (\`/below/the/root/\`), with the content security policy of the guide and cross-origin isolation, with two threads. Next's own pages have inline scripts and styles, which
its policy allows in addition.

| application | versions | plain | strict | build, s | files | scripts, kB gzip | wasm, kB gzip |
|---|---|---|---|---|---|---|---|
${rows.join("\n")}

Scripts and wasm are everything that a build emits, whether a page loads it or not: Next's contain its framework.

The answers: ${Object.entries(expected).map(([name, text]) => `${name} ${JSON.stringify(text)}`).join("; ")}.

## The files of the package

| file | bytes | gzip |
|---|---|---|
${files.join("\n")}
`;
}
