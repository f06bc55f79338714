// Downloads: one at a time, the others wait. What has arrived is kept, whatever happens.

import { signal } from "@preact/signals";
import { store } from "minke";
import type { LoadOptions, Progress, StorageFull } from "minke";
import type { Choice } from "./choice";
import { Rate } from "./rate";
import type { Speed } from "./rate";
import type { Stored } from "./stored";
import type { Tabs } from "./tabs";

export type DownloadState = "queued" | "running" | "paused" | "failed" | "done";

export interface Download extends Speed {
  readonly choice: Choice;
  state: DownloadState;
  progress?: Progress;
  error?: unknown;
  /** Another tab fetches it: this one waits for it. */
  elsewhere?: boolean;
}

const KEY = "minke-chat-downloads";
/** Milliseconds between two changes of what is shown. */
const SHOWN = 200;
/**
 * How often a partial download is tried to be deleted, which works once its file is closed, and milliseconds between.
 */
const TRIES = 20;
const BETWEEN = 100;

export class Downloads {
  readonly list = signal<readonly Download[]>([]);
  #running: { id: string; abort: AbortController } | undefined;

  constructor(
    readonly stored: Stored,
    readonly tabs: () => Tabs,
    readonly full: (full: StorageFull) => Promise<readonly string[]>,
    readonly note: (choice: Choice, bytes?: number, duration?: number) => void,
  ) {}

  of(id: string): Download | undefined {
    return this.list.value.find(({ choice }) => choice.id === id);
  }

  /** Downloads a model, or goes on with it, once those before it are done. */
  add(choice: Choice): void {
    const known = this.list.peek().find((download) => download.choice.id === choice.id);
    if (known?.state === "running" || known?.state === "queued") return;
    this.list.value = [
      ...this.list.peek().filter((download) => download !== known),
      { choice, state: "queued", ...(known?.progress && { progress: known.progress }) },
    ];
    this.#keep();
    void this.#next();
  }

  pause(id: string): void {
    this.#change(id, { state: "paused" });
    this.#stop(id);
  }

  /** Forgets a download, but not what has arrived of it. */
  drop(id: string): void {
    this.list.value = this.list.peek().filter(({ choice }) => choice.id !== id);
    this.#keep();
    this.#stop(id);
  }

  /** Ends a download and deletes what has arrived of it. */
  async cancel(id: string): Promise<void> {
    this.drop(id);
    for (let tries = 1; ; tries++) {
      try {
        return await this.stored.remove(id);
      } catch (error) {
        if (tries === TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, BETWEEN));
      }
    }
  }

  /** Offers those that were not complete when the page was closed. */
  async restore(resolve: (id: string) => Promise<Choice>): Promise<void> {
    const elsewhere = await this.tabs().fetching();
    const kept = readKept();
    const partial = this.stored.list
      .peek()
      .filter(({ complete }) => !complete)
      .map(({ id }) => id);
    for (const id of new Set([...kept, ...partial])) {
      if (elsewhere.includes(id) || this.list.peek().some(({ choice }) => choice.id === id)) continue;
      if (this.stored.list.peek().some((model) => model.id === id && model.complete)) continue;
      const choice = await resolve(id).catch(() => undefined);
      if (choice !== undefined) this.list.value = [...this.list.peek(), { choice, state: "paused" }];
    }
    this.#keep();
  }

  async #next(): Promise<void> {
    const next = this.list.peek().find(({ state }) => state === "queued");
    if (this.#running !== undefined || next === undefined) return;
    const { choice } = next;
    const { id } = choice;
    const abort = new AbortController();
    this.#running = { id, abort };
    const elsewhere = (await this.tabs().fetching()).includes(id);
    const release = this.tabs().holdFetch(id);
    this.#change(id, { state: "running", elsewhere });
    this.note(choice);
    const rate = new Rate();
    const began = performance.now();
    let shown = 0;
    const onProgress = (progress: Progress) => {
      const now = performance.now();
      const speed = rate.take(progress, now);
      if (abort.signal.aborted || (now - shown < SHOWN && progress.loaded < progress.total)) return;
      shown = now;
      this.#change(id, { progress, elsewhere: false, ...speed });
    };
    const options: LoadOptions = {
      signal: abort.signal,
      onProgress,
      onStorageFull: this.full,
      ...(choice.integrity && { integrity: choice.integrity }),
    };
    try {
      abort.signal.throwIfAborted();
      await store.download(choice.source, options);
      this.#change(id, { state: "done" });
    } catch (error) {
      if (!abort.signal.aborted) this.#change(id, { state: "failed", error });
    }
    release();
    if (rate.fetched > 0) this.note(choice, rate.fetched, performance.now() - began);
    this.#running = undefined;
    this.#keep();
    await this.stored.refresh();
    void this.#next();
  }

  #stop(id: string): void {
    if (this.#running?.id === id) this.#running.abort.abort();
  }

  #change(id: string, { speed, left, error, ...changed }: Partial<Download>): void {
    this.list.value = this.list.peek().map((download) => {
      if (download.choice.id !== id) return download;
      const { speed: _, left: __, error: ___, ...rest } = download;
      return {
        ...rest,
        ...changed,
        ...(speed !== undefined && { speed }),
        ...(left !== undefined && { left }),
        ...(error !== undefined && { error }),
      };
    });
    if (changed.state) this.#keep();
  }

  /**
   * Remembers what is not complete for when the page is opened again; of what failed, only what has arrived is there to
   * be found.
   */
  #keep(): void {
    const ids = this.list
      .peek()
      .filter(({ state }) => state !== "done" && state !== "failed")
      .map(({ choice }) => choice.id);
    try {
      localStorage.setItem(KEY, JSON.stringify(ids));
    } catch {
      // They are then found among what is stored, if anything of them has arrived.
    }
  }
}

function readKept(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}
