// What other tabs of this page do: each holds a lock for the model that it has, and for each one that it fetches.

import { newId } from "../data/ids";
import { signal } from "@preact/signals";

const MODEL = "minke-chat-model:";
const FETCH = "minke-chat-fetch:";
/** Milliseconds that another tab may take to free its model, and between two looks. */
const PATIENCE = 5_000;
const BETWEEN = 100;

type Told = { kind: "free" } | { kind: "changed" };

export class Tabs {
  /** Names of the models that other tabs have loaded. */
  readonly others = signal<readonly string[]>([]);
  readonly #id = newId();
  readonly #channel = new BroadcastChannel("minke-chat-models");

  /**
   * `onFree`: another tab asks for the memory of this one's model. `onChange`: another tab fetched or deleted models.
   */
  constructor(onFree: () => Promise<void>, onChange: () => void) {
    this.#channel.onmessage = ({ data }: MessageEvent<Told>) => {
      void this.look();
      if (data.kind === "free") void onFree().then(() => this.changed());
      else onChange();
    };
  }

  /** Says that this tab has a model. Returns what takes it back. */
  holdModel(name: string): () => void {
    return this.#hold(MODEL, name);
  }

  /** Says that this tab is fetching a model. Returns what takes it back. */
  holdFetch(id: string): () => void {
    return this.#hold(FETCH, id);
  }

  /** Tells other tabs that models were loaded, freed, fetched or deleted. */
  changed(): void {
    this.#channel.postMessage({ kind: "changed" } satisfies Told);
  }

  /** Looks what models other tabs have. */
  async look(): Promise<readonly string[]> {
    return (this.others.value = await this.#held(MODEL));
  }

  /** The ids of the models that other tabs are fetching. */
  fetching(): Promise<string[]> {
    return this.#held(FETCH);
  }

  /** Asks other tabs to free their models. Resolves to whether they did. */
  async free(): Promise<boolean> {
    this.#channel.postMessage({ kind: "free" } satisfies Told);
    for (let waited = 0; waited < PATIENCE; waited += BETWEEN) {
      if ((await this.look()).length === 0) return true;
      await new Promise((resolve) => setTimeout(resolve, BETWEEN));
    }
    return false;
  }

  #hold(kind: string, name: string): () => void {
    let end = () => {};
    const held = new Promise<void>((resolve) => (end = resolve));
    // A page from neither https:// nor localhost has no locks, and knows nothing of other tabs.
    void navigator.locks?.request(`${kind}${this.#id}:${name}`, { mode: "shared" }, () => {
      this.changed();
      return held;
    });
    return () => {
      end();
      setTimeout(() => this.changed());
    };
  }

  async #held(kind: string): Promise<string[]> {
    const all = (await navigator.locks?.query().catch(() => undefined))?.held ?? [];
    return all
      .map(({ name = "" }) => name)
      .filter((name) => name.startsWith(kind) && !name.startsWith(kind + this.#id))
      .map((name) => name.slice(name.indexOf(":", kind.length) + 1));
  }
}
