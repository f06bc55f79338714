// What happens while a model loads, as a bar can show it.

import type { Progress } from "./types.js";

type Stage = Progress["stage"];

/** Passes on the progress of the given stages in their order; what a later one says too early waits for its turn. */
export class Meter {
  readonly #held = new Map<Stage, Progress>();
  #shown?: Progress;

  constructor(
    readonly post: (progress: Progress) => void,
    readonly stages: Stage[],
  ) {}

  report(progress: Progress): void {
    if (progress.stage !== this.stages[0]) {
      if (this.stages.includes(progress.stage)) this.#held.set(progress.stage, progress);
      return;
    }
    const total = this.#shown?.total ?? progress.total;
    const loaded = Math.min(progress.loaded, total);
    if (loaded <= (this.#shown?.loaded ?? 0)) return;
    this.#shown = { ...progress, loaded, total };
    this.post(this.#shown);
    if (loaded === total) this.#next();
  }

  /** There is nothing to do in a stage. */
  skip(stage: Stage): void {
    if (this.stages[0] === stage) this.#next();
    else if (this.stages.includes(stage)) this.stages.splice(this.stages.indexOf(stage), 1);
  }

  /** All that was to be done before a stage has been. */
  end(stage: Stage): void {
    while (this.stages.length > 0 && this.stages[0] !== stage) {
      const shown = this.#shown;
      if (shown !== undefined) this.post({ ...shown, loaded: shown.total });
      this.#next();
    }
  }

  #next(): void {
    this.stages.shift();
    this.#shown = undefined;
    const held = this.#held.get(this.stages[0]!);
    if (held !== undefined) this.report(held);
  }
}
