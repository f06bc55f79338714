// The worker's entry point: connects a host to postMessage.

import { Host } from "./host/index.js";
import type { Reply, Request } from "./protocol.js";

const post = (reply: Reply, transfer: Transferable[] = []) => self.postMessage(reply, { transfer });
const host = new Host(post);
self.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  if (typeof data === "object" && data !== null && data.minke === 1) host.handle(data);
});
post({ minke: 1, kind: "ready" });
