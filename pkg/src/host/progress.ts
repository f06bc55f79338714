// Orders the progress reports of a load by stage, so that a progress bar can show them.

import type { Progress } from "../types.js";

type Stage = Progress["stage"];

/** Forwards the progress of the given stages in order; reports of a later stage are held back until it is current. */
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

  /** Skips a stage that has nothing to do. */
  skip(stage: Stage): void {
    if (this.stages[0] === stage) this.#next();
    else if (this.stages.includes(stage)) this.stages.splice(this.stages.indexOf(stage), 1);
  }

  /** Ends all stages before this one. */
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
