// What WebLLM's applications configure: models, and options of models.

import { invalid, unsupported } from "../errors.js";
import type { LoadOptions, Model, ModelSource } from "../types.js";

export interface InitProgressReport {
  /** From 0 to 1. */
  progress: number;
  /** Seconds since the load began. */
  timeElapsed: number;
  text: string;
}
export type InitProgressCallback = (report: InitProgressReport) => void;

export interface ModelRecord {
  model_id: string;
  /** Where the model comes from; WebLLM's compiled models cannot be read. */
  model: ModelSource;
  overrides?: ChatOptions;
}

export interface AppConfig {
  model_list: ModelRecord[];
}

/** Options of a model: the context's length, and defaults of its calls. */
export interface ChatOptions {
  context_window_size?: number;
  temperature?: number;
  top_p?: number;
  repetition_penalty?: number;
  frequency_penalty?: number;
  presence_penalty?: number;
}

export interface MLCEngineConfig {
  appConfig?: AppConfig;
  initProgressCallback?: InitProgressCallback;
  /** Without effect: nothing is logged. */
  logLevel?: string;
  /** Further options of Minke's `load`, such as `device`. */
  loadOptions?: Omit<LoadOptions, "onProgress" | "contextLength" | "signal">;
}

/** Models by the names that applications offer; any other name is a source of its own. */
export const prebuiltAppConfig: AppConfig = {
  model_list: [
    "HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM3-3B", "ibm-granite/granite-3.0-1b-a400m-instruct", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "Qwen/Qwen3-8B",
    "openai/gpt-oss-20b", "Qwen/Qwen3-30B-A3B",
  ].map((model) => ({ model_id: model.split("/")[1]!, model })),
};

/** The entry of a list with a model's name. */
export function recordOf(source: ModelSource | Model, { model_list } = prebuiltAppConfig): ModelRecord | undefined {
  return model_list.find(({ model_id }) => model_id === source);
}

/** The source of a model that is named in a list or is a source itself. Addresses of pages of the hub stand for their repositories. */
export function sourceOf(source: ModelSource, appConfig?: AppConfig): ModelSource {
  const model = recordOf(source, appConfig)?.model ?? source;
  const page = typeof model === "string" ? /^https:\/\/huggingface\.co\/([^/]+\/[^/]+?)(?:\/resolve\/([^/]+))?\/?$/.exec(model) : null;
  return page === null ? model : { repo: page[1]!, ...(page[2] !== undefined && { revision: page[2] }) };
}

const OPTIONS: readonly string[] = ["context_window_size", "temperature", "top_p", "repetition_penalty", "frequency_penalty", "presence_penalty"] satisfies (keyof ChatOptions)[];

/** Options without those that are absent. Throws "feature" for one that Minke's models do not have. */
export function checkedOptions(given: ChatOptions = {}): ChatOptions {
  const present = Object.entries(given).filter(([, value]) => value !== undefined && value !== null);
  for (const [name] of present) if (!OPTIONS.includes(name)) throw unsupported(name, `models have these options here: ${OPTIONS.join(", ")}`);
  return Object.fromEntries(present);
}

const FIELDS: readonly string[] = ["appConfig", "initProgressCallback", "logLevel", "loadOptions"] satisfies (keyof MLCEngineConfig)[];

export function checkedConfig(given: MLCEngineConfig): MLCEngineConfig {
  for (const name of Object.keys(given)) if (!FIELDS.includes(name)) throw unsupported(name, "this field of the configuration is not supported");
  if (given.initProgressCallback !== undefined && typeof given.initProgressCallback !== "function") throw invalid("initProgressCallback", "expected a function");
  return { ...given };
}

export const isModel = (source: ModelSource | Model): source is Model => typeof source === "object" && "stream" in source && "tokenizer" in source;
