// Starts the module that makes the masks of constraints, when a model first uses one. Each model has an instance of its own.

import type { ConstraintGlue, StartGrammars } from "../wasm.js";
import { compile, type Wasm } from "./instance.js";
import { instantiate } from "../../wasm/minke_constraint.js";

/** Starts an instance of the module for a model's vocabulary. */
export function startGrammars(wasm: Wasm, fetcher: typeof fetch): StartGrammars {
  return async (bytes, lengths, ends) => {
    const glue: ConstraintGlue = instantiate((exports) => exports);
    await glue.init({ module_or_path: await compile(wasm, fetcher) });
    return new glue.Grammars(bytes, lengths, ends);
  };
}
