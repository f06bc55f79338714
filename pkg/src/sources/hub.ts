// A hub's record of a repository's files: names, sizes and digests.

import { below, type Location } from "../locate.js";

/** Timeout in milliseconds for a hub's file list. */
const PATIENCE = 20_000;

/** SHA-256 in hexadecimal, by a file's full path below the model's folder: several folders may have files of the same name. */
export type Digests = Map<string, string>;

/** The manifest of a pack, see src/weights/pack.rs. */
export const MANIFEST = "minke.json";

/** A hub's record of its files, by the names that they are opened by. */
export interface Hub {
  /** Only for large files. */
  sizes: Map<string, number>;
  /** Only for large files. */
  digests: Digests;
  /** All file names; null if the list is incomplete, or lacks the files that every model folder has. */
  names: Set<string> | null;
}

/** The page size of a hub's file list: if it lists this many files, there may be more. */
const LISTED = 1000;

/** Fetches a hub's record; empty if it is not available. */
export async function askHub(location: Location, fetcher: typeof fetch, signal: AbortSignal): Promise<Hub> {
  const hub: Hub = { sizes: new Map(), digests: new Map(), names: null };
  if (location.kind === "files" || location.tree === undefined) return hub;
  try {
    const headers: Record<string, string> = location.token === undefined ? {} : { Authorization: `Bearer ${location.token}` };
    const response = await fetcher(location.tree, { headers, referrerPolicy: "no-referrer", credentials: "same-origin", signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]) });
    const entries: unknown = response.ok ? await response.json() : [];
    const names = new Set<string>();
    for (const entry of Array.isArray(entries) ? entries : []) {
      const { path, lfs } = entry as { path?: unknown; lfs?: { oid?: unknown; size?: unknown } };
      const name = typeof path === "string" ? below(location, path) : undefined;
      if (name === undefined) continue;
      names.add(name);
      const oid = typeof lfs?.oid === "string" ? lfs.oid.replace(/^sha256:/, "") : "";
      if (/^[0-9a-f]{64}$/.test(oid)) hub.digests.set(name, oid);
      if (typeof lfs?.size === "number") hub.sizes.set(name, lfs.size);
    }
    const whole = !/rel="?next/.test(response.headers.get("link") ?? "") && (entries as unknown[]).length < LISTED;
    const model = ["model.safetensors", "model.safetensors.index.json", MANIFEST].some((name) => names.has(name));
    if (whole && model && names.has("config.json")) hub.names = names;
  } catch {
    // Without a mirror's record only the caller's digests are checked.
  }
  return hub;
}
