// POST /responses: responses of typed items, which later ones continue within the page.

import type { GenerateOptions, Message, Model } from "../types.js";
import { generated, newId } from "./common.js";
import { ApiError, unsupportedValue } from "./errors.js";
import { inputItems, messagesOf, type Item } from "./items.js";
import { ResponseWriter, type ResponseEvent, type ResponseObject } from "./output.js";
import { effort, format, missing, Params, PARAMS, present, sampling, tools, type Json } from "./params.js";

/** Names of parameters by the engine's options. */
export const RESPONSE_PARAMS: Record<string, string> = { ...PARAMS, maxOutputTokens: "max_output_tokens", responseConstraint: "text.format", reasoning: "reasoning.effort", messages: "input" };

export interface ResponseRequest {
  /** Earlier turns and the input; the instructions come first. */
  messages: Message[];
  /** Items of the whole conversation, without the instructions. */
  items: Item[];
  /** Those of this request. */
  input: Item[];
  options: GenerateOptions;
  oneCall: boolean;
  stream: boolean;
  store: boolean;
  /** Fields of the response that repeat the request. */
  settings: Json;
}

/** A response that can be continued. */
interface Stored {
  response: ResponseObject;
  items: Item[];
  input: Item[];
}

export class Responses {
  readonly #stored = new Map<string, Stored>();

  /** Reads a request; `model` has been read. Throws an ApiError for anything that cannot be honoured. */
  read(body: unknown): ResponseRequest {
    const params = new Params(body);
    params.withoutEffect("user", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options");
    for (const name of ["background", "conversation", "prompt", "moderation", "context_management", "max_tool_calls"]) params.only(name, "this is not available here", false);
    params.only("truncation", "nothing is left out of an input: send a shorter one", "disabled");
    params.fields("metadata");
    const stream = params.boolean("stream") ?? false;
    const streamed = params.fields("stream_options");
    streamed?.only("include_obfuscation", "streams are not obfuscated: they leave no device", false);
    streamed?.finish();
    const include = params.list("include") ?? [];
    for (const what of include) if (what !== "message.output_text.logprobs") throw unsupportedValue("include", `${JSON.stringify(what)} is not available here`);
    const top = params.whole("top_logprobs", 0, 20);
    const thoughts = params.fields("reasoning");
    // Thoughts are given as they are, without a summary.
    thoughts?.withoutEffect("summary", "generate_summary");
    const reasoning = thoughts === undefined ? {} : effort(thoughts, "effort");
    thoughts?.finish();
    const text = params.fields("text");
    text?.only("verbosity", "answers have no levels of verbosity here", "medium");
    const constraint = text === undefined ? {} : format(text.fields("format"), false);
    text?.finish();
    const parallel = params.boolean("parallel_tool_calls") ?? true;
    const store = params.boolean("store") ?? true;
    const instructions = params.string("instructions");
    const previous = params.string("previous_response_id");
    const maxOutputTokens = params.whole("max_output_tokens", 1, Number.MAX_SAFE_INTEGER);
    const toolOptions = tools(params, false);
    const options = present({
      ...sampling(params), ...reasoning, ...constraint, ...toolOptions, maxOutputTokens,
      logprobs: include.length > 0 || top !== undefined ? (top ?? true) : undefined,
    });
    const input = inputItems(params.take("input") ?? missing("input"), newId);
    const model = params.string("model");
    params.finish();
    const items = [...(previous === undefined ? [] : this.#conversation(previous)), ...input];
    const given = body as Json;
    const messages: Message[] = [...(instructions === undefined ? [] : [{ role: "system", content: instructions } as const]), ...messagesOf(items)];
    const settings: Json = {
      model, instructions: instructions ?? null, metadata: given.metadata ?? {}, previous_response_id: previous ?? null, store, parallel_tool_calls: parallel,
      max_output_tokens: maxOutputTokens ?? null, temperature: given.temperature ?? null, top_p: given.top_p ?? null, top_logprobs: top ?? 0,
      tools: given.tools ?? [], tool_choice: given.tool_choice ?? "auto", text: { format: { type: "text" }, ...(given.text as Json | undefined) },
      reasoning: { effort: null, summary: null, ...(given.reasoning as Json | undefined) }, truncation: "disabled", background: false,
    };
    return { messages, items, input, options, oneCall: !parallel, stream, store, settings };
  }

  /** Answers a request in events; the last has the whole response. */
  async *create(model: Model, request: ResponseRequest, signal: AbortSignal | undefined): AsyncGenerator<ResponseEvent, void, undefined> {
    const { messages, items, input, options, oneCall, store, settings } = request;
    const writer = new ResponseWriter(settings);
    let begun = false;
    for await (const part of generated(model, messages, { ...options, signal }, { oneCall })) {
      if (!begun) yield* writer.begin();
      begun = true;
      if (part.type === "finish" && store) this.#stored.set(writer.response.id, { response: writer.response, items: [...items, ...writer.response.output], input });
      yield* writer.add(part);
    }
  }

  get(id: string): ResponseObject {
    return structuredClone(this.#known(id).response);
  }

  inputItems(id: string): object {
    const { input } = this.#known(id);
    return { object: "list", data: input.toReversed(), first_id: input.at(-1)?.id ?? null, last_id: input[0]?.id ?? null, has_more: false };
  }

  delete(id: string): object {
    this.#known(id);
    this.#stored.delete(id);
    return { id, object: "response", deleted: true };
  }

  #known(id: string): Stored {
    const stored = this.#stored.get(id);
    if (stored === undefined) throw new ApiError(404, `there is no response ${JSON.stringify(id)}; they are kept as long as the page, unless store is false`, { code: "not_found", param: "response_id" });
    return stored;
  }

  #conversation(id: string): Item[] {
    const stored = this.#stored.get(id);
    if (stored === undefined) throw new ApiError(400, `there is no response ${JSON.stringify(id)}; they are kept as long as the page, unless store is false`, { code: "previous_response_not_found", param: "previous_response_id" });
    return stored.items;
  }
}
