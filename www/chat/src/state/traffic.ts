// What the page requested, for the panel that shows it.

import { computed, effect, signal } from "@preact/signals";
import type { Mark, RequestEntry, RequestLog } from "../data/requests";
import type { Models } from "./models";

/** Requests to one origin. */
export interface Origin {
  origin: string;
  kind: "own" | "other" | "local";
  entries: readonly RequestEntry[];
  bytes: number;
  refused: number;
  last: number;
}

export class Traffic {
  readonly entries = signal<readonly RequestEntry[]>([]);
  /** When the present model became ready. */
  readonly mark = signal<Mark | undefined>(undefined);
  /** Requests since then that were sent. */
  readonly since = computed(() => {
    const mark = this.mark.value;
    return mark === undefined || this.entries.value.length === 0
      ? []
      : this.log.since(mark).filter(({ refused }) => !refused);
  });
  /** By origin: other sites first, then the page's own. */
  readonly origins = computed(() => byOrigin(this.entries.value));

  constructor(
    readonly log: RequestLog,
    models: Models,
  ) {
    const read = () => (this.entries.value = log.entries);
    // Not more often than pictures are drawn: a model comes in hundreds of parts.
    let due = false;
    log.subscribe(() => {
      if (due) return;
      due = true;
      setTimeout(() => {
        due = false;
        read();
      }, 100);
    });
    read();
    effect(() => {
      this.mark.value = models.model.value === undefined ? undefined : log.mark();
    });
  }
}

export function byOrigin(entries: readonly RequestEntry[]): Origin[] {
  const origins = new Map<string, RequestEntry[]>();
  for (const entry of entries) {
    const list = origins.get(entry.origin);
    if (list) list.push(entry);
    else origins.set(entry.origin, [entry]);
  }
  const rank = { other: 0, own: 1, local: 2 };
  return [...origins]
    .map(([origin, entries]): Origin => {
      const kind = !entries[0]!.own ? "other" : /^https?:/.test(origin) ? "own" : "local";
      return {
        origin,
        kind,
        entries,
        bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0),
        refused: entries.filter(({ refused }) => refused).length,
        last: Math.max(...entries.map(({ time }) => time)),
      };
    })
    .sort((a, b) => rank[a.kind] - rank[b.kind] || b.last - a.last);
}
