// Event targets: handlers, and the progress of `create`.

import type { CreateMonitor, EventHandler } from "./types.js";

/** An event handler attribute: the handler is called in the place of the listener that this adds. */
export class Handler {
  value: EventHandler = null;

  constructor(target: EventTarget, type: string) {
    target.addEventListener(type, (event) => this.value?.call(target, event));
  }
}

class Monitor extends EventTarget implements CreateMonitor {
  readonly #handler = new Handler(this, "downloadprogress");

  get ondownloadprogress(): EventHandler {
    return this.#handler.value;
  }

  set ondownloadprogress(handler: EventHandler) {
    this.#handler.value = handler;
  }
}

/** Fractions are rounded down to multiples of this. */
const STEP = 1 / 0x10000;

/** Shows a monitor to its callback; returns what dispatches events. Each has a larger fraction than the one before. */
export function monitored(callback: ((monitor: CreateMonitor) => void) | undefined, signal: AbortSignal | undefined): (fraction: number) => void {
  if (callback === undefined) return () => {};
  const monitor = new Monitor();
  callback(monitor);
  let last = -1;
  return (fraction) => {
    const loaded = Math.floor(fraction / STEP) * STEP;
    if (!(loaded > last) || signal?.aborted) return;
    last = loaded;
    monitor.dispatchEvent(progressEvent({ lengthComputable: true, loaded, total: 1 }));
  };
}

/** A `ProgressEvent`, where the platform has the class. */
function progressEvent(init: { lengthComputable: boolean; loaded: number; total: number }): Event {
  if (typeof ProgressEvent === "function") return new ProgressEvent("downloadprogress", init);
  return Object.assign(new Event("downloadprogress"), init);
}
