// The engine, for `worker: false`, which runs it on the calling thread, and for workers of the application.

export { Host } from "./host/index.js";
export { serve } from "./serve.js";
