// The model that answers.

import { computed, signal } from "@preact/signals";
import { load } from "minke";
import type { Model, ModelSource, Progress } from "minke";
import type { EchoScript } from "minke/testing";
import type { RequestLog } from "../data/requests";
import type { Preferences } from "./preferences";
import type { Ui } from "./ui";

export type ModelState =
  | { kind: "none"; error?: unknown }
  | { kind: "loading"; name: string; progress?: Progress; began: number }
  | { kind: "ready"; name: string; model: Model };

export class Models {
  readonly state = signal<ModelState>({ kind: "none" });
  /** The model, when there is one. */
  readonly model = computed(() => (this.state.value.kind === "ready" ? this.state.value.model : undefined));
  #loading: AbortController | undefined;

  constructor(
    readonly preferences: Preferences,
    readonly ui: Ui,
    readonly log: RequestLog,
  ) {}

  /** Loads the model that the address names: `?model=`. */
  async start(): Promise<void> {
    const query = new URLSearchParams(location.search);
    const source = query.get("model");
    if (source === "echo") {
      const { echoModel } = await import("minke/testing");
      const { echoScript: script } = globalThis as { echoScript?: EchoScript };
      const [delay, contextLength] = [Number(query.get("delay") ?? 0), Number(query.get("context") ?? 8192)];
      const model = echoModel({ delay, contextLength, ...(script && { script }) });
      this.state.value = { kind: "ready", name: "echo", model };
    } else if (source !== null) await this.load(source, source);
  }

  /** Loads a model in place of the present one. Resolves to it; to undefined if it failed, or was cancelled: `state` says why. */
  async load(source: ModelSource, name: string): Promise<Model | undefined> {
    await this.unload();
    const { signal } = (this.#loading = new AbortController());
    const began = performance.now();
    this.state.value = { kind: "loading", name, began };
    try {
      const model = await load(source, {
        signal,
        onProgress: (progress) => {
          if (!signal.aborted) this.state.value = { kind: "loading", name, progress, began };
        },
      });
      if (signal.aborted) {
        await model.unload();
        return undefined;
      }
      this.state.value = { kind: "ready", name, model };
      void model.lost.then((error) => {
        if (this.model.peek() === model) this.state.value = { kind: "none", error };
      });
      return model;
    } catch (error) {
      if (!signal.aborted) this.state.value = { kind: "none", error };
      return undefined;
    }
  }

  /** The model, once it is loaded if it is being loaded. */
  ready(): Promise<Model | undefined> {
    return new Promise((resolve) => {
      const end = this.state.subscribe((state) => {
        if (state.kind === "loading") return;
        resolve(state.kind === "ready" ? state.model : undefined);
        queueMicrotask(() => end());
      });
    });
  }

  /** Frees the model, or ends its loading; what was downloaded stays. */
  async unload(): Promise<void> {
    this.#loading?.abort();
    this.#loading = undefined;
    const model = this.model.peek();
    this.state.value = { kind: "none" };
    await model?.unload();
  }
}
