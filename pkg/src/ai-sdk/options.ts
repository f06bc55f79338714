// Translates the options of a call.

import type { JSONObject, LanguageModelV4CallOptions, LanguageModelV4FunctionTool, SharedV4Warning } from "@ai-sdk/provider";
import { invalid } from "../errors.js";
import { plainSchema } from "../schema.js";
import { messagesOf } from "./prompt.js";
import type { GenerateOptions, InputMessage, Model, Tool, ToolChoice } from "../types.js";

/** Options that the AI SDK has no names for. */
export type MinkeOptions = Pick<GenerateOptions, "minP" | "repetitionPenalty" | "logitBias" | "logprobs" | "reasoning" | "templateArgs" | "responseConstraint">;

const NAMES: Record<keyof MinkeOptions, true> = {
  minP: true, repetitionPenalty: true, logitBias: true, logprobs: true, reasoning: true, templateArgs: true, responseConstraint: true,
};

/** Refuses unknown names. The model checks values. */
export function checkedOptions(given: MinkeOptions | JSONObject, where: string): MinkeOptions {
  for (const name of Object.keys(given)) if (!Object.hasOwn(NAMES, name)) throw invalid(`${where}.${name}`, "unknown option");
  return given as MinkeOptions;
}

/** Tokens of reasoning at most, and the name that templates know. */
const EFFORTS: Record<"minimal" | "low" | "medium" | "high" | "xhigh" | "max", { maxTokens?: number; name: string }> = {
  minimal: { maxTokens: 128, name: "low" },
  low: { maxTokens: 512, name: "low" },
  medium: { maxTokens: 2048, name: "medium" },
  high: { maxTokens: 8192, name: "high" },
  xhigh: { maxTokens: 32768, name: "high" },
  max: { name: "high" },
};

/** A call in the terms of this package. */
interface Call {
  input: InputMessage[];
  options: GenerateOptions;
  warnings: SharedV4Warning[];
}

export function callOf(model: Model, defaults: MinkeOptions, given: LanguageModelV4CallOptions): Call {
  const warnings: SharedV4Warning[] = [];
  const warn = (feature: string, details: string) => void warnings.push({ type: "unsupported", feature, details });
  const own = checkedOptions(given.providerOptions?.["minke"] ?? {}, "providerOptions.minke");
  const minke = { ...defaults, ...(own.reasoning === undefined && reasoningOf(model, given.reasoning, warn)), ...own };
  const options: GenerateOptions = {
    maxOutputTokens: given.maxOutputTokens,
    temperature: given.temperature,
    topP: given.topP,
    topK: given.topK,
    presencePenalty: given.presencePenalty,
    frequencyPenalty: given.frequencyPenalty,
    stopSequences: given.stopSequences,
    seed: given.seed,
    signal: given.abortSignal,
    ...minke,
    ...toolsOf(given, warn),
  };
  const { responseFormat: format } = given;
  if (format?.type === "json") {
    if (minke.responseConstraint !== undefined) throw invalid("providerOptions.minke.responseConstraint", "the call has a response format, too");
    options.responseConstraint = { json: plainSchema(format.schema ?? {}) };
    for (const name of ["name", "description"] as const) {
      if (format[name] !== undefined) warn(`responseFormat.${name}`, "the model only sees the prompt: describe the answer there");
    }
  }
  for (const name of Object.keys(given.headers ?? {})) {
    if (name.toLowerCase() !== "user-agent") warn("headers", `no request is sent: "${name}" has no effect`);
  }
  return { input: messagesOf(given.prompt), options, warnings };
}

type Warn = (feature: string, details: string) => void;

/** An effort as a budget, and by name for templates that know efforts (gpt-oss). */
function reasoningOf(model: Model, effort: LanguageModelV4CallOptions["reasoning"], warn: Warn): MinkeOptions {
  if (effort === undefined || effort === "provider-default") return {};
  if (!model.info.capabilities.reasoning) {
    if (effort !== "none") warn("reasoning", "the model does not reason");
    return {};
  }
  if (effort === "none") return { reasoning: "none" };
  const { maxTokens, name } = EFFORTS[effort];
  return { reasoning: maxTokens === undefined ? "auto" : { maxTokens }, templateArgs: { reasoning_effort: name } };
}

function toolsOf({ tools: list = [], toolChoice }: LanguageModelV4CallOptions, warn: Warn): GenerateOptions {
  const tools: Record<string, Tool> = {};
  for (const tool of list) {
    if (tool.type === "provider") warn(`tool ${tool.id}`, "tools of other providers cannot run here");
    else tools[tool.name] = toolOf(tool, warn);
  }
  if (Object.keys(tools).length === 0) return {};
  const choice: ToolChoice | undefined = toolChoice?.type === "tool" ? { toolName: toolChoice.toolName } : toolChoice?.type;
  return { tools, toolChoice: choice };
}

function toolOf({ name, description, inputSchema, inputExamples, strict, providerOptions }: LanguageModelV4FunctionTool, warn: Warn): Tool {
  if (inputExamples !== undefined) warn(`tool ${name}: inputExamples`, "chat templates have no place for them: give examples in the description");
  if (strict === false) warn(`tool ${name}: strict: false`, "calls always follow their schema");
  if (providerOptions?.["minke"] !== undefined) throw invalid(`tools.${name}.providerOptions.minke`, "tools have no such options");
  return { description, inputSchema: plainSchema(inputSchema) };
}
