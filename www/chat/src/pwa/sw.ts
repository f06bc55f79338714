// Keeps the application's files, so that it opens without a network. It handles requests to this folder only: models are stored by the
// engine, and nothing else is ever requested.

/// <reference lib="webworker" />

const worker = globalThis as unknown as ServiceWorkerGlobalScope;

/** Written by the build. */
const FILES: readonly string[] = "__FILES__" as unknown as string[];
const VERSION: string = "__VERSION__";

const PREFIX = "minke-chat-";
const NAME = PREFIX + VERSION;

worker.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(NAME);
      const program = (file: string) => file === "./" || file.startsWith("assets/");
      // Past the HTTP cache for those without a digest in their names: the version before may still be in it.
      const request = (file: string) => new Request(file, { cache: file.startsWith("assets/") ? "default" : "reload" });
      await cache.addAll(FILES.filter(program).map(request));
      // A site's owner may have left these out.
      await Promise.allSettled(FILES.filter((file) => !program(file)).map((file) => cache.add(request(file))));
    })(),
  );
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
      await worker.clients.claim();
    })(),
  );
});

worker.addEventListener("message", (event) => {
  if (event.data === "take-over") void worker.skipWaiting();
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const scope = worker.registration.scope;
  if (request.method !== "GET" || !request.url.startsWith(scope)) return;
  const path = request.url.slice(scope.length).replace(/[?#].*/, "");
  if (request.mode === "navigate" && (path === "" || path === "index.html")) event.respondWith(kept("./", request));
  else if (path === "catalogue.json") event.respondWith(edited(request, (work) => event.waitUntil(work)));
  else if (FILES.includes(path)) event.respondWith(kept(path, request));
  else if (path.startsWith("assets/")) event.respondWith(later(request));
});

/** A file of this version; if the browser threw it away, from the network. */
async function kept(path: string, request: Request): Promise<Response> {
  const cache = await caches.open(NAME);
  return (await cache.match(new URL(path, worker.registration.scope).href)) ?? fetch(request);
}

/** A file that the site's owner edits, without a new version of the application: as it was, at once; and as it is, the next time. */
async function edited(request: Request, waitUntil: (work: Promise<unknown>) => void): Promise<Response> {
  const cache = await caches.open(NAME);
  const found = await cache.match(request);
  const fresh = fetch(request).then(async (response) => {
    if (response.ok) await cache.put(request, response.clone());
    return response;
  });
  if (!found) return fresh;
  waitUntil(fresh.catch(() => undefined));
  return found;
}

/** A file that is seldom needed: from the network the first time, and kept. */
async function later(request: Request): Promise<Response> {
  const cache = await caches.open(NAME);
  const found = await cache.match(request);
  if (found) return found;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}
