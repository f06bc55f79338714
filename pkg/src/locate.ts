// Resolves a source that the caller passed to a plain location that can be sent to a worker.

import { invalid } from "./errors.js";
import type { ModelSource } from "./types.js";
import { localFiles, type Local, type Named } from "./local.js";

/**
 * A location with all defaults filled in, which structured clone supports. `tree` is the URL at which a hub lists
 * files, sizes and digests; `at` is the folder of the repository that contains a GGUF, such as "quantised/", to which
 * file names are relative; `bare` is the URL of a folder as it was given, without a trailing slash: it may turn out to
 * be a GGUF with an unusual name.
 */
export type Location =
  | { kind: "folder"; id: string; url: string; file?: string; token?: string; tree?: string; bare?: string }
  | { kind: "gguf"; id: string; url: string; token?: string; tree?: string; at?: string }
  | { kind: "files"; id: string; files: Named[] };

const ENDPOINT = "https://huggingface.co";
const REPOSITORY = /^[\w.-]+\/[\w.-]+$/;
const GGUF = /\.gguf$/i;
/** Query parameters that sign a URL and change between requests, recognised by name: those of common clouds, and Azure's. */
const SIGNATURE = /sign|token|expire|policy|credential|access|auth|key-pair|api-?key|^(x-|q-)|^(sig|s[eprtv]|spr|sip|ske|sks|skt|skv|skoid|sktid)$/i;

/** Resolves a source against the page's URL. Throws `invalid-argument` for an invalid source. */
export async function locate(source: ModelSource): Promise<Location> {
  if (typeof source === "string") return fromText(source);
  if (source instanceof URL) return fromUrl(source);
  if (typeof Blob !== "undefined" && source instanceof Blob) return fromFiles([source as File]);
  if (typeof source === "object" && source !== null) {
    if ("files" in source) {
      known(source, ["files"]);
      if (!Array.isArray(source.files)) throw invalid("source.files", "expected a list of files");
      return fromFiles(source.files);
    }
    if ("repo" in source) return fromRepository(source);
  }
  throw invalid("source", "expected a URL, \"org/repo\", { repo }, { files } or a Blob");
}

function fromText(text: string): Location {
  const parts = text.split("/");
  const relative = /^(\.{0,2}\/|[a-z][a-z0-9+.-]*:)/i.test(text) || parts.length === 1;
  if (!relative && REPOSITORY.test(parts.slice(0, 2).join("/"))) {
    if (parts.length === 2 && !GGUF.test(text)) return fromRepository({ repo: text });
    if (parts.length > 2 && GGUF.test(text)) {
      return fromRepository({ repo: parts.slice(0, 2).join("/"), file: parts.slice(2).join("/") });
    }
  }
  if (text === "") throw invalid("source", "it is empty");
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  let url: URL;
  try {
    url = new URL(text, base);
  } catch {
    throw invalid("source", `${JSON.stringify(text)} is neither a URL nor "org/repo"`);
  }
  return fromUrl(url);
}

