// Tests checks against a hub's record of file sizes and digests, which are matched by full paths.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { absent, golden, installApp, smollm } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";
import * as lib from "./lib/store.mjs";
import { begin, clear, ended, sent, sha256 } from "./lib/store.mjs";

const noBrowser = chromiumPath ? false : "Chromium: it is not installed";
const noGolden = noBrowser || absent(golden);
const noSmol = noBrowser || absent(smollm);
const LLAMA = "/golden/models/llama/";

let server, browser;

before(async () => {
  const app = installApp();
  if (noBrowser) return;
  server = await serve({ "/app/": app, "/golden/": golden });
  browser = await launch();
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(() => {
  if (server) server.fault = () => undefined;
});

const open = (context) => lib.open(context, server);
const profile = (use) => lib.profile(browser, use);

/** The golden Llama with its shards as `a/model.safetensors` to `d/model.safetensors`, and the hub's list of them. */
const folders = ["a", "b", "c", "d"];
const shardOf = (i) => `model-0000${i + 1}-of-00004.safetensors`;
const path = (i) => `${folders[i]}/model.safetensors`;
const twins = () => {
  const folder = join(golden, "models/llama");
  const { metadata, weight_map } = JSON.parse(readFileSync(join(folder, "model.safetensors.index.json"), "utf8"));
  const index = { metadata, weight_map: Object.fromEntries(Object.entries(weight_map).map(([tensor, file]) => [tensor, path(Number(file.slice(6, 11)) - 1)])) };
  const resolve = "/hub/org/twins/resolve/main/";
  server.mounts[resolve] = folder;
  server.mounts[`${resolve}model.safetensors.index.json`] = { type: "application/json", body: JSON.stringify(index) };
  folders.forEach((_, i) => (server.mounts[resolve + path(i)] = join(folder, shardOf(i))));
  return index;
};
const listed = (repo, entries) => (server.mounts[`/hub/api/models/org/${repo}/tree/main`] = { type: "application/json", body: JSON.stringify(entries) });
const record = (i) => {
  const file = join(golden, "models/llama", shardOf(i));
  return { type: "file", path: path(i), lfs: { oid: sha256(file), size: statSync(file).size } };
};
const base64 = (hex) => `sha256-${Buffer.from(hex, "hex").toString("base64")}`;

describe("a hub's record", { skip: noGolden }, () => {
  test("digests go by whole paths: folders may hold files of one name", { timeout: 300_000 }, () => profile(async (context) => {
    const page = await open(context);
    const index = twins();
    const source = { repo: "org/twins", endpoint: `${server.origin}/hub` };
    listed("twins", folders.map((_, i) => record(i)));
    await begin(page, source);
    assert.equal(await ended(page), null);
    const files = await page.evaluate(async () => (await minke.store.list())[0].files);
    assert.ok(folders.every((_, i) => files.includes(path(i))), `${files}`);
    await clear(page);
    // A file of the same name in another folder is a different file.
    listed("twins", [{ ...record(0), path: "model.safetensors" }, { ...record(2), path: path(1), lfs: { oid: record(2).lfs.oid } }]);
    await begin(page, source);
    const error = await ended(page);
    assert.equal(error?.code, "integrity", error?.message);
    assert.equal(error.detail.file, path(1));
    await clear(page);
    listed("twins", []);
    for (const [digest, wrong] of [[record(1).lfs.oid, false], [record(0).lfs.oid, true]]) {
      await begin(page, source, { integrity: { [path(1)]: base64(digest), [path(0)]: base64(record(0).lfs.oid) } });
      const error = await ended(page);
      assert.deepEqual([error?.code, error?.detail.file], wrong ? ["integrity", path(1)] : [undefined, undefined], error?.message);
      await clear(page);
    }
    // A GGUF in a folder of a repository: its path, and those of its siblings.
    server.mounts["/hub/org/gguf/resolve/main/q4/smol.gguf"] = smollm;
    const gguf = { repo: "org/gguf", file: "q4/smol.gguf", endpoint: `${server.origin}/hub` };
    if (!noSmol) {
      listed("gguf", [{ path: "smol.gguf", lfs: { oid: "0".repeat(64), size: 1 } }, { path: "q4/smol.gguf", lfs: { oid: sha256(smollm), size: statSync(smollm).size } }]);
      const before = server.requests.length;
      await page.evaluate((source) => minke.estimate(source), gguf);
      const sent = server.requests.slice(before).filter(({ path }) => path.endsWith(".gguf")).reduce((sum, { sent }) => sum + sent, 0);
      assert.ok(sent < 4e6, `an estimate reads the header, of 1.8 MB, and nothing ahead of it: ${sent} bytes`);
      await begin(page, gguf);
      assert.equal((await ended(page))?.message, undefined);
      await clear(page);
    }
    const refused = await page.evaluate(([source, integrity]) => failed(minke.estimate(source, { integrity })), [gguf, { "smol.gguf": base64("0".repeat(64)) }]);
    assert.equal(refused?.code, "invalid-argument", refused?.message);
    // A picked folder: paths relative to the one with the model.
    const picked = await page.evaluate(async ([url, names, index, integrity]) => {
      const files = [];
      for (const [path, name] of names) {
        const file = new File(name === null ? [JSON.stringify(index)] : [await (await fetch(url + name)).blob()], path.split("/").at(-1));
        Object.defineProperty(file, "webkitRelativePath", { value: `top/llama/${path}` });
        files.push(file);
      }
      return failed(minke.load({ files }, { integrity }));
    }, [LLAMA, [...folders.map((_, i) => [path(i), shardOf(i)]), ["config.json", "config.json"], ["tokenizer.json", "tokenizer.json"], ["model.safetensors.index.json", null]],
      index, { [path(0)]: base64(record(0).lfs.oid), [path(3)]: base64(record(0).lfs.oid) }]);
    assert.deepEqual([picked?.code, picked?.detail.file], ["integrity", path(3)], picked?.message);
  }));

  test("a file of another size than the hub has on record is refused when it is opened", { timeout: 120_000 }, () => profile(async (context) => {
    const page = await open(context);
    twins();
    const source = { repo: "org/twins", endpoint: `${server.origin}/hub` };
    const { size } = statSync(join(golden, "models/llama", shardOf(1)));
    const refused = async (options) => {
      for (const call of ["estimate", "load"]) {
        const from = server.requests.length;
        const error = await page.evaluate(([call, source, options]) => failed(minke[call](source, options)), [call, source, options]);
        assert.equal(error?.code, "integrity", error?.message);
        assert.equal(error.retryable, true);
        assert.deepEqual([error.detail.file, error.detail.expected, error.detail.found], [path(1), size + 7, size]);
        assert.ok(error.message.includes(`${size} `) && error.message.includes(`${size + 7} `), error.message);
        const bytes = sent(server, from, (r) => r.path.endsWith(path(1)));
        assert.ok(bytes <= 64 << 10, `${bytes} bytes of it were sent`);
      }
    };
    const wrong = { ...record(1), lfs: { ...record(1).lfs, size: size + 7 } };
    listed("twins", [record(0), wrong]);
    await refused({ cache: "none" });
    await refused({});
    // Files stored earlier are checked against the record, too.
    await clear(page);
    listed("twins", []);
    await begin(page, source);
    assert.equal(await ended(page), null);
    listed("twins", [wrong]);
    await refused({});
    await clear(page);
    // A hub without a file list may serve the digest with the file.
    listed("twins", []);
    server.fault = (request) => (request.path.endsWith(path(1)) ? { headers: { "x-linked-size": String(size + 7) } } : undefined);
    await refused({ cache: "none" });
  }));
});
