// The engine of the echo model. Code outside this folder imports this file only.

export type { EchoCall, EchoScript, EchoTurn } from "./answer.js";
export { EchoEngine } from "./engine.js";
export { VOCABULARY } from "./tokens.js";
