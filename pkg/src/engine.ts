// What `worker: false` loads: the engine on the calling thread.

export { Host } from "./host.js";
