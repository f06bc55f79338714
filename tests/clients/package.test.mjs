// The packed package, as publint and Are The Types Wrong judge it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const here = dirname(fileURLToPath(import.meta.url));
const pkg = join(here, "../../pkg");
const manifest = JSON.parse(readFileSync(join(pkg, "package.json"), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "minke-"));
let tarball;

before(() => {
  execFileSync("npm", ["pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", folder], { cwd: pkg });
  tarball = readFileSync(join(folder, readdirSync(folder)[0]));
});
after(() => rmSync(folder, { recursive: true }));

test("publint has nothing to say", async () => {
  const { buffer, byteOffset, byteLength } = tarball;
  const { messages } = await publint({ pack: { tarball: buffer.slice(byteOffset, byteOffset + byteLength) }, level: "suggestion", strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, manifest)), []);
});

test("an application's worker that imports the package's keeps it, where what is imported for nothing is left out", async () => {
  const { build } = createRequire(join(pkg, "package.json"))("esbuild");
  const bundled = async (contents) => {
    const { outputFiles } = await build({ stdin: { contents, resolveDir: here }, bundle: true, write: false, format: "esm", logLevel: "silent" });
    return outputFiles[0].text;
  };
  assert.match(await bundled('import "minke/worker";'), /addEventListener\("message"/);
  assert.equal((await bundled('import "minke";')).trim(), "");
});

test("types resolve in every mode that reads ES modules", async () => {
  // An import of WebAssembly is what a bundler makes of it: an address, bytes or the module's exports. No type would be right for all.
  const typeless = Object.keys(manifest.exports).filter((path) => path.endsWith(".wasm"));
  const { problems, entrypoints } = await checkPackage(createPackageFromTarballData(tarball), { excludeEntrypoints: typeless });
  assert.deepEqual(Object.keys(entrypoints).sort(), Object.keys(manifest.exports).filter((path) => !typeless.includes(path)).sort());
  // The package has ES modules only: CommonJS reaches it by `import()`, and the resolution of TypeScript before 4.7 knows no `exports`.
  const expected = ({ kind, resolutionKind }) => kind === "CJSResolvesToESM" || resolutionKind === "node10";
  assert.deepEqual(problems.filter((problem) => !expected(problem)), []);
  assert.ok(entrypoints["./worker"].resolutions.bundler.resolution.fileName.endsWith("/dist/worker.d.ts"));
});
