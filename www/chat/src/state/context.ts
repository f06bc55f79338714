// How full the model's context is.

import { computed, effect, signal } from "@preact/signals";
import type { Model } from "minke";
import type { Message } from "../data/types";
import { promptOf, reserved, tokensOf } from "./prompt";

export interface ContextUse {
  /** Tokens of the branch that is shown, as the model would read it next. */
  used: number;
  limit: number;
}

/** Milliseconds without a change before tokens are counted. */
const REST = 250;

export class Context {
  readonly use = signal<ContextUse | undefined>(undefined);
  readonly share = computed(() => (this.use.value ? Math.min(1, this.use.value.used / this.use.value.limit) : 0));
  /** Whether the next answer may not fit. */
  readonly full = computed(() => {
    const use = this.use.value;
    return use !== undefined && use.used > use.limit - reserved(use.limit);
  });

  constructor(
    model: () => Model | undefined,
    path: () => readonly Message[],
    system: () => string,
    busy: () => boolean,
  ) {
    let timer: ReturnType<typeof setTimeout>;
    let latest = 0;
    effect(() => {
      const [current, messages, instructions] = [model(), path(), system()];
      clearTimeout(timer);
      const run = ++latest;
      if (current === undefined) {
        this.use.value = undefined;
        return;
      }
      if (busy()) return;
      const limit = current.info.contextLength;
      timer = setTimeout(async () => {
        const used = await tokensOf(current, promptOf(instructions, messages), undefined).catch(() => undefined);
        if (run === latest && used !== undefined) this.use.value = { used, limit };
      }, REST);
    });
  }
}
