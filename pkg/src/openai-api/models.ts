// The models that requests name.

import type { Model } from "../types.js";
import { now } from "./common.js";
import { ApiError } from "./errors.js";
import { isObject, missing } from "./params.js";

/** A loaded model, a promise of one, or a function that loads it when it is first used. */
export type Models = Record<string, Model | Promise<Model> | (() => Model | Promise<Model>)>;

interface ModelObject {
  id: string;
  object: "model";
  created: number;
  owned_by: "minke";
}

export class Registry {
  readonly #models: Models;
  readonly #loading = new Map<string, Promise<Model>>();
  readonly #created = now();

  constructor(models: Models) {
    this.#models = models;
  }

  list(): { object: "list"; data: ModelObject[] } {
    return { object: "list", data: Object.keys(this.#models).map((id) => this.entry(id)) };
  }

  entry(id: string): ModelObject {
    this.#known(id);
    return { id, object: "model", created: this.#created, owned_by: "minke" };
  }

  /** The name in a request's body. Throws if there is no such model. */
  named(body: unknown): string {
    const name = isObject(body) ? (body.model ?? undefined) : undefined;
    if (typeof name !== "string") return missing("model");
    this.#known(name);
    return name;
  }

  /** Loads a model if it is not yet loaded; after a failure, the next request tries again. */
  get(id: string): Promise<Model> {
    const source = this.#models[id]!;
    if (typeof source !== "function") return Promise.resolve(source);
    const loading = this.#loading.get(id) ?? Promise.resolve().then(source);
    this.#loading.set(id, loading);
    loading.catch(() => this.#loading.delete(id));
    return loading;
  }

  #known(id: string): void {
    if (!Object.hasOwn(this.#models, id)) throw new ApiError(404, `there is no model ${JSON.stringify(id)}; there are ${Object.keys(this.#models).map((id) => JSON.stringify(id)).join(", ") || "none"}`, { code: "model_not_found", param: "model" });
  }
}
