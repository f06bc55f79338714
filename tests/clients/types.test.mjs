// The code of the guides passes `tsc --strict` beside the clients' own types, and runs on the echo model.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
/** Inside this folder, so that the clients are found. */
const out = join(here, "node_modules/.guides");
const run = promisify(execFile);

/** The programs: the code of a guide, from its first line to its last. */
const GUIDES = ["testing", "openai", "webllm", "ai-sdk", "langchain", "prompt-api"];
const program = async (name) => [...(await readFile(join(root, `docs/guide/${name}.md`), "utf8")).matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code).join("\n");

before(async () => {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "package.json"), JSON.stringify({ type: "module" }));
  for (const name of GUIDES) {
    const code = await program(name);
    await writeFile(join(out, `${name}.ts`), code);
    // Models that would be fetched are echo models.
    const local = code.replace(/import \{ load \} from "minke";/, 'import { echoModel } from "minke/testing"; const load = async () => echoModel(MODEL);')
      .replace('CreateMLCEngine("SmolLM2-135M-Instruct"', "CreateMLCEngine(echoModel()").replace('install({ model: "HuggingFaceTB/SmolLM2-360M-Instruct"', "install({ model: echoModel(MODEL)");
    const model = '{ script: ({ text, options, messages }) => options.responseConstraint ? \'{"city":"Bergen","days":3}\' : options.tools && messages.at(-1).role === "user" ? { toolCalls: [{ toolName: "weather", input: { city: "Bergen" } }] } : text }';
    await writeFile(join(out, `${name}.mjs`), (["webllm", "prompt-api"].includes(name) ? 'import { echoModel } from "minke/testing";\n' : "") + local.replace("MODEL", model).replace(", { context_window_size: 2048 }", ""));
  }
});

/** What tsc says of some programs. */
async function tsc(name, files, types) {
  const compilerOptions = { strict: true, noEmit: true, target: "ES2022", module: "NodeNext", lib: ["ES2023", "ESNext.Disposable", "DOM", "DOM.Iterable", "DOM.AsyncIterable"], types, skipLibCheck: false };
  await writeFile(join(out, `${name}.json`), JSON.stringify({ compilerOptions, files }));
  return (await run(join(root, "pkg/node_modules/.bin/tsc"), ["--project", join(out, `${name}.json`)]).catch((error) => error)).stdout;
}

test("types", { timeout: 120_000 }, async () => {
  await writeFile(join(out, "worker.ts"), 'import "minke/worker";\n');
  const others = GUIDES.filter((name) => name !== "ai-sdk");
  assert.equal(await tsc("tsconfig", [...others.map((name) => `${name}.ts`), "worker.ts"], []), "");
  // The types of `ai` need those of Node.
  assert.equal(await tsc("tsconfig.ai", ["ai-sdk.ts"], ["node"]), "");
});

describe("the guides' code runs", () => {
  const expected = {
    testing: ["Why is the sea salty? 22", "Because rivers carry minerals into it.", "The user wants to know more.", "device-lost", 'Answer 1 to "Hello", after 1 messages.'],
    openai: ["W", "smollm", "large", "Bergen", "What is the weather in Bergen?", "Why is the sea salty? And rivers?"],
    "ai-sdk": ["W", "What is the weather in Bergen? sunny in Bergen", "Bergen 3"],
    langchain: ["W", "name: 'weather'", "Bergen 3"],
    "prompt-api": ["W", "Bergen 3", "What is the weather in Bergen?"],
    webllm: ["List three US states. {", "Tell me more.", "mine"],
  };
  for (const name of GUIDES) {
    test(name, async () => {
      const { stdout } = await run("node", [join(out, `${name}.mjs`)]);
      for (const text of expected[name]) assert.ok(stdout.includes(text), `${JSON.stringify(text)} is not in\n${stdout}`);
    });
  }
});
