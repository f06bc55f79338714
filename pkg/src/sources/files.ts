// The files of one load: opened from their source, kept in the store, and checked against digests.

import { storageKey, type Location } from "../locate.js";
import { StoredModel, type Choose } from "../storage/index.js";
import type { Hasher } from "../wasm.js";
import { Clock } from "./clock.js";
import { askHub, type Digests } from "./hub.js";
import { open, type Opened } from "./open.js";
import { Limit, type HttpContext } from "./requests.js";
import { Verifier } from "./verify.js";

/** The files that a request wants. */
export interface Wanted {
  location: Location;
  /** Whether downloaded data is stored on this device. */
  cache: "opfs" | "none";
  /** SHA-256 in hexadecimal by file name. */
  integrity: Record<string, string>;
  /** The speed of the requests' clock, for tests. */
  clockRate: number;
  /** Only headers are read: nothing is fetched that nobody asked for. */
  headersOnly?: boolean;
}

/** Open files, checked against known digests; a hub's digests are checked later. */
export interface Files extends Opened {
  verifier: Verifier;
  hub: Promise<Digests>;
  store: StoredModel | null;
}

/** What files are opened with. */
export interface Means {
  fetch: typeof fetch;
  Hasher: new () => Hasher;
  /** Aborts when nothing more will be read. */
  signal: AbortSignal;
  choose: Choose;
}

/** How often files are opened again because one changed on the server. */
const CHANGES = 2;

/** Opens files and uses them, again if one of them changed on the server meanwhile. Afterwards the store is closed: as complete, if the use succeeded. */
export async function withFiles<T>(wanted: Wanted, means: Means, use: (files: Files) => Promise<T>): Promise<T> {
  const store = await openStore(wanted, means);
  try {
    const value = await steadily(wanted, means, store, use);
    await store?.loaded();
    return value;
  } finally {
    await store?.close();
  }
}

/** The store of the files; null if nothing is to be stored. */
async function openStore({ cache, location }: Wanted, { signal, choose }: Means): Promise<StoredModel | null> {
  const kept = cache === "opfs" && location.kind !== "files" && /^https?:/.test(location.url);
  return kept ? StoredModel.open(storageKey(location), location.id, signal, choose) : null;
}

async function steadily<T>(wanted: Wanted, means: Means, store: StoredModel | null, use: (files: Files) => Promise<T>): Promise<T> {
  const { location, integrity, clockRate, headersOnly = false } = wanted;
  const { fetch, Hasher, signal } = means;
  for (let changes = 0; ; changes++) {
    const requests = new AbortController();
    const both = AbortSignal.any([signal, requests.signal]);
    const told = askHub(location, fetch, both);
    const context: HttpContext = {
      fetch, clock: new Clock(clockRate), limit: new Limit(), store, changed: false,
      headers: location.kind === "files" || location.token === undefined ? {} : { Authorization: `Bearer ${location.token}` },
      signal: both, sizes: told.then(({ sizes }) => sizes), names: told.then(({ names }) => names), absences: new Map(), ahead: !headersOnly,
    };
    try {
      // Without a store the files would have to be fetched twice, which only the caller can request.
      const hub = store === null ? Promise.resolve(new Map()) : told.then(({ digests }) => digests);
      const verifier = new Verifier(Hasher, store, new Map(Object.entries(integrity)));
      const { source, stored } = await open(location, context);
      return await use({ source: verifier.source(source), verifier, hub, stored, store });
    } catch (error) {
      if (!context.changed || changes === CHANGES || signal.aborted) throw error;
    } finally {
      requests.abort(); // cancels read-ahead that is no longer needed
    }
  }
}
