// A preset while it is edited: texts of fields, and what is wrong with them.

import { computed, signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import type { Preset, Sampling } from "../data/types";
import { format, t } from "../i18n";

export type NumberName = Exclude<keyof Sampling, "stop">;
export type FieldName = NumberName | "name" | "budget";

interface Range {
  whole?: true;
  least?: number;
  above?: number;
  most?: number;
  below?: number;
}

const SAFE = Number.MAX_SAFE_INTEGER;
/** What the package accepts. */
export const RANGES: Record<NumberName | "budget", Range> = {
  temperature: { least: 0 },
  topP: { above: 0, most: 1 },
  topK: { whole: true, least: 0, most: 2 ** 32 - 1 },
  minP: { least: 0, below: 1 },
  repetitionPenalty: { least: 1e-6, most: 1e6 },
  presencePenalty: { least: -1e6, most: 1e6 },
  frequencyPenalty: { least: -1e6, most: 1e6 },
  seed: { whole: true, least: 0, most: SAFE },
  maxTokens: { whole: true, least: 1, most: SAFE },
  budget: { whole: true, least: 0, most: SAFE },
};
export const NUMBERS = Object.keys(RANGES).filter((name) => name !== "budget") as NumberName[];

type Reasoning = "auto" | "none" | "budget";

export class PresetForm {
  readonly fields: Record<FieldName, Signal<string>>;
  readonly system;
  readonly stop;
  readonly reasoning;
  /** Whether problems of fields that were not left yet are shown: the user tried to save. */
  readonly tried = signal(false);
  readonly left = signal<ReadonlySet<FieldName>>(new Set());
  readonly problems = computed(() => this.#problems());

  constructor(
    readonly preset: Preset,
    readonly isNew: boolean,
  ) {
    const { name, system, sampling, reasoning } = preset;
    const text = (value: number | undefined): Signal<string> => signal(value === undefined ? "" : String(value));
    this.fields = {
      ...(Object.fromEntries(NUMBERS.map((name) => [name, text(sampling[name])])) as Record<
        NumberName,
        Signal<string>
      >),
      name: signal(name),
      budget: text(typeof reasoning === "number" ? reasoning : undefined),
    };
    this.system = signal(system);
    this.stop = signal((sampling.stop ?? []).map(escape).join("\n"));
    this.reasoning = signal<Reasoning>(typeof reasoning === "number" ? "budget" : reasoning);
  }

  /** What is wrong with a field, once it may be said. */
  shown(name: FieldName): string | undefined {
    return this.tried.value || this.left.value.has(name) ? this.problems.value.get(name) : undefined;
  }

  leave(name: FieldName): void {
    this.left.value = new Set([...this.left.peek(), name]);
  }

  #problems(): ReadonlyMap<FieldName, string> {
    const words = t.value.settings.presets;
    const found = new Map<FieldName, string>();
    if (this.fields.name.value.trim() === "") found.set("name", words.needName);
    const names: (NumberName | "budget")[] = this.reasoning.value === "budget" ? [...NUMBERS, "budget"] : NUMBERS;
    for (const name of names) {
      const text = this.fields[name].value;
      if (text.trim() === "" && name !== "budget") continue;
      const problem = problemOf(parse(text), RANGES[name]);
      if (problem !== undefined) found.set(name, problem);
    }
    return found;
  }

  /** The preset as it is in the form; undefined if something is wrong with it, which is then shown. */
  result(): Preset | undefined {
    this.tried.value = true;
    if (this.problems.peek().size > 0) return undefined;
    const sampling: Sampling = {};
    for (const name of NUMBERS)
      if (this.fields[name].peek().trim() !== "") sampling[name] = parse(this.fields[name].peek());
    const stop = this.stop
      .peek()
      .split("\n")
      .map(unescape)
      .filter((word) => word !== "");
    if (stop.length > 0) sampling.stop = stop;
    const reasoning = this.reasoning.peek();
    return {
      ...this.preset,
      name: this.fields.name.peek().trim(),
      system: this.system.peek(),
      sampling,
      reasoning: reasoning === "budget" ? parse(this.fields.budget.peek()) : reasoning,
    };
  }
}

/** A number as people write it: with a comma, too. NaN if it is none. */
function parse(text: string): number {
  const plain = text.trim().replace(",", ".");
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(plain) ? Number(plain) : NaN;
}

function problemOf(
  value: number,
  { whole, least = -Infinity, above = -Infinity, most = Infinity, below = Infinity }: Range,
): string | undefined {
  const words = t.value.settings.presets;
  if (!Number.isFinite(value)) return whole ? words.badWhole : words.badNumber;
  if (whole && !Number.isInteger(value)) return words.badWhole;
  if (value >= least && value > above && value <= most && value < below) return undefined;
  const shown = (number: number) => format.value.number(number, number !== 0 && Math.abs(number) < 1 ? 6 : 0);
  if (above !== -Infinity) return words.range.aboveTo(shown(above), shown(most));
  if (below !== Infinity) return words.range.toBelow(shown(least), shown(below));
  return most === Infinity ? words.range.least(shown(least)) : words.range.between(shown(least), shown(most));
}

// A stop word may be a line break, and stands on one line all the same.
const escape = (word: string): string => word.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
const unescape = (line: string): string =>
  line.replace(/\\([\\nt])/g, (_, sign: string) => ({ n: "\n", t: "\t" })[sign] ?? "\\");