function fromUrl(given: URL): Location {
  if (!/^(https?|blob|data):$/.test(given.protocol)) throw invalid("source", `cannot read from ${given.protocol} URLs`);
  const inline = !given.protocol.startsWith("http");
  const url = new URL(inline ? given : given.href.replace(/#/g, fragment));
  url.hash = "";
  const id = `${url.protocol === "blob:" ? "" : url.origin}${url.pathname}`;
  // A blob URL has no folder, so it can only be a single file.
  if (GGUF.test(url.pathname) || inline) return { kind: "gguf", id: url.protocol === "data:" ? "data:" : id, url: url.href };
  if (url.pathname.endsWith("/")) return { kind: "folder", id, url: url.href };
  const bare = url.href;
  url.pathname += "/";
  return { kind: "folder", id: id + named(bare), url: url.href, bare };
}

/** How to interpret a "#" in a URL: as part of a name, unless a complete model URL precedes it and no file name follows. */
function fragment(_: string, at: number, text: string): string {
  const [before] = text.slice(0, at).split("?");
  return /(\/|\.gguf)$/i.test(before!) && !/\/|\.gguf/i.test(text.slice(at)) ? "#" : "%23";
}

/** The query parameters of a URL that identify the content. */
function named(address: string): string {
  const url = new URL(address);
  for (const name of [...url.searchParams.keys()]) if (SIGNATURE.test(name)) url.searchParams.delete(name);
  return url.search;
}

/** The key under which a location is stored: its URL without parameters that change between requests. */
export function storageKey(location: Exclude<Location, { kind: "files" }>): string {
  const { origin, pathname } = new URL(location.url);
  return origin + pathname + (location.kind === "folder" && location.bare !== undefined ? named(location.bare) : "");
}

function fromRepository(source: Extract<ModelSource, { repo: string }>): Location {
  known(source, ["repo", "file", "revision", "token", "endpoint"]);
  const { repo, file, revision = "main", token, endpoint = ENDPOINT } = source;
  if (typeof repo !== "string" || !REPOSITORY.test(repo)) throw invalid("source.repo", `expected "org/repo", got ${JSON.stringify(repo)}`);
  if (file !== undefined && (typeof file !== "string" || file === "" || file.split("/").includes(".."))) {
    throw invalid("source.file", `expected a file in the repository, got ${JSON.stringify(file)}`);
  }
  for (const [name, value] of Object.entries({ file, revision, token, endpoint })) {
    if (value !== undefined && typeof value !== "string") throw invalid(`source.${name}`, "expected a string");
    if (/\p{Surrogate}/u.test(value ?? "")) throw invalid(`source.${name}`, "it contains a lone surrogate");
  }
  let root: URL;
  let tree: string;
  try {
    const at = (path: string) => new URL(`${endpoint.replace(/\/+$/, "")}/${path}`, globalThis.document?.baseURI);
    root = at(`${repo}/resolve/${encodeURIComponent(revision)}/`);
    tree = at(`api/models/${repo}/tree/${encodeURIComponent(revision)}?recursive=true`).href;
  } catch {
    throw invalid("source.endpoint", `${JSON.stringify(endpoint)} is not a URL`);
  }
  if (file !== undefined && GGUF.test(file)) {
    const at = file.slice(0, file.lastIndexOf("/") + 1);
    return { kind: "gguf", id: `${repo}/${file}`, url: child(root.href, file), token, tree, ...(at === "" ? {} : { at }) };
  }
  return { kind: "folder", id: repo, url: root.href, file, token, tree };
}

async function fromFiles(given: readonly Local[]): Promise<Location> {
  if (given.length === 0) throw invalid("source.files", "the list is empty");
  const { folder, files } = await localFiles(given);
  if (files.length === 0) return { kind: "files", id: folder ?? "empty", files }; // the engine says what is missing
  const ggufs = files.filter((f) => GGUF.test(f.name));
  const first = files.find((f) => f.name === "config.json") ?? ggufs.find((f) => !/mmproj/i.test(f.name)) ?? ggufs[0] ?? files[0]!;
  const picked = first.blob instanceof File ? first.blob.webkitRelativePath?.split("/").at(-2) : undefined;
  return { kind: "files", id: folder ?? picked ?? first.name, files };
}

/** The name by which a file of a repository is opened, from its path; undefined if it is outside the model's folder. */
export function below(location: Location, path: string): string | undefined {
  const at = location.kind === "gguf" ? (location.at ?? "") : "";
  return path.startsWith(at) ? path.slice(at.length) : undefined;
}

/** The URL of a file in a folder, with the folder's query (such as a signature) kept. */
export function child(folder: string, name: string): string {
  const url = new URL(folder);
  url.pathname = url.pathname.replace(/[^/]*$/, "") + name.split("/").map(encodeURIComponent).join("/");
  return url.href;
}

/** The name of the file at a URL: from a parameter that names a GGUF, or from its path. */
export function nameOf(address: string): string {
  const { pathname, searchParams } = new URL(address);
  const last = (path: string) => path.split("/").at(-1)!;
  return [...searchParams.values()].map(last).find((name) => GGUF.test(name)) ?? (decoded(last(pathname)) || "model.gguf");
}

/** The URL of a sibling of the file at `address`: if a parameter names the file, the parameter is replaced. */
export function beside(address: string, name: string): string {
  const [url, known] = [new URL(address), nameOf(address)];
  for (const [parameter, path] of url.searchParams) {
    if (path !== known && !path.endsWith(`/${known}`)) continue;
    url.searchParams.set(parameter, path.slice(0, -known.length) + name);
    return url.href;
  }
  return child(address, name);
}

/** Decodes a part of a URL; invalid escapes are kept as they are. */
function decoded(part: string): string {
  return part.replace(/(%[\da-f]{2})+/gi, (bytes) => {
    try {
      return decodeURIComponent(bytes);
    } catch {
      return bytes;
    }
  });
}

function known(source: object, keys: string[]): void {
  for (const key of Object.keys(source)) if (!keys.includes(key)) throw invalid(`source.${key}`, "unknown option");
}
