// The engine in a worker: connects a host to postMessage, or a worker of the processor.

import { Host } from "./host/index.js";
import { Server, type Telling, type Told } from "./processor/index.js";
import type { Reply, Request } from "./protocol.js";

/** Starts the engine in this worker and says that it is ready; returns what takes the worker's messages. */
export function serve(): (message: { data: unknown }) => void {
  const post = (reply: Reply, transfer: Transferable[] = []) => self.postMessage(reply, { transfer });
  const type = isModule() ? "module" : "classic";
  const host = new Host(post, () => new Worker(self.location.href, { type, name: "minke-cpu" }));
  const server = new Server((told: Told, transfer: Transferable[] = []) => self.postMessage(told, { transfer }));
  post({ minke: 1, kind: "ready" });
  return ({ data }) => {
    if (typeof data !== "object" || data === null) return;
    const message = data as Request | Telling;
    if ("minkeWorker" in message) void server.handle(message);
    else if (message.minke === 1) host.handle(message);
  };
}

/**
 * Whether this worker runs as a module. Its script starts further workers, which must run it in the same way: what bundlers make of it for a classic worker may
 * load scripts by `importScripts` or assign to undeclared names, neither of which a module can.
 */
function isModule(): boolean {
  const { importScripts: loadScripts } = self; // Parcel refuses a call by that name
  try {
    loadScripts();
    return false;
  } catch {
    return true;
  }
}
