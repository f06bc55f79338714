// The options that are accepted and refused, against the cases that the engine is tested with, too, and the options and error
// codes that the package declares, against those that exist.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { WASM } from "./fake-engine.mjs";
import { buildFake } from "./lib/fake-package.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path) => readFile(join(root, path), "utf8");
const json = async (path) => JSON.parse(await read(path));

const { cases } = await json("tests/options.json");
const table = await json("src/engine/options.json");
let minke, model;

before(async () => {
  minke = await import(join(await buildFake(), "index.js"));
  model = await minke.load(new Blob(["a model"]), { worker: false, wasm: WASM });
});

const NUMBERS = { NaN, Infinity, "-Infinity": -Infinity };
/** A value of the fixture, in which texts stand for the numbers that JSON lacks. */
const given = (value) =>
  Array.isArray(value) ? value.map(given)
  : typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value).map(([key, value]) => [key, given(value)]))
  : Object.hasOwn(NUMBERS, value) ? NUMBERS[value]
  : value;

const CHECKED = "the options were accepted";
/** Makes a call that ends as soon as its options are accepted: the error that refuses them, or undefined. */
async function refusal(call, options) {
  const ended = { signal: AbortSignal.abort(CHECKED), ...options };
  try {
    if (call === "generate") await model.generate("x", ended);
    else if (call === "load") await minke.load(new Blob([]), ended);
    else if (call === "score") await model.score("x", options);
    else await model.forward(Uint32Array.of(1), options);
  } catch (error) {
    return error === CHECKED ? undefined : error;
  }
  return undefined;
}

describe("cases that both sides share", () => {
  for (const name of Object.keys(table)) {
    test(name, async () => {
      for (const { call, options, javascript, accepted, refused } of cases.filter((c) => c.call === name)) {
        const error = await refusal(call, given(options));
        const what = JSON.stringify(options);
        if (accepted || javascript === "accepted") {
          assert.equal(error, undefined, what);
          continue;
        }
        const { argument, message, code = "invalid-argument" } = refused;
        assert.ok(error instanceof minke.EngineError, `${what}: ${error?.stack ?? error}`);
        assert.deepEqual([error.code, error.message, error.detail, error.retryable], [code, `${argument}: ${message}`, { argument }, false], what);
      }
    });
  }

  test("every option of the table has cases on both sides of each of its bounds", () => {
    const at = (options, path) => path.reduce((value, key) => value?.[key], options);
    const look = (call, rules, above = []) => {
      for (const [name, rule] of Object.entries(rules)) {
        const path = [...above, name];
        const of = cases.filter((c) => c.call === call && at(c.options, path) !== undefined && !c.rust);
        const accepted = of.filter((c) => c.accepted || c.javascript).map((c) => at(c.options, path));
        const refused = of.filter((c) => c.refused).map((c) => at(c.options, path));
        const has = (found, what) => assert.ok(found, `${call} ${path.join(".")}: no case ${what}`);
        has(accepted.length > 0, "that is accepted");
        for (const value of rule.values ?? []) has(accepted.includes(value), `with ${value}`);
        for (const bound of [rule.least, rule.most]) if (bound !== undefined) has(accepted.includes(bound), `that accepts ${bound}`);
        for (const bound of [rule.above, rule.below]) if (bound !== undefined) has(refused.includes(bound), `that refuses ${bound}`);
        if (rule.least !== undefined) has(refused.some((v) => v < rule.least), `below ${rule.least}`);
        if (rule.most !== undefined) has(refused.some((v) => v > rule.most), `above ${rule.most}`);
        if (["number", "whole"].includes(rule.kind)) has(refused.includes("NaN"), "with NaN");
        has(cases.some((c) => c.call === call && c.refused && at(c.options, path) !== undefined), "that is refused");
        look(call, rule.fields ?? {}, path);
      }
    };
    for (const [call, rules] of Object.entries(table)) look(call, rules);
  });
});

describe("what the package declares", () => {
  let declared;
  before(async () => {
    const out = join(root, "target/declarations");
    // Errors of types are for the build to report; here one is that the wasm's glue code has not been built.
    await promisify(execFile)(join(root, "pkg/node_modules/.bin/tsc"), ["--project", join(root, "pkg"), "--outDir", out]).catch(() => {});
    declared = Object.fromEntries(await Promise.all(["index", "types", "errors"].map(async (name) => [name, await readFile(join(out, `${name}.d.ts`), "utf8")])));
  });

  /** The names of an interface's own fields. */
  const fields = (name) => {
    const body = declared.types.match(new RegExp(`^export interface ${name} [^\\n]*\\{\\n(.*?)^\\}`, "ms"))?.[1];
    assert.ok(body, `${name} is declared`);
    return [...body.matchAll(/^ {4}(?:readonly )?(\w+)\??:/gm)].map(([, field]) => field);
  };
  /** The texts of a union type. */
  const union = (text, before) => text.match(new RegExp(`${before}([^;]*);`))[1].match(/"[^"]+"/g).map((word) => word.slice(1, -1));
  /** A value that no option accepts, except those that are checked where they are used. */
  const WRONG = Symbol("wrong");
  const LATER = ["worker", "wasm", "cpuWasm", "constraintWasm"];

  for (const [name, call] of [["GenerateOptions", "generate"], ["LoadOptions", "load"]]) {
    test(`${name}: every option is checked, and in the guide`, async () => {
      const guide = await read("docs/guide/options.md");
      const names = fields(name);
      for (const option of names) {
        const error = await refusal(call, { [option]: WRONG });
        if (LATER.includes(option)) assert.equal(error, undefined, option);
        else assert.match(error?.message ?? "", new RegExp(`^${option}: expected `), option);
        assert.match(guide, new RegExp(`^\\|[^|]*\`${option}\`[^|]*\\|`, "m"), `${option} has no row in docs/guide/options.md`);
      }
      for (const option of Object.keys(table[call])) assert.ok(names.includes(option), `${option} is in the table, and not declared`);
    });
  }

  test("the options of tests are not declared", () => assert.ok(!fields("LoadOptions").includes("internal")));

  test("names that are exported as types are declared, and the others exist", () => {
    const [, types] = declared.index.match(/export type \{([^}]*)\}/);
    for (const name of types.split(",").map((name) => name.trim()).filter(Boolean)) {
      assert.match(declared.types, new RegExp(`^export (interface|type) ${name}\\b`, "m"), name);
    }
    const values = [...declared.index.matchAll(/export \{([^}]*)\}/g)].flatMap(([, names]) => names.split(",").map((name) => name.trim()));
    assert.deepEqual(values.filter((name) => !name.startsWith("type ")).sort(), Object.keys(minke).sort());
  });

  test("every error code is raised somewhere and in the guide, and no other is raised", async () => {
    const codes = union(declared.errors, "type ErrorCode =").sort();
    const sources = (await readdir(join(root, "pkg/src"), { recursive: true })).filter((file) => file.endsWith(".ts"));
    const text = (await Promise.all(sources.map((file) => read(`pkg/src/${file}`)))).join("\n");
    const rust = (await read("src/error.rs")).match(/fn code\(.*?\n {4}\}/s)[0];
    const raised = [...text.matchAll(/EngineError\(\s*"([^"]+)"/g), ...rust.matchAll(/=> "([^"]+)"/g)].map(([, code]) => code);
    assert.deepEqual([...new Set(raised)].filter((code) => code !== "abort").sort(), codes);
    const guide = await read("docs/guide/errors.md");
    assert.deepEqual([...guide.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, code]) => code).sort(), codes);
  });
});
