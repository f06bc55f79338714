// `minke/testing`: a model without GPU, weights or wasm, for tests of applications.

import { Connection, nextId } from "../connection.js";
import { EchoEngine, VOCABULARY, type EchoCall, type EchoScript, type EchoTurn } from "../echo/index.js";
import { invalid } from "../errors.js";
import { RemoteModel } from "../model.js";
import type { Model, ModelInfo } from "../types.js";

export type { EchoCall, EchoScript, EchoTurn };

export interface EchoOptions {
  /** What the model answers, instead of the last user message: a function, or a list with a turn for each call. */
  script?: EchoScript;
  /** Milliseconds before each token; default 0. */
  delay?: number;
  /** Default "echo". */
  id?: string;
  /** Tokens that the context holds; default 8192. */
  contextLength?: number;
  /** What `model.info.capabilities` says; default all true. */
  capabilities?: Partial<ModelInfo["capabilities"]>;
}

/**
 * A model that answers with the last user message, or by a script. A token is a byte of UTF-8. Options are checked as those of
 * a loaded model, and `maxOutputTokens`, `stopSequences`, `signal`, `reasoning`, `logprobs`, tools and constraints have their effect;
 * those of sampling have none.
 */
export function echoModel(options: EchoOptions = {}): Model {
  const { script, delay = 0, id = "echo", contextLength = 8192, capabilities, ...unknown } = options;
  for (const name of Object.keys(unknown)) throw invalid(name, "unknown option");
  if (script !== undefined && typeof script !== "function" && !Array.isArray(script)) throw invalid("script", "expected a list or a function");
  if (!(delay >= 0)) throw invalid("delay", "expected milliseconds");
  if (!Number.isInteger(contextLength) || contextLength < 1) throw invalid("contextLength", "expected a whole number of at least 1");
  const connection = Connection.local((post) => {
    const engine = new EchoEngine({ script, delay, contextLength }, post);
    return (request) => engine.handle(request);
  });
  const info: ModelInfo = {
    architecture: "echo", parameters: 0, activeParameters: 0, quantization: "none", contextLength, vocabSize: VOCABULARY, format: "safetensors",
    device: { kind: "cpu", name: "echo", reason: "the echo model computes nothing" },
    capabilities: { chat: true, tools: true, reasoning: true, ...capabilities }, warnings: [],
  };
  return new RemoteModel(connection, nextId(), { id, info }, { weights: 0, kv: 0, scratch: 0 });
}
