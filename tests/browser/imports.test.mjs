// Tests how the files of the package import each other, from their text: imports of types count, too.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../pkg/src", import.meta.url));

/** Files and folders of `pkg/src`, the highest first: each imports only those after it. A folder counts with all its files. */
const LAYERS = [
  // Sub-paths of the package, and what they stand on.
  "ai-sdk", "langchain", "prompt-api", "webllm", "openai", "openai-api", "testing", "echo",
  // The package's functions and objects, on the page.
  "index.ts", "store.ts", "load.ts", "device.ts", "model.ts", "session.ts", "generation.ts",
  // Messages between the page and the engine, in a worker or on the same thread.
  "connection.ts", "engine.ts", "worker.ts", "serve.ts",
  // The engine's side: models and their calls.
  "host",
  "protocol.ts",
  // Workers on the processor.
  "processor",
  // Reading a model's files, and keeping them on the device.
  "sources", "storage",
  // What all of them share.
  "locate.ts", "local.ts", "options.ts", "constraint.ts", "tools.ts", "checks.ts", "turns.ts", "schema.ts", "wasm.ts", "types.ts", "errors.ts",
];

/** What a sub-path imports of the client that it is for. */
const CLIENTS = { "ai-sdk": /^@ai-sdk\/provider$/, langchain: /^@langchain\/core\// };

const MOST_LINES = 300;

/** The imports of each file, as paths below `pkg/src`. */
const files = new Map();
const texts = new Map();

before(async () => {
  for (const entry of await readdir(ROOT, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const name = relative(ROOT, path);
    const text = await readFile(path, "utf8");
    texts.set(name, text);
    const code = text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
    const imports = [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g)].map(([, target]) => target);
    // The table of options, which the engine reads, too.
    const sources = imports.filter((target) => target !== "../../src/engine/options.json" && !CLIENTS[layer(name)]?.test(target));
    files.set(name, sources.map((target) => {
      assert.match(target, /^\.{1,2}\/.*\.js$/, `${name}: the package has no dependencies`);
      return relative(ROOT, join(dirname(path), target)).replace(/\.js$/, ".ts");
    }));
  }
  assert.ok(files.get("load.ts").includes("storage/index.ts") && files.get("connection.ts").includes("engine.ts"), "imports are found");
});

const layer = (name) => name.split("/")[0];

test("every file has its layer, and imports lower ones only", () => {
  assert.deepEqual([...new Set([...files.keys()].map(layer))].sort(), [...LAYERS].sort());
  for (const [name, imports] of files) {
    for (const target of imports) {
      if (target.startsWith("../wasm/")) {
        const place = { "../wasm/minke.ts": "host/instance.ts", "../wasm/minke_cpu.ts": "processor/serve.ts", "../wasm/minke_constraint.ts": "host/constraints.ts" }[target];
        assert.equal(name, place, "the glue of each module is instantiated in one place");
        continue;
      }
      const [from, to] = [layer(name), layer(target)];
      assert.ok(files.has(target), `${name} imports ${target}`);
      assert.ok(from === to || LAYERS.indexOf(from) < LAYERS.indexOf(to), `${name} imports ${target}, which is above it`);
      assert.ok(from === to || !target.includes("/") || target.endsWith("/index.ts"), `${name} imports ${target}, and not its folder's index.ts`);
    }
  }
});

test("no file leads back to itself", () => {
  const done = new Set();
  const visit = (name, path) => {
    assert.ok(!path.includes(name), [...path, name].join(" → "));
    if (done.has(name)) return;
    for (const target of files.get(name) ?? []) visit(target, [...path, name]);
    done.add(name);
  };
  for (const name of files.keys()) visit(name, []);
});

test("files are short", () => {
  for (const [name, text] of texts) {
    if (name === "types.ts") continue; // the public API in one file
    assert.ok(text.split("\n").length - 1 <= MOST_LINES, `${name} has more than ${MOST_LINES} lines`);
  }
});
