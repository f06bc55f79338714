// What models would cost on this device, and whether they would run: from their headers, before a weight is fetched.

import { signal } from "@preact/signals";
import { deviceInfo, estimate } from "minke";
import type { DeviceInfo, Estimate, LoadOptions } from "minke";
import type { Choice } from "./choice";
import { isLocal } from "./choice";
import type { Stored } from "./stored";

/** Estimates that run at a time: each starts an engine. */
const AT_ONCE = 2;
/** Milliseconds after which an estimate is made again, if there is a network. */
const AGE = 7 * 24 * 3600 * 1000;
const KEY = "minke-chat-estimates";

export type Estimated =
  | { kind: "working" }
  | { kind: "known"; estimate: Estimate; time: number }
  /** It could not be made: without a network, or since files are missing. */
  | { kind: "failed"; error: unknown };

interface Kept {
  /** The device that they were made for. */
  device: string;
  all: Record<string, { time: number; estimate: Estimate }>;
}

export class Estimates {
  readonly all = signal<ReadonlyMap<string, Estimated>>(new Map());
  readonly device = signal<DeviceInfo | undefined>(undefined);
  #running = 0;
  /** Those whose estimate failed. */
  readonly #failed = new Map<string, Choice>();
  readonly #queue: Choice[] = [];
  #kept: Promise<Kept> | undefined;

  constructor(
    readonly stored: Stored,
    readonly options: Pick<LoadOptions, "device">,
    readonly note: (choice: Choice) => void,
  ) {}

  /** Describes the device, once. */
  async describe(): Promise<DeviceInfo> {
    return (this.device.value ??= await deviceInfo());
  }

  /** Makes the estimate of a model, unless it is known. `again`: even if it failed before, or files changed. */
  async want(choice: Choice, again = false): Promise<void> {
    const known = this.all.peek().get(choice.id);
    if (known !== undefined && (known.kind === "working" || !again)) return;
    this.#failed.delete(choice.id);
    this.#set(choice.id, { kind: "working" });
    const kept = isLocal(choice) ? undefined : (await this.#read()).all[key(choice)];
    if (kept !== undefined && (Date.now() - kept.time < AGE || !navigator.onLine))
      return this.#set(choice.id, { kind: "known", ...kept });
    this.#queue.push(choice);
    this.#next();
  }

  /** Makes those again that failed: there is a network now. */
  retry(): void {
    for (const choice of [...this.#failed.values()]) void this.want(choice, true);
  }

  #next(): void {
    if (this.#running >= AT_ONCE) return;
    const choice = this.#queue.shift();
    if (choice === undefined) return;
    this.#running++;
    void this.#make(choice).finally(() => {
      this.#running--;
      this.#next();
    });
    this.#next();
  }

  async #make(choice: Choice): Promise<void> {
    try {
      this.note(choice);
      const { cachedBytes: _, ...made } = await estimate(choice.source, this.options);
      // What is stored, and what may be, changes: it is not part of what is kept.
      const known = { time: Date.now(), estimate: { ...made, cachedBytes: 0, ...withoutStorage(made) } };
      this.#set(choice.id, { kind: "known", ...known });
      if (isLocal(choice)) return;
      const kept = await this.#read();
      kept.all[key(choice)] = known;
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch (error) {
      // A full localStorage is no reason to forget what is known.
      if (this.all.peek().get(choice.id)?.kind === "known") return;
      this.#failed.set(choice.id, choice);
      this.#set(choice.id, { kind: "failed", error });
    }
  }

  /** What is kept for this device. */
  #read(): Promise<Kept> {
    return (this.#kept ??= (async () => {
      const { device, vendor, architecture, threads, maxBufferSize, maxStorageBufferBindingSize, shaderF16 } =
        await this.describe();
      const facts = [
        device,
        vendor,
        architecture,
        threads,
        maxBufferSize,
        maxStorageBufferBindingSize,
        shaderF16,
        this.options.device ?? "auto",
      ];
      const mine = facts.join(" ");
      try {
        const kept = JSON.parse(localStorage.getItem(KEY) ?? "") as Kept;
        if (kept.device === mine && typeof kept.all === "object") return kept;
      } catch {
        // None, or none that can be read.
      }
      return { device: mine, all: {} };
    })());
  }

  #set(id: string, estimated: Estimated): void {
    this.all.value = new Map(this.all.peek()).set(id, estimated);
  }

  /** An estimate with what is stored now. */
  now(choice: Choice): Estimated | undefined {
    const known = this.all.value.get(choice.id);
    if (known?.kind !== "known" || isLocal(choice)) return known;
    const made = known.estimate;
    const cachedBytes = Math.min(made.downloadBytes, this.stored.of(choice.id)?.bytes ?? 0);
    const { used = 0, quota = 0 } = this.stored.usage.value ?? {};
    const missing = made.downloadBytes - cachedBytes;
    if (quota === 0 || missing <= quota - used) return { ...known, estimate: { ...made, cachedBytes } };
    const message = `${missing} bytes would have to be stored; this origin may store ${Math.max(0, quota - used)} more`;
    const fit = made.fit === "yes" ? "tight" : made.fit;
    return {
      ...known,
      estimate: { ...made, cachedBytes, fit, reasons: [...made.reasons, { code: "storage", message }] },
    };
  }
}

const key = ({ id, entry }: Choice) => `${id}@${entry?.revision ?? "main"}`;

/** An estimate's verdict without what storage had to do with it. */
function withoutStorage({ fit, reasons }: Pick<Estimate, "fit" | "reasons">): Pick<Estimate, "fit" | "reasons"> {
  const others = reasons.filter(({ code }) => code !== "storage");
  return { reasons: others, fit: fit === "tight" && others.length === 0 ? "yes" : fit };
}
