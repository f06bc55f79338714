// One application of a bundler, built and run; `cargo xtask soak bundlers` has all. The guide shows the configurations that are tested.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";
import { absent, smollm } from "../browser/lib/app.mjs";
import { chromiumPath } from "../browser/lib/chromium.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const skip = chromiumPath ? absent(smollm) : "Chromium: it is not installed";

test("esbuild's applications answer as the page without a bundler does", { skip, timeout: 180_000 }, async () => {
  const { stdout } = await promisify(execFile)("node", [join(root, "tests/bundlers/run.mjs"), "esbuild"]).catch((error) => assert.fail(`${error.stdout}${error.stderr}`));
  assert.equal(stdout.match(/^ok/gm)?.length, 3, stdout);
});

test("the guide's configurations are those of the tests", () => {
  const guide = readFileSync(join(root, "docs/guide/bundlers.md"), "utf8");
  const named = [...guide.matchAll(/^```\w+\n(?:\/\/|#) (\S+\/\S+)\n(.*?)^```$/gms)];
  assert.deepEqual(named.map(([, file]) => file), ["vite-7/vite.config.js", "webpack/webpack.config.js", "parcel/package.json", "next/app/page.js", "esbuild/package.json", "esbuild/named.js"]);
  for (const [, file, code] of named) {
    const tested = readFileSync(join(root, "tests/bundlers", file), "utf8");
    // The script of a manifest, or a part of a file, or all of it.
    const text = file.startsWith("esbuild/package") ? JSON.parse(tested).scripts.build : tested;
    if (file.endsWith("package.json") || file.endsWith("named.js")) assert.ok(text.includes(code.trim()), file);
    else assert.equal(text, code, file);
  }
  const read = (file) => readFileSync(join(root, "tests/bundlers", file), "utf8");
  assert.equal(read("rspack/rspack.config.js"), read("webpack/webpack.config.js"));
});
