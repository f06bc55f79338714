// The options of `create`, `availability` and `prompt`.

import { dictionary, enumeration, required, sequence, signalOf } from "./idl.js";
import { exception } from "./errors.js";
import { converted, TYPES, validated } from "./prompt.js";
import { toolsOf, type Tools } from "./tools.js";
import type { LanguageModelCreateOptions, LanguageModelMessageType, LanguageModelSamplingMode } from "./types.js";
import type { Constraint, GenerateOptions, InputMessage } from "../types.js";

const MODES: Record<LanguageModelSamplingMode, GenerateOptions> = {
  "most-predictable": { temperature: 0 },
  predictable: { temperature: 0.4 },
  balanced: {},
  creative: { temperature: 1 },
  "most-creative": { temperature: 1.3 },
};

interface Expected {
  type: LanguageModelMessageType;
  languages: string[];
}

/** Options that decide whether a session can be created. */
export interface CoreOptions {
  samplingMode: LanguageModelSamplingMode;
  sampling: GenerateOptions;
  /** Why the sampling options cannot be used, if they cannot. */
  badSampling?: RangeError;
  inputs: Expected[];
  outputs: Expected[];
  tools?: Tools;
}

export interface CreateOptions extends CoreOptions {
  signal?: AbortSignal;
  monitor?: NonNullable<LanguageModelCreateOptions["monitor"]>;
  initialPrompts: InputMessage[];
}

export function coreOptions(given: unknown): CoreOptions {
  const options = dictionary(given, "options");
  const { samplingMode, topK, temperature, tools: list } = options;
  if (samplingMode !== undefined && (topK !== undefined || temperature !== undefined)) throw new TypeError("samplingMode excludes topK and temperature");
  const mode = samplingMode === undefined ? "balanced" : enumeration(samplingMode, Object.keys(MODES) as LanguageModelSamplingMode[], "samplingMode");
  const inputs = expectedOf(options["expectedInputs"], "expectedInputs");
  const outputs = expectedOf(options["expectedOutputs"], "expectedOutputs");
  const tools = list === undefined ? undefined : toolsOf(list);
  if (tools !== undefined && !outputs.some(({ type }) => type === "tool-call")) throw new TypeError('tools need { type: "tool-call" } in expectedOutputs');
  return { samplingMode: mode, ...samplingOf(topK, temperature, MODES[mode]), inputs, outputs, tools };
}

export function createOptions(given: unknown): CreateOptions {
  const core = coreOptions(given);
  const { signal, monitor, initialPrompts } = dictionary(given, "options");
  if (monitor !== undefined && typeof monitor !== "function") throw new TypeError("monitor is not a function");
  const prompts = initialPrompts === undefined ? [] : converted(sequence(initialPrompts, "initialPrompts"));
  const initial = prompts.length === 0 ? [] : validated(prompts, { types: acceptedTypes(core), system: true });
  if (initial.at(-1)?.prefix) throw exception("NotSupportedError", "initialPrompts cannot end with a prefix: only prompt() continues it");
  return {
    ...core,
    signal: signalOf(signal, "options"),
    ...(monitor !== undefined && { monitor: monitor as CreateOptions["monitor"] }),
    initialPrompts: initial,
  };
}

/** The types of content that a session accepts. */
export const acceptedTypes = ({ inputs }: CoreOptions): Set<LanguageModelMessageType> => new Set(["text", ...inputs.map(({ type }) => type)]);

function expectedOf(given: unknown, what: string): Expected[] {
  if (given === undefined) return [];
  return sequence(given, what).map((item) => {
    const expected = dictionary(item, what);
    const type = enumeration(required(expected, "type", what), TYPES, `${what}.type`);
    const { languages } = expected;
    return { type, languages: languages === undefined ? [] : Intl.getCanonicalLocales(sequence(languages, `${what}.languages`).map(String)) };
  });
}

/** Fractions of `topK` are dropped, and infinite values mean the largest there are. */
function samplingOf(topK: unknown, temperature: unknown, mode: GenerateOptions): Pick<CoreOptions, "sampling" | "badSampling"> {
  const sampling = { ...mode };
  if (topK !== undefined) {
    const number = Math.trunc(numberOf(topK, "topK"));
    if (number < 1) return { sampling, badSampling: new RangeError("topK is below 1") };
    sampling.topK = Math.min(number, 0xffffffff);
  }
  if (temperature !== undefined) {
    const number = numberOf(temperature, "temperature");
    if (number < 0) return { sampling, badSampling: new RangeError("temperature is below 0") };
    sampling.temperature = Math.min(number, HOTTEST);
  }
  return { sampling };
}

/** Above this temperature, all tokens are about equally probable. */
const HOTTEST = 100;

function numberOf(value: unknown, what: string): number {
  const number = Number(value);
  if (Number.isNaN(number)) throw new TypeError(`${what} is not a number`);
  return number;
}

/** Whether the platform knows a language. Models do not say which ones they speak. */
export function isLanguage(tag: string): boolean {
  const { language } = new Intl.Locale(tag);
  return new Intl.DisplayNames("en", { type: "language", fallback: "none" }).of(language) !== undefined;
}

export interface PromptOptions {
  signal?: AbortSignal;
  constraint?: Constraint;
  /** Words about the constraint for the model. */
  instruction?: string;
}

export function promptOptions(given: unknown): PromptOptions {
  const options = dictionary(given, "options");
  const { responseConstraint, omitResponseConstraintInput } = options;
  const signal = signalOf(options["signal"], "options");
  if (responseConstraint === undefined || responseConstraint === null) {
    if (omitResponseConstraintInput) throw new TypeError("omitResponseConstraintInput needs a responseConstraint");
    return { signal };
  }
  if (typeof responseConstraint !== "object") throw new TypeError("responseConstraint is not an object");
  const { constraint, instruction } = constraintOf(responseConstraint);
  return { signal, constraint, ...(!omitResponseConstraintInput && { instruction }) };
}

function constraintOf(given: object): { constraint: Constraint; instruction: string } {
  if (given instanceof RegExp) return { constraint: given, instruction: `Answer with text that matches the regular expression ${given}.` };
  let json: string | undefined;
  try {
    json = JSON.stringify(given);
  } catch (error) {
    throw exception("NotSupportedError", "responseConstraint cannot be written as JSON", error);
  }
  if (json === undefined) throw new TypeError("responseConstraint is neither a schema nor a regular expression");
  return { constraint: { json: JSON.parse(json) as object }, instruction: `Answer in JSON that is valid by this schema: ${json}` };
}
