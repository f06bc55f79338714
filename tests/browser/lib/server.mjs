// A static server with byte ranges, a log of what was asked, and the faults real servers have.

import { createReadStream, promises as fs } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml",
};

/**
 * Serves `mounts`, an object from URL prefix ("/models/") to a folder, a file's path, { type, body }, or a map
 * from name to `{ size, read(start, end) }` for files that are made where they are asked for.
 *
 * `fault(request)` may return what to do instead of the right thing for one request `{ path, range, method, count }`:
 * `{ status, headers?, body? }`, `{ ignoreRange: true }`, `{ cutAfter: bytes }`, `{ drop: true }`, `{ shift: bytes }`, `{ headers }` or `{ hang: true }`.
 */
export async function serve(mounts, { port = 0, host = "127.0.0.1" } = {}) {
  const requests = [];
  const state = { fault: () => undefined, requests, headers: {} };
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500, { "content-type": "text/plain" });
      response.end(String(error));
    });
  });

  async function answer(request, response) {
    const path = decodeURIComponent(new URL(request.url, "http://x").pathname);
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const entry = { path, range: request.headers.range, method: request.method, headers: request.headers };
    entry.count = requests.filter((r) => r.path === path).length;
    requests.push(entry);
    const fault = state.fault(entry) ?? {};
    if (fault.hang) return;
    if (fault.drop) return request.destroy();
    const always = { "accept-ranges": "bytes", "cache-control": "no-store", ...state.headers, ...fault.headers };
    if (fault.status) {
      response.writeHead(fault.status, { "content-type": "text/plain", ...always });
      return response.end(fault.body ?? "");
    }
    const found = await find(path);
    if (found === undefined) {
      response.writeHead(404, { "content-type": "text/plain", ...always });
      return response.end("not found");
    }
    if (found.body !== undefined) {
      response.writeHead(200, { "content-type": found.type, ...always });
      return response.end(found.body);
    }
    const { size } = found.made ?? (await fs.stat(found.file));
    const head = { "content-type": TYPES[extname(found.file ?? path)] ?? "application/octet-stream", etag: `"${size}"`, ...always };
    let start = 0;
    let end = size;
    let status = 200;
    if (range && !fault.ignoreRange) {
      start = Number(range[1]) + (fault.shift ?? 0);
      end = range[2] === "" ? size : Math.min(size, Number(range[2]) + 1);
      if (start >= size) {
        response.writeHead(416, { ...head, "content-range": `bytes */${size}` });
        return response.end();
      }
      status = 206;
      head["content-range"] = `bytes ${start}-${end - 1}/${size}`;
    }
    response.writeHead(status, { ...head, "content-length": end - start });
    if (request.method === "HEAD" || end === start) return response.end();
    if (found.made !== undefined) return made(response, found.made, start, end);
    if (fault.cutAfter !== undefined) {
      const stream = createReadStream(found.file, { start, end: Math.min(end, start + fault.cutAfter) - 1 });
      stream.on("end", () => response.destroy());
      return stream.pipe(response, { end: false });
    }
    createReadStream(found.file, { start, end: end - 1 }).on("error", () => response.destroy()).pipe(response);
  }

  /** Sends what a generator makes, a piece at a time, as fast as it is taken. */
  async function made(response, { read }, start, end) {
    for (let at = start; at < end; at += 1 << 20) {
      if (response.destroyed) return;
      if (!response.write(read(at, Math.min(end, at + (1 << 20))))) await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
    }
    response.end();
  }

  async function find(path) {
    const prefix = Object.keys(mounts).filter((p) => path === p || (p.endsWith("/") && path.startsWith(p))).sort((a, b) => b.length - a.length)[0];
    if (prefix === undefined) return undefined;
    const target = mounts[prefix];
    if (target instanceof Map) {
      const made = target.get(path.slice(prefix.length));
      return made && { made };
    }
    if (typeof target !== "string") return target;
    const rest = path.slice(prefix.length);
    let file = rest === "" && !prefix.endsWith("/") ? target : normalize(join(target, rest));
    if (file !== target && !file.startsWith(target.endsWith(sep) ? target : target + sep)) return undefined;
    const stat = await fs.stat(file).catch(() => undefined);
    if (stat?.isDirectory()) file = join(file, "index.html");
    return (await fs.stat(file).catch(() => undefined))?.isFile() ? { file } : undefined;
  }

  await new Promise((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  state.port = server.address().port;
  state.origin = `http://localhost:${state.port}`;
  state.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return state;
}
