// The class `ChatMinke`.

import type { CallbackManagerForLLMRun } from "@langchain/core/callbacks/manager";
import type { BaseLanguageModelInput, StructuredOutputMethodOptions } from "@langchain/core/language_models/base";
import { BaseChatModel, type BindToolsInput, type LangSmithParams } from "@langchain/core/language_models/chat_models";
import type { AIMessageChunk, BaseMessage } from "@langchain/core/messages";
import type { ChatGenerationChunk, ChatResult } from "@langchain/core/outputs";
import type { Runnable } from "@langchain/core/runnables";
import { convertToOpenAITool } from "@langchain/core/utils/function_calling";
import type { SerializableSchema } from "@langchain/core/utils/standard_schema";
import type { InteropZodType } from "@langchain/core/utils/types";
import { PROVIDER, registerBlocks } from "./blocks.js";
import { GENERATION, generationOf, type ChatMinkeCallOptions, type ChatMinkeFields, type Generation } from "./fields.js";
import { messagesOf } from "./messages.js";
import { ChunkMaker, resultOf } from "./results.js";
import { structured } from "./structured.js";
import { choiceOf, toolsOf } from "./tools.js";
import type { GenerateOptions, Model } from "../types.js";

export class ChatMinke extends BaseChatModel<ChatMinkeCallOptions> {
  static override lc_name(): string {
    return "ChatMinke";
  }

  /** The model that answers. */
  readonly engine: Model;
  readonly #defaults: Generation;

  constructor(fields: ChatMinkeFields) {
    super(fields);
    registerBlocks();
    this.engine = fields.model;
    this.#defaults = generationOf(fields);
  }

  override get callKeys(): string[] {
    return [...super.callKeys, ...GENERATION];
  }

  override _llmType(): string {
    return PROVIDER;
  }

  override _identifyingParams(): Record<string, unknown> {
    return { model: this.engine.id, ...this.#defaults };
  }

  override getLsParams(options: this["ParsedCallOptions"]): LangSmithParams {
    const { temperature, maxOutputTokens } = { ...this.#defaults, ...generationOf(options) };
    return {
      ls_provider: PROVIDER, ls_model_name: this.engine.id, ls_model_type: "chat", ls_temperature: temperature, ls_max_tokens: maxOutputTokens, ls_stop: options.stop,
    };
  }

  override invocationParams(options?: this["ParsedCallOptions"]): GenerateOptions {
    const { stop, tools, tool_choice: choice } = options ?? {};
    return {
      ...this.#defaults,
      ...generationOf(options ?? {}),
      ...(stop && { stopSequences: stop }),
      ...(tools?.length && { tools: toolsOf(tools), ...(choice !== undefined && { toolChoice: choiceOf(choice) }) }),
    };
  }

  override async _generate(messages: BaseMessage[], options: this["ParsedCallOptions"], manager?: CallbackManagerForLLMRun): Promise<ChatResult> {
    const result = await this.engine.generate(messagesOf(messages), { ...this.invocationParams(options), signal: options.signal });
    await manager?.handleLLMNewToken(result.text);
    return resultOf(this.engine, result);
  }

  override async *_streamResponseChunks(messages: BaseMessage[], options: this["ParsedCallOptions"], manager?: CallbackManagerForLLMRun): AsyncGenerator<ChatGenerationChunk> {
    const generation = this.engine.stream(messagesOf(messages), { ...this.invocationParams(options), signal: options.signal });
    const maker = new ChunkMaker(this.engine);
    for await (const part of generation) {
      const chunk = maker.chunkOf(part);
      if (chunk === undefined) continue;
      yield chunk;
      await manager?.handleLLMNewToken(chunk.text, undefined, undefined, undefined, undefined, { chunk });
    }
  }

  override bindTools(tools: BindToolsInput[], options?: Partial<ChatMinkeCallOptions>): Runnable<BaseLanguageModelInput, AIMessageChunk, ChatMinkeCallOptions> {
    return this.withConfig({ ...options, tools: tools.map((tool) => convertToOpenAITool(tool)) } as Partial<ChatMinkeCallOptions>);
  }

  override withStructuredOutput<T extends Record<string, any> = Record<string, any>>(
    schema: InteropZodType<T> | SerializableSchema<T> | Record<string, any>,
    config?: StructuredOutputMethodOptions<false>,
  ): Runnable<BaseLanguageModelInput, T>;
  override withStructuredOutput<T extends Record<string, any> = Record<string, any>>(
    schema: InteropZodType<T> | SerializableSchema<T> | Record<string, any>,
    config?: StructuredOutputMethodOptions<true>,
  ): Runnable<BaseLanguageModelInput, { raw: BaseMessage; parsed: T }>;
  override withStructuredOutput<T extends Record<string, any> = Record<string, any>>(
    schema: InteropZodType<T> | SerializableSchema<T> | Record<string, any>,
    config?: StructuredOutputMethodOptions<boolean>,
  ): Runnable<BaseLanguageModelInput, T> | Runnable<BaseLanguageModelInput, { raw: BaseMessage; parsed: T }> {
    return structured<T>(this, schema, config);
  }
}

/** A model for LangChain's chains and agents. */
export function chatModel(model: Model, fields: Omit<ChatMinkeFields, "model"> = {}): ChatMinke {
  return new ChatMinke({ ...fields, model });
}
