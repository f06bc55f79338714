// How fast bytes arrive.

import type { Progress } from "minke";

/** Milliseconds over which a speed is taken. */
const WINDOW = 8_000;
/** Milliseconds before there is a speed to show. */
const FIRST = 800;

export interface Speed {
  /** Bytes a second over the network. */
  speed?: number;
  /** Milliseconds to the end of the stage. */
  left?: number;
}

/** Counts what comes over the network; what was on this device already does not count. */
export class Rate {
  #samples: { time: number; bytes: number }[] = [];
  #stage: Progress["stage"] | undefined;
  #loaded = 0;
  /** Bytes of the stage that came over the network. */
  #fetched = 0;
  /** Those of all stages. */
  fetched = 0;

  take({ stage, loaded, total, fromCache }: Progress, now = performance.now()): Speed {
    if (stage !== this.#stage) {
      this.#stage = stage;
      this.#loaded = this.#fetched = 0;
      this.#samples = [{ time: now, bytes: 0 }];
    }
    if (!fromCache && stage === "download") {
      this.#fetched += loaded - this.#loaded;
      this.fetched += loaded - this.#loaded;
    }
    this.#loaded = loaded;
    if (stage !== "download" || fromCache) return {};
    this.#samples.push({ time: now, bytes: this.#fetched });
    while (this.#samples.length > 2 && this.#samples[1]!.time < now - WINDOW) this.#samples.shift();
    const { time, bytes } = this.#samples[0]!;
    const speed = now - time < FIRST ? 0 : (1000 * (this.#fetched - bytes)) / (now - time);
    return speed > 0 ? { speed, left: (1000 * (total - loaded)) / speed } : {};
  }
}
