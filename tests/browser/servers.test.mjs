// Tests responses of servers for missing files, unusual file names, and recognition of files by contents, in Chromium,
// with generated models: only headers are read, except for one load.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { absent, installApp, root } from "./lib/app.mjs";
import { chromiumPath, launch } from "./lib/chromium.mjs";
import { serve } from "./lib/server.mjs";
import * as lib from "./lib/store.mjs";
import { clear } from "./lib/store.mjs";
import { folder, gguf, projector } from "./lib/tiny.mjs";

const skip = chromiumPath ? false : "Chromium: it is not installed";
const reports = resolve(process.env.MINKE_REPORTS ?? join(root, "../shared/data/reports"));
const HTML = "<!doctype html><title>An application</title><div id=root></div>";
/** A host name that is not a secure context. */
const ELSEWHERE = "minke.test";

let server, browser, context, page;

before(async () => {
  const app = installApp("servers-app");
  if (skip) return;
  server = await serve({ "/app/": app, "/reports/": reports });
  browser = await launch({ args: [`--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`] });
  context = await browser.newContext();
  page = await open("/app/");
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(async () => {
  if (!server) return;
  server.fault = () => undefined;
  await clear(page);
});

/** A page whose calls share a worker and a compiled engine. */
async function open(path) {
  const page = await lib.open(context, server, path);
  await page.evaluate(async () => {
    window.shared = { worker: new Worker("./node_modules/minke/dist/worker.js", { type: "module" }), wasm: await WebAssembly.compileStreaming(fetch("./node_modules/minke/dist/minke_bg.wasm")) };
  });
  return page;
}

/** Puts files under a path of the server. */
const put = (path, files) => {
  const made = (content) => {
    const bytes = Buffer.from(content);
    return { size: bytes.length, read: (start, end) => bytes.subarray(start, end) };
  };
  server.mounts[path] = new Map(Object.entries(files).map(([name, content]) => [name, made(content)]));
};
const call = (method, source, options = {}) => page.evaluate(async ([method, source, options]) => {
  try {
    return { value: await method.split(".").reduce((at, name) => at[name], minke)(source, { ...shared, ...options }) };
  } catch (e) {
    return { error: facts(e) };
  }
}, [method, source, options]);
const estimate = async (source, options) => {
  const { value, error } = await call("estimate", source, options);
  assert.equal(error, undefined, error?.message);
  return value;
};
const refused = async (source, options) => (await call("estimate", source, options)).error;
const download = async (source, options) => (await call("store.download", source, options)).error;
/** Files under a path that were requested since request `from`. */
const asked = (from, path) => server.requests.slice(from).filter((r) => r.path.startsWith(path)).map((r) => r.path.slice(path.length));
/** The bytes that were sent for files under a path. */
const sent = (from, path) => server.requests.slice(from).filter((r) => r.path.startsWith(path)).reduce((sum, r) => sum + r.sent, 0);
/** The files for `page`, in the form of a drop. */
const dropped = (files, use) => page.evaluate(async ([files, use]) => {
  const given = files.map(([name, base64]) => {
    const file = new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name.split("/").at(-1));
    if (name.includes("/")) Object.defineProperty(file, "webkitRelativePath", { value: name });
    return file;
  });
  try {
    if (use === "estimate") return { bytes: (await minke.estimate({ files: given }, shared)).downloadBytes };
    const warnings = [];
    const model = await minke.load({ files: given }, { ...shared, contextLength: 64 });
    warnings.push(...(model.info.warnings ?? []));
    const { ids } = await model.generate(Uint32Array.of(1, 2, 3), { maxOutputTokens: 2, temperature: 0 });
    await model.unload();
    return { id: model.id, warnings, tokens: ids.length };
  } catch (e) {
    return { error: facts(e) };
  }
}, [Object.entries(files).map(([name, content]) => [name, Buffer.from(content).toString("base64")]), use ?? "estimate"]);

/** Responses of hosts for files that do not exist. */
const length = Buffer.byteLength(HTML);
const known = { etag: '"app"', "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT" };
const HOSTS = {
  "401": { status: 401 },
  "403": { status: 403, headers: { "content-type": "application/xml" }, body: "<Error><Code>AccessDenied</Code></Error>" },
  "a page": { status: 200, headers: { "content-type": "text/html" }, body: HTML },
  "a page that is tagged": { status: 200, headers: { "content-type": "text/html; charset=utf-8", "content-length": length, ...known }, body: HTML },
  "a range of a page": { status: 206, headers: { "content-type": "text/html", "content-range": `bytes 0-${length - 1}/${length}`, ...known }, body: HTML },
  "a page of no type": { status: 200, headers: { "content-type": "application/octet-stream", ...known }, body: HTML },
};
/** Makes the server respond in this way for files under a path that `lacks` selects, by default those that do not exist. */
const host = (answer, path, lacks = (name) => !server.mounts[path].has(name)) => (server.fault = (r) => {
  if (!r.path.startsWith(path) || !lacks(r.path.slice(path.length))) return undefined;
  // A one-byte range of a page is the page's first byte.
  return answer.status === 206 && r.range === "bytes=0-0" ? { ...answer, headers: { ...answer.headers, "content-range": `bytes 0-0/${length}` }, body: "<" } : answer;
});

describe("a host that has no 404", { skip }, () => {
  for (const [name, answer] of Object.entries(HOSTS)) {
    test(`${name}: what is optional is absent, what is needed an error that says what came`, { timeout: 60_000 }, async () => {
      const told = answer.status >= 400 ? `the server answered ${answer.status}` : `a page (${answer.headers["content-type"]})`;
      const right = (error, file) => {
        assert.deepEqual([error?.code, error?.detail.status], ["network", answer.status], error?.message);
        assert.ok(error.message.startsWith(`${server.origin}${file}: `) && error.message.includes(told), error.message);
      };
      put("/m/", folder());
      put("/sharded/", folder({ shards: ["a.safetensors", "b.safetensors"] }));
      for (const path of ["/m/", "/sharded/"]) {
        host(answer, path);
        assert.ok((await estimate(path)).downloadBytes > 60_000);
        assert.equal(await download(path), undefined);
        const from = server.requests.length;
        // Any of these responses in place of the stored files.
        host(answer, path, () => true);
        assert.equal(await download(path), undefined);
        assert.ok(sent(from, path) === 0, `${sent(from, path)} bytes were sent`);
        server.fault = (r) => (r.path.startsWith(path) ? { drop: true } : undefined);
        assert.equal(await download(path, { internal: { clockRate: 100 } }), undefined, "without the server");
      }
      const files = folder({ shards: ["a.safetensors", "b.safetensors"] });
      for (const [missing, first] of [["config.json"], ["model.safetensors.index.json", "model.safetensors"], ["b.safetensors"]]) {
        const { [missing]: _, ...rest } = files;
        put("/m/", rest);
        host(answer, "/m/");
        right(await refused("/m/"), `/m/${first ?? missing}`);
      }
      put("/m/", {});
      host(answer, "/m/");
      right(await refused("/m/x.gguf"), "/m/x.gguf");
      right(await refused("/m/get?path=x"), "/m/get?path=x");
      const parts = gguf({ parts: 2 });
      put("/m/", { "x-00001-of-00002.gguf": parts[0] });
      host(answer, "/m/");
      right(await refused("/m/x-00001-of-00002.gguf"), "/m/x-00002-of-00002.gguf");
    });
  }

  test("a file that is gone is gone, and one that changed is another", { timeout: 60_000 }, async () => {
    put("/m/", { ...folder(), "chat_template.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}" });
    // Some hosts serve templates as HTML: a template is not a page.
    const html = { headers: { "content-type": "text/html" } };
    server.fault = (r) => (r.path.endsWith(".jinja") ? html : undefined);
    assert.equal(await download("/m/"), undefined);
    const stored = async () => (await page.evaluate(() => minke.store.list()))[0].files;
    assert.ok((await stored()).includes("chat_template.jinja"));
    const from = server.requests.length;
    assert.equal(await download("/m/"), undefined);
    assert.ok(sent(from, "/m/") < 16, `${sent(from, "/m/")} bytes were sent`);
    put("/m/", folder({ seed: 2 }));
    assert.equal(await download("/m/"), undefined);
    assert.ok(!(await stored()).includes("chat_template.jinja"));
  });
});

describe("what is asked for", { skip }, () => {
  /** A repository on a hub, and its file list. */
  const hub = (repo, files, names = Object.keys(files), headers = {}) => {
    put(`/hub/org/${repo}/resolve/main/`, files);
    const entries = names.map((path) => ({ type: "file", path, size: files[path]?.length ?? 0 }));
    const list = { status: 200, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(entries) };
    const tree = `/hub/api/models/org/${repo}/tree/main`;
    server.fault = (r) => (r.path === tree ? list : undefined);
    return { source: { repo: `org/${repo}`, endpoint: `${server.origin}/hub` }, files: `/hub/org/${repo}/resolve/main/` };
  };
  const named = (names) => [...new Set(names)].sort();

  test("nothing that a hub does not list, and without the list what may be there", { timeout: 60_000 }, async () => {
    const files = folder({ shards: ["é #1.safetensors", "sub dir/日本%.safetensors"] });
    const { source, files: path } = hub("whole", files);
    let from = server.requests.length;
    assert.ok((await estimate(source)).downloadBytes > 60_000);
    assert.deepEqual(named(asked(from, path)), Object.keys(files).sort());
    assert.equal(await download(source), undefined);
    assert.deepEqual((await page.evaluate(() => minke.store.list()))[0].files.sort(), Object.keys(files).sort());
    server.fault = (r) => (r.path.startsWith("/hub/") ? { drop: true } : undefined);
    assert.equal(await download(source, { internal: { clockRate: 100 } }), undefined, "what was not listed is known to be absent");
    for (const [names, headers] of [[[]], [["config.json"]], [Object.keys(files), { link: '<http://next>; rel="next"' }]]) {
      const { source, files: path } = hub("partly", files, names, headers);
      from = server.requests.length;
      assert.ok((await estimate(source)).downloadBytes > 60_000);
      assert.ok(["model.safetensors", "generation_config.json"].every((name) => asked(from, path).includes(name)), `${asked(from, path)}`);
    }
  });

  test("a manifest only where there may be a pack, whose files are checked", { timeout: 60_000 }, async () => {
    for (const files of [folder(), folder({ shards: ["a.safetensors", "b.safetensors"] })]) {
      put("/m/", files);
      const from = server.requests.length;
      await estimate("/m/");
      assert.equal(await download("/m/"), undefined);
      assert.deepEqual(asked(from, "/m/").filter((name) => name === "minke.json"), []);
    }
    const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
    const { "model.safetensors": weights, ...files } = folder();
    const entry = (bytes) => ({ size: bytes.length, sha256: sha256(bytes) });
    const name = "model.safetensors.00001-of-00001";
    const manifest = { minke: 1, files: { "model.safetensors": { ...entry(weights), parts: [{ name, ...entry(weights) }] } } };
    for (const [name, text] of Object.entries(files)) manifest.files[name] = entry(Buffer.from(text));
    const pack = { ...files, [name]: weights, "minke.json": JSON.stringify(manifest) };
    /** How a load ends. */
    const load = () => page.evaluate(async () => {
      try {
        await (await minke.load("/pack/", { ...shared, cache: "none" })).unload();
        return "loaded";
      } catch (e) {
        return `${e.code} ${e.detail?.file}`;
      }
    });
    put("/pack/", pack);
    assert.equal(await load(), "loaded");
    const flipped = Buffer.from(weights);
    flipped[flipped.length - 9] ^= 1;
    put("/pack/", { ...pack, [name]: flipped });
    assert.equal(await load(), `integrity ${name}`);
    put("/pack/", { ...pack, "config.json": files["config.json"].replace("0.000001", "0.00001") });
    assert.equal(await load(), "integrity config.json");
    put("/pack/", { ...pack, "minke.json": JSON.stringify({ ...manifest, minke: 2 }) });
    assert.match(await load(), /^format minke\.json/);
    put("/pack/", { ...pack, "config.json": "{" });
    assert.match(await load(), /^format config\.json/);
  });
});

describe("odd names", { skip }, () => {
  test("are asked for, kept and found again", { timeout: 120_000 }, async () => {
    const model = gguf();
    for (const [address, name] of [
      ["100%.gguf", "100%.gguf"], ["%zz %41.gguf", "%zz A.gguf"], ["a#1.gguf", "a#1.gguf"], ["c# + d/x y.gguf", "x y.gguf"],
      ["é/日本語.GGUF", "日本語.GGUF"], ["no ending", "no ending"], ["x.gguf.part", "x.gguf.part"], ["get?path=sub/ü%26.gguf&sig=1", "ü&.gguf"], ["get?id=7&x=é", "get"],
    ]) {
      const [path] = address.split("?");
      put("/odd/", { [path.replace("%41", "A")]: model });
      const source = `/odd/${address}`;
      assert.equal(await download(source), undefined, address);
      const [{ files, complete }, ...others] = await page.evaluate(() => minke.store.list());
      assert.deepEqual([files, complete, others.length], [[name], true, 0]);
      assert.equal(await page.evaluate((source) => minke.availability(source), source), "available", address);
      const from = server.requests.length;
      assert.equal(await download(source.replace("sig=1", "sig=2")), undefined);
      assert.ok(sent(from, "/odd/") < 16, `${sent(from, "/odd/")} bytes of ${address} were sent again`);
      await clear(page);
    }
    // Different parameters name different models.
    server.fault = (r) => (r.path === "/get" ? { file: { size: model.length, read: (start, end) => model.subarray(start, end) }, headers: { etag: r.query } } : undefined);
    server.mounts["/get"] = new Map([["", {}]]);
    for (const source of ["/get?path=a", "/get?path=b", "/get?path=a&X-Amz-Signature=1"]) assert.equal(await download(source), undefined);
    const ids = await page.evaluate(async () => (await minke.store.list()).map(({ id }) => id).sort());
    assert.deepEqual(ids, ["a", "b"].map((name) => `${server.origin}/get?path=${name}`));
  });

  test("are those of a repository too, and of parts that a parameter names", { timeout: 60_000 }, async () => {
    const [one, two] = gguf({ parts: 2 });
    const names = [1, 2].map((no) => `q#4?/100% é-0000${no}-of-00002.gguf`);
    put("/hub/org/odd/resolve/main/", { [names[0]]: one, [names[1]]: two });
    const digest = createHash("sha256").update(two).digest("hex");
    const entries = [{ type: "file", path: names[1], lfs: { oid: digest, size: two.length } }];
    server.mounts["/hub/api/models/org/odd/tree/main"] = { type: "application/json", body: JSON.stringify(entries) };
    const source = { repo: "org/odd", file: names[0], endpoint: `${server.origin}/hub` };
    assert.equal(await download(source), undefined);
    entries[0].lfs.size++;
    server.mounts["/hub/api/models/org/odd/tree/main"].body = JSON.stringify(entries);
    assert.deepEqual([(await refused(source))?.code, (await refused(source)).detail.file], ["integrity", names[1].split("/")[1]]);
    put("/by", { "": "" });
    const made = (bytes) => ({ file: { size: bytes.length, read: (start, end) => bytes.subarray(start, end) } });
    server.fault = ({ path, query }) => (path !== "/by" ? undefined : /-00001-of/.test(query) ? made(one) : /-00002-of/.test(query) ? made(two) : { status: 404 });
    assert.ok((await estimate("/by?file=m/x-00002-of-00002.gguf&token=t")).downloadBytes > 60_000);
  });

  test("a model of the reports, whose ending is in capitals", { skip: absent(reports), timeout: 60_000 }, async () => {
    assert.ok((await estimate("/reports/gguf_upper_name/model.GGUF")).downloadBytes > 0);
  });
});

describe("dropped files are what they say themselves", { skip }, () => {
  test("a projector beside the model is passed over, told in the model's info", { timeout: 120_000 }, async () => {
    const { error, warnings, tokens, id } = await dropped({ "mmproj.gguf": projector(), "model": gguf() }, "load");
    assert.equal(error, undefined, error?.message);
    assert.equal(tokens, 2);
    assert.deepEqual(warnings.map(({ code }) => code), ["unused-file"]);
    assert.match(warnings[0].message, /mmproj\.gguf/);
    assert.ok(id !== "");
  });

  test("names that were changed, in any order; several models are an error that names them", { timeout: 60_000 }, async () => {
    const [one, two, three] = gguf({ parts: 3 });
    const { bytes } = await dropped({ "m-00001-of-00003.gguf": one, "m-00002-of-00003.gguf": two, "m-00003-of-00003.gguf": three });
    const config = folder()["config.json"];
    for (const files of [
      { "model(1).gguf": two, "model (2).gguf": three, "model.gguf": one },
      { "m-00001-of-00003.gguf": three, "m-00002-of-00003.gguf": one, "m-00003-of-00003.gguf": two, "mmproj-F16.gguf": projector() },
      { "top/q4/c": three, "top/q4/b": two, "top/a": one, "top/config.json": config, "top/README.md": "GGUF" },
      { "top/in/MODEL.GGUF": gguf(), "top/in/config.json": config },
      { "model.gguf.part": gguf() },
      { "top/config.json": config, "top/model.safetensors": folder()["model.safetensors"], "top/tokenizer.json": folder()["tokenizer.json"], "other.gguf": gguf({ seed: 2 }) },
    ]) {
      const got = await dropped(files);
      assert.equal(got.bytes, bytes, `${Object.keys(files)}: ${got.error?.message}`);
    }
    const several = (await dropped({ "a.gguf": gguf(), "b": gguf({ seed: 2 }), "mmproj.gguf": projector() })).error;
    assert.deepEqual([several?.code, several?.detail.kind], ["format", "UnsupportedFeature"], several?.message);
    assert.match(several.message, /a\.gguf, b; name one of them/);
    const lacking = (await dropped({ "a.gguf": one, "b.gguf": three })).error;
    assert.deepEqual([lacking?.code, lacking?.detail.kind], ["format", "MissingShard"], lacking?.message);
  });
});

test("over http from another machine, https or localhost is named", { skip, timeout: 60_000 }, async () => {
  put("/m/", folder());
  const elsewhere = `http://${ELSEWHERE}:${server.port}`;
  const far = await context.newPage();
  await far.goto(`${elsewhere}/app/`);
  await far.waitForFunction(() => document.title === "ready");
  const got = await far.evaluate(async () => ({
    secure: isSecureContext,
    load: await failed(minke.load("/m/", { device: "gpu" })),
    estimate: await minke.estimate("/m/", { device: "gpu" }),
    download: await failed(minke.store.download("/m/")),
    availability: [await minke.availability("/m/", { device: "gpu" }), await minke.availability("/m/")],
    stored: await minke.store.list(),
  }));
  const named = /https:\/\/ or localhost/;
  assert.equal(got.secure, false);
  assert.equal(got.load?.code, "no-webgpu", got.load?.message);
  assert.match(got.load.message, named);
  assert.deepEqual([got.estimate.fit, got.estimate.reasons.map(({ code }) => code)], ["no", ["no-webgpu"]]);
  assert.match(got.estimate.reasons[0].message, named);
  assert.equal(got.download?.code, "storage", got.download?.message);
  assert.match(got.download.message, named);
  assert.deepEqual(got.availability, ["unavailable", "downloadable"], "the processor needs no such page");
  assert.deepEqual(got.stored, []);
  await far.close();
});
