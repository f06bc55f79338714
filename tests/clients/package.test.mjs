// The packed package, as publint and Are The Types Wrong judge it.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
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

/** What tsc says of a program that uses the packed package, whose own types it checks, too. */
function tsc(program, options) {
  // Inside this folder, so that the clients are found; the unpacked tarball is found before the package that is linked here.
  const at = join(here, "node_modules/.packed");
  rmSync(at, { recursive: true, force: true });
  mkdirSync(join(at, "node_modules"), { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, readdirSync(folder)[0]), "-C", at]);
  renameSync(join(at, "package"), join(at, "node_modules/minke"));
  writeFileSync(join(at, "package.json"), JSON.stringify({ type: "module" }));
  writeFileSync(join(at, "program.ts"), program);
  const compilerOptions = { strict: true, noEmit: true, target: "ES2022", lib: ["ES2022", "DOM", "DOM.Iterable"], types: [], skipLibCheck: false, ...options };
  writeFileSync(join(at, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
  const { stdout } = spawnSync(join(pkg, "node_modules/.bin/tsc"), ["--project", at], { encoding: "utf8" });
  rmSync(at, { recursive: true });
  return stdout;
}

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

const PROGRAM = `
import { load } from "minke";
import "minke/worker";
export async function answer(): Promise<string> {
  await using model = await load("org/repo", { device: "gpu" });
  const { text } = await model.generate("Hello", { maxOutputTokens: 8 });
  return text;
}
`;
const others = Object.keys(manifest.exports).filter((path) => !/^\.$|wasm$|json$|worker$/.test(path));
const ALL = PROGRAM + others.map((path, i) => `import * as others${i} from "${join("minke", path)}"; export { others${i} };\n`).join("");

for (const [module, moduleResolution] of [["ESNext", "Bundler"], ["Node16", "Node16"], ["NodeNext", "NodeNext"]]) {
  test(`a strict program compiles, moduleResolution ${moduleResolution}`, () => {
    assert.equal(tsc(PROGRAM, { module, moduleResolution }), "");
    assert.match(tsc(PROGRAM.replace('"gpu"', '"tpu"'), { module, moduleResolution }), /TS2322.*"tpu"/);
    // Clients' types need those of Node.
    assert.equal(tsc(ALL, { module, moduleResolution, types: ["node"] }), "");
  });
}
