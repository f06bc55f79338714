// Reading a model's files from servers, hubs and disks. Code outside this folder imports this file only.

export { withFiles, type Files, type Wanted } from "./files.js";
export type { OnRead } from "./verify.js";
