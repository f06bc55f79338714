// A static server with byte ranges, a log of requests and responses, and simulated faults of real servers.

import { promises as fs } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { gzipSync } from "node:zlib";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml",
};

/** Bytes of one write. */
const SLICE = 16 * 1024;

/**
 * Serves `mounts`, an object from URL prefix ("/models/") to a folder, a file's path, { type, body }, or a map from name to
 * `{ size, read(start, end) }` of generated files. `pace`: bytes per millisecond of a response, while
 * it is set.
 *
 * `fault(request)` may return a fault for a request `{ path, query, range, method, count }`:
 * - `{ status, headers?, body? }`, `{ headers }`: another response, other headers
 * - `{ ignoreRange: true }`, `{ shift: bytes }`: the whole file, a range that begins elsewhere
 * - `{ cutAfter: bytes, reset? }`, `{ stallAfter: bytes }`: a truncated response, by a reset; a response that stalls
 * - `{ extra: bytes, chunked? }`: more bytes than declared, or than the range has
 * - `{ weak: true }`: a weak tag · while `cors` is set: `{ cors: false }`, `{ expose }`: no permission, other exposed headers
 * - `{ drop: true }`, `{ hang: true }`: no response
 * - `{ trickle: true }`: the first bytes one by one · `{ gzip: true }`: compressed on the way · `{ file }`: another file's bytes
 *
 * `headers`, an object or a function of the path, are sent with each response.
 *
 * A request's `sent` is the number of body bytes that were written to the socket; `posted` is its own body.
 */
export async function serve(mounts, { port = 0, host = "127.0.0.1" } = {}) {
  const requests = [];
  const state = { fault: () => undefined, requests, headers: {}, mounts, pace: undefined, cors: false };
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500, { "content-type": "text/plain" });
      response.end(String(error));
    });
  });

  async function answer(request, response) {
    const { pathname, search: query } = new URL(request.url, "http://x");
    const path = pathname.replace(/(%[\da-f]{2})+/gi, decodeURIComponent); // a lone "%" is kept
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const entry = { path, query, range: request.headers.range, method: request.method, headers: request.headers, sent: 0 };
    entry.count = requests.filter((r) => r.path === path).length;
    requests.push(entry);
    if (request.method === "POST") {
      const parts = [];
      for await (const part of request) parts.push(part);
      entry.posted = Buffer.concat(parts).toString();
      response.writeHead(204);
      return response.end();
    }
    const fault = state.fault(entry) ?? {};
    if (fault.hang) return;
    if (fault.drop) return request.destroy();
    const cors = state.cors && fault.cors !== false;
    const shared = cors ? { "access-control-allow-origin": "*", "access-control-expose-headers": fault.expose ?? "etag, content-range" } : {};
    const always = { ...shared, "accept-ranges": "bytes", "cache-control": "no-store", ...(typeof state.headers === "function" ? state.headers(path) : state.headers), ...fault.headers };
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
    const file = await opened(fault.file ?? found.file);
    try {
      await answerWith(file, typeof found.file === "string" ? found.file : path, { request, response, entry, fault, range, always });
    } finally {
      await file.close();
    }
  }

  async function answerWith(file, name, { request, response, entry, fault, range, always }) {
    const { size } = await file.stat();
    const head = { "content-type": TYPES[extname(name)] ?? "application/octet-stream", etag: `"${size}"`, ...always };
    if (fault.weak) head.etag = `W/${head.etag}`;
    entry.tag = head.etag;
    let start = 0;
    let end = size;
    let status = 200;
    const other = request.headers["if-range"] !== undefined && request.headers["if-range"] !== head.etag;
    if (range && !fault.ignoreRange && !other) {
      start = Math.max(0, Number(range[1]) + (fault.shift ?? 0));
      end = range[2] === "" ? size : Math.min(size, Number(range[2]) + 1);
      if (start >= size) {
        response.writeHead(416, { ...head, "content-range": `bytes */${size}` });
        return response.end();
      }
      status = 206;
      head["content-range"] ??= `bytes ${start}-${end - 1}/${size}`;
    }
    if (!fault.chunked) head["content-length"] = end - start;
    if (fault.gzip) {
      const bytes = Buffer.alloc(end - start);
      await file.read(bytes, 0, bytes.length, start);
      const body = gzipSync(bytes, { level: 1 });
      response.writeHead(status, { ...head, "content-encoding": "gzip", "content-length": body.length });
      return request.method === "HEAD" ? response.end() : send(response, entry, body.length, async (at, to) => body.subarray(at, to));
    }
    response.writeHead(status, head);
    if (request.method === "HEAD" || end === start) return response.end();
    const length = Math.min(end - start, fault.cutAfter ?? Infinity, fault.stallAfter ?? Infinity);
    await send(response, entry, length + (fault.extra ?? 0), async (at, to) => {
      const bytes = Buffer.alloc(to - at);
      if (at < length) await file.read(bytes, 0, Math.min(bytes.length, length - at), start + at);
      return bytes;
    }, fault, file.made ? 64 * SLICE : SLICE);
  }

  /** A file on disk, or a generated one. */
  async function opened(file) {
    if (typeof file === "string") return fs.open(file);
    return {
      made: true,
      stat: async () => file,
      close: async () => {},
      read: async (bytes, at, length, from) => file.read(from, from + length).copy(bytes, at),
    };
  }

  /** Writes a body with back-pressure, and ends it as the fault requires. */
  async function send(response, entry, length, read, { trickle, cutAfter, reset, stallAfter } = {}, slice = SLICE) {
    const gone = new Promise((resolve) => response.once("close", resolve));
    for (let at = 0; at < length && !response.destroyed; ) {
      const slow = trickle && at < 40;
      const to = Math.min(length, at + (slow ? 1 : slice));
      const bytes = await read(at, to);
      if (response.destroyed) return;
      entry.sent += bytes.length;
      if (!response.write(bytes)) await Promise.race([gone, new Promise((resolve) => response.once("drain", resolve))]);
      if (slow) await new Promise((resolve) => setTimeout(resolve, 2));
      else if (state.pace) await new Promise((resolve) => setTimeout(resolve, slice / state.pace));
      at = to;
    }
    if (stallAfter !== undefined) return;
    if (reset) response.socket?.resetAndDestroy();
    else if (cutAfter !== undefined) response.destroy();
    else response.end();
  }

  async function find(path) {
    const prefix = Object.keys(mounts).filter((p) => path === p || (p.endsWith("/") && path.startsWith(p))).sort((a, b) => b.length - a.length)[0];
    if (prefix === undefined) return undefined;
    const target = mounts[prefix];
    if (target instanceof Map) {
      const file = target.get(path.slice(prefix.length));
      return file && { file };
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
