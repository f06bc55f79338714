// Entry point for `worker: false`: runs the engine on the calling thread.

export { Host } from "./host/index.js";
