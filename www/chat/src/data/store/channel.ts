// Events within a tab and between tabs.

import type { StoreEvent, StoreListener } from "../events";

/** An event without its origin, as it is told to listeners. */
export type Told = StoreEvent extends infer E ? (E extends StoreEvent ? Omit<E, "remote"> : never) : never;

/** What tabs tell each other: events, and that every tab is to forget the key. Names nothing but ids. */
export type Broadcast = Told | { kind: "lock" };

/** Tells listeners of this tab, and of all tabs with the same database. */
export class Channel {
  readonly #listeners = new Set<StoreListener>();
  readonly #channel: BroadcastChannel;

  /** `onRemote`: called before the listeners are told what happened in another tab. */
  constructor(name: string, onRemote: (message: Broadcast) => void | Promise<void>) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = async ({ data }: MessageEvent<Broadcast>) => {
      await onRemote(data);
      this.#tell(data.kind === "lock" ? { kind: "protection" } : data, true);
    };
  }

  subscribe(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells listeners of this tab and, unless it is `local`, the other tabs. */
  emit(event: Told, local = false): void {
    if (!local) this.broadcast(event);
    this.#tell(event, false);
  }

  broadcast(message: Broadcast): void {
    this.#channel.postMessage(message);
  }

  close(): void {
    this.#channel.close();
  }

  #tell(event: Told, remote: boolean): void {
    for (const listener of [...this.#listeners]) listener({ ...event, remote } as StoreEvent);
  }
}
