// Translates tools, in the form of OpenAI's API, and the choice among them.

import type { ToolChoice as LangChainToolChoice } from "@langchain/core/language_models/chat_models";
import { convertToOpenAITool } from "@langchain/core/utils/function_calling";
import { invalid } from "../errors.js";
import { plainSchema } from "../schema.js";
import type { Tool, ToolChoice } from "../types.js";

export function toolsOf(given: readonly object[]): Record<string, Tool> {
  return Object.fromEntries(given.map((tool, i) => {
    const { type, function: f } = convertToOpenAITool(tool);
    if (type !== "function" || typeof f?.name !== "string") throw invalid(`tools[${i}]`, "expected a tool of LangChain, or a function in the form of OpenAI's API");
    return [f.name, { description: f.description, inputSchema: plainSchema(f.parameters ?? { type: "object", properties: {} }) }];
  }));
}

/** "any" is LangChain's word for "required"; any other text is a tool's name. */
export function choiceOf(given: LangChainToolChoice): ToolChoice {
  if (given === "any") return "required";
  if (given === "auto" || given === "none" || given === "required") return given;
  const toolName = typeof given === "string" ? given : ((given["function"] as { name?: unknown } | undefined)?.name ?? given["name"]);
  if (typeof toolName !== "string") throw invalid("tool_choice", '"auto", "any", "none" or a tool\'s name');
  return { toolName };
}
