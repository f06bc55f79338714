// The model behind the page's `LanguageModel`.

import { invalid } from "../errors.js";
import { availability, load } from "../load.js";
import * as check from "../options.js";
import type { Availability, GenerateOptions, LoadOptions, Model, ModelSource } from "../types.js";

export interface InstallOptions {
  /** A loaded model, or the source of one, which the first `LanguageModel.create()` loads. */
  model: Model | ModelSource;
  /** Options of that load. */
  loadOptions?: Omit<LoadOptions, "signal">;
  /** Generation options of every session, which the API has no names for. */
  defaults?: Omit<GenerateOptions, "signal" | "tools" | "toolChoice" | "maxSteps" | "responseConstraint" | "raw">;
  /** Whether to replace a `LanguageModel` that the browser has. Default: false. */
  force?: boolean;
}

/** A fraction of the weights has arrived. */
type OnFraction = (fraction: number) => void;

/** A load that several calls wait for. It is aborted when none does. */
interface Loading {
  model: Promise<Model>;
  waiting: Set<OnFraction>;
  controller: AbortController;
}

export class Backend {
  readonly defaults: GenerateOptions;
  readonly #source: ModelSource;
  readonly #options: LoadOptions;
  #model?: Model;
  #loading?: Loading;

  constructor({ model, loadOptions = {}, defaults = {}, force: _, ...unknown }: InstallOptions) {
    for (const name of Object.keys(unknown)) throw invalid(name, "unknown option");
    if ("signal" in loadOptions) throw invalid("loadOptions.signal", "a load is aborted by the signals of create()");
    for (const name of ["signal", "tools", "toolChoice", "maxSteps", "responseConstraint", "raw"]) {
      if (name in defaults) throw invalid(`defaults.${name}`, "sessions and their calls have their own");
    }
    check.loadOptions(loadOptions);
    check.generateOptions(defaults);
    if (isModel(model)) {
      if (Object.keys(loadOptions).length > 0) throw invalid("loadOptions", "the model is loaded already");
      this.#model = model;
    }
    this.defaults = defaults;
    this.#source = model as ModelSource;
    this.#options = loadOptions;
  }

  /** The model, if it is loaded. */
  get loaded(): Model | undefined {
    return this.#model;
  }

  async availability(): Promise<Availability> {
    if (this.#model !== undefined) return "available";
    if (this.#loading !== undefined) return "downloading";
    return availability(this.#source, this.#options);
  }

  /** The model, which is loaded if it is not. */
  async model(signal: AbortSignal | undefined, onFraction: OnFraction): Promise<Model> {
    if (this.#model !== undefined) return this.#model;
    const loading = (this.#loading ??= this.#load());
    loading.waiting.add(onFraction);
    const leave = () => {
      loading.waiting.delete(onFraction);
      if (loading.waiting.size === 0) this.#abort(loading);
    };
    signal?.addEventListener("abort", leave, { once: true });
    try {
      return await loading.model;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  #load(): Loading {
    const controller = new AbortController();
    const waiting = new Set<OnFraction>();
    const model = load(this.#source, {
      ...this.#options,
      signal: controller.signal,
      onProgress: (progress) => {
        this.#options.onProgress?.(progress);
        if (progress.stage === "download") for (const onFraction of waiting) onFraction(progress.loaded / progress.total);
      },
    });
    const loading = { model, waiting, controller };
    model.then((model) => (this.#model = model), () => {}).finally(() => {
      if (this.#loading === loading) this.#loading = undefined;
    });
    return loading;
  }

  #abort(loading: Loading): void {
    if (this.#loading === loading) this.#loading = undefined;
    loading.controller.abort();
  }
}

const isModel = (given: Model | ModelSource): given is Model => typeof (given as Partial<Model>).createSession === "function";

let current: Backend | undefined;

/** The page's model. */
export const backend = (): Backend | undefined => current;

export function use(backend: Backend): void {
  current = backend;
}
