// Structured output: the answer is bound by the schema, or a call of a tool is.

import type { BaseLanguageModelInput, StructuredOutputMethodOptions } from "@langchain/core/language_models/base";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { assembleStructuredOutputPipeline, createContentParser, createFunctionCallingParser } from "@langchain/core/language_models/structured_output";
import type { BaseMessage } from "@langchain/core/messages";
import type { Runnable } from "@langchain/core/runnables";
import { toJsonSchema } from "@langchain/core/utils/json_schema";
import { isSerializableSchema, type SerializableSchema } from "@langchain/core/utils/standard_schema";
import { isInteropZodSchema, type InteropZodType } from "@langchain/core/utils/types";
import { invalid } from "../errors.js";
import { plainSchema } from "../schema.js";
import type { ChatMinkeCallOptions } from "./fields.js";

type ChatModel = BaseChatModel<ChatMinkeCallOptions> & Required<Pick<BaseChatModel<ChatMinkeCallOptions>, "bindTools">>;
type Schema<T> = InteropZodType<T> | SerializableSchema<T> | Record<string, any>;

export function structured<T extends Record<string, any>>(
  model: ChatModel, schema: Schema<T>, { name, method = "jsonSchema", includeRaw, strict }: StructuredOutputMethodOptions<boolean> = {},
): Runnable<BaseLanguageModelInput, T> | Runnable<BaseLanguageModelInput, { raw: BaseMessage; parsed: T }> {
  if (strict === false) throw invalid("strict", "answers always follow their schema");
  const foreign = isInteropZodSchema(schema) || isSerializableSchema(schema);
  // OpenAI's form of a function has the schema as its parameters.
  const wrapped = !foreign && typeof schema["name"] === "string" && typeof schema["parameters"] === "object" ? (schema as { name: string; description?: string; parameters: object }) : undefined;
  const json = wrapped?.parameters ?? (toJsonSchema(schema) as { description?: string });
  const runName = includeRaw ? "StructuredOutputRunnable" : "ChatMinkeStructuredOutput";
  const format = { ls_structured_output_format: { kwargs: { method }, schema: json } };
  switch (method) {
    case "jsonSchema":
    case "jsonMode": {
      const responseConstraint = { json: method === "jsonMode" ? {} : plainSchema(json) };
      const llm = model.withConfig({ responseConstraint, ...format } as Partial<ChatMinkeCallOptions>);
      return assembleStructuredOutputPipeline<T>(llm, createContentParser<T>(schema as Schema<T>), includeRaw, runName);
    }
    case "functionCalling": {
      const tool = { name: wrapped?.name ?? name ?? "extract", description: wrapped?.description ?? (json as { description?: string }).description ?? "", parameters: json as Record<string, unknown> };
      const llm = model.bindTools([{ type: "function", function: tool }], { tool_choice: tool.name, ...format } as Partial<ChatMinkeCallOptions>);
      return assembleStructuredOutputPipeline<T>(llm, createFunctionCallingParser<T>(schema as Schema<T>, tool.name), includeRaw, runName);
    }
    default:
      throw invalid("method", `expected "jsonSchema", "jsonMode" or "functionCalling", got ${JSON.stringify(method)}`);
  }
}
