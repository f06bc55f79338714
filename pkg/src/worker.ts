// The worker's entry point: connects a host to postMessage, or a worker of the processor.

import { Host } from "./host/index.js";
import { Server, type Telling, type Told } from "./processor/index.js";
import type { Reply, Request } from "./protocol.js";

const post = (reply: Reply, transfer: Transferable[] = []) => self.postMessage(reply, { transfer });
const host = new Host(post, () => new Worker(self.location.href, { type: "module", name: "minke-cpu" }));
const server = new Server((told: Told, transfer: Transferable[] = []) => self.postMessage(told, { transfer }));
self.addEventListener("message", ({ data }: MessageEvent<Request | Telling>) => {
  if (typeof data !== "object" || data === null) return;
  if ("minkeWorker" in data) void server.handle(data);
  else if (data.minke === 1) host.handle(data);
});
post({ minke: 1, kind: "ready" });
