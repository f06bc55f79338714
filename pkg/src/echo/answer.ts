// What the echo model answers: its script's turn, or the last user message, within tools and constraints.

import { EngineError, invalid } from "../errors.js";
import type { Constraint, GenerateOptions, Message, Tool, ToolChoice } from "../types.js";
import { instance } from "./instance.js";

/** What a script sees of a call. */
export interface EchoCall {
  /** How many calls the model answered before; steps of a call that runs tools count. */
  index: number;
  /** The last user message, or the raw text. */
  text: string;
  /** The conversation; empty for raw text and ids. */
  messages: readonly Message[];
  options: Omit<GenerateOptions, "signal">;
}

/** A scripted turn; its parts come in this order. A string is a text. */
export type EchoTurn =
  | string
  | {
      /** Left out with `reasoning: "none"`, and cut with `{ maxTokens }`. */
      reasoning?: string;
      text?: string;
      /** Calls of offered tools. `input` is a value, which becomes JSON text. */
      toolCalls?: readonly { toolName: string; input: unknown; toolCallId?: string }[];
      /** Thrown after the parts above: an EngineError, or anything else as an internal error. */
      error?: unknown;
      /** Milliseconds before each token, instead of the model's own. */
      delay?: number;
    };

/** A function, or a list with a turn for each call. */
export type EchoScript = readonly EchoTurn[] | ((call: EchoCall) => EchoTurn | Promise<EchoTurn>);

/** A turn as it is played. */
export interface Answer {
  reasoning: string;
  text: string;
  toolCalls: { toolCallId: string; toolName: string; input: string }[];
  error?: { thrown: unknown };
  delay?: number;
}

/** Options as a script sees them: a regular expression as one, where the engine is given its source and flags. */
export function visible({ responseConstraint, ...options }: Omit<GenerateOptions, "signal">): Omit<GenerateOptions, "signal"> {
  if (responseConstraint === undefined) return options;
  const parts = responseConstraint as { regex?: string; flags?: string };
  return { ...options, responseConstraint: parts.regex === undefined ? responseConstraint : new RegExp(parts.regex, parts.flags) };
}

/** The answer to a call. */
export async function answerTo(call: EchoCall, script: EchoScript | undefined): Promise<Answer> {
  const { tools = {}, toolChoice = "auto", responseConstraint } = call.options;
  if (script === undefined) return echo(call, tools, toolChoice, responseConstraint);
  const turn = typeof script === "function" ? await script(call) : script[call.index];
  if (turn === undefined) throw invalid("script", Array.isArray(script) ? `it has ${script.length} turns, and this is call ${call.index + 1}` : "it returned nothing");
  const { reasoning = "", text = "", toolCalls = [], delay, ...rest } = typeof turn === "string" ? { text: turn } : turn;
  for (const { toolName } of toolCalls) if (!Object.hasOwn(tools, toolName)) throw invalid("script", `it calls ${JSON.stringify(toolName)}, which is not offered`);
  obeyed(toolChoice, toolCalls);
  if (toolCalls.length === 0 && !("error" in rest)) checked(text, responseConstraint);
  const calls = toolCalls.map(({ toolName, input, toolCallId }, i) => ({ toolCallId: toolCallId ?? callId(call.index, i), toolName, input: JSON.stringify(input) ?? "null" }));
  return { reasoning, text, toolCalls: calls, delay, ...("error" in rest && { error: { thrown: rest.error } }) };
}

const callId = (index: number, i: number): string => `call_${index}_${i}`;

/** The answer without a script. Tools are called only where the choice demands it. */
function echo(call: EchoCall, tools: Record<string, Tool>, choice: ToolChoice, constraint: Constraint | undefined): Answer {
  const toolName = typeof choice === "object" ? choice.toolName : choice === "required" ? Object.keys(tools)[0] : undefined;
  if (toolName === undefined) return { reasoning: "", text: constraint === undefined ? call.text : fitted(call.text, constraint), toolCalls: [] };
  const input = JSON.stringify(instance(tools[toolName]!.inputSchema));
  return { reasoning: "", text: "", toolCalls: [{ toolCallId: callId(call.index, 0), toolName, input }] };
}

const refused = (why: string): EngineError => new EngineError("constraint", `responseConstraint: ${why}`, { detail: { argument: "responseConstraint" } });

/** A scripted text that can be seen to break its constraint is a mistake of the script. */
function checked(text: string, constraint: Constraint | undefined): void {
  if (constraint === undefined || "grammar" in constraint) return;
  const fits = "json" in constraint ? isJson(text) : "choice" in constraint ? constraint.choice.includes(text) : matches(constraint, text);
  if (!fits) throw refused(`the scripted text ${JSON.stringify(text)} breaks it`);
}

/** The text, or the simplest one that fits. */
function fitted(text: string, constraint: Constraint): string {
  if ("grammar" in constraint) throw refused("the echo model has no grammars; script the answer");
  if ("json" in constraint) return JSON.stringify(instance(constraint.json));
  if ("choice" in constraint) return constraint.choice.includes(text) ? text : (constraint.choice[0] ?? "");
  if (matches(constraint, text)) return text;
  throw refused(`the echoed text does not match ${constraint}, and the echo model makes none that does; script the answer`);
}

/** Whether the whole text matches. */
const matches = ({ source, flags }: RegExp, text: string): boolean => new RegExp(`^(?:${source})$`, flags.replace(/[gy]/g, "")).test(text);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function obeyed(choice: ToolChoice, calls: readonly { toolName: string }[]): void {
  const wanted = typeof choice === "object" ? choice.toolName : undefined;
  if (choice === "none" && calls.length > 0) throw invalid("script", 'it calls a tool, and `toolChoice` is "none"');
  if (choice === "required" && calls.length === 0) throw invalid("script", 'it calls no tool, and `toolChoice` is "required"');
  if (wanted !== undefined && !calls.some(({ toolName }) => toolName === wanted)) throw invalid("script", `it does not call ${JSON.stringify(wanted)}, which \`toolChoice\` names`);
}
