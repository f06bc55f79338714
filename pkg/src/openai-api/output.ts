// Turns the parts of a generation into the events of a response, in their order.

import type { FinishReason, StreamPart, TokenLogprob, Usage } from "../types.js";
import { logprobOf, newId, now, usageOf, type Logprob } from "./common.js";
import type { Item } from "./items.js";
import type { Json } from "./params.js";

export interface ResponseObject extends Json {
  id: string;
  object: "response";
  status: "in_progress" | "completed" | "incomplete";
  output: Item[];
}

export type ResponseEvent = { type: string; sequence_number: number; response: ResponseObject } | (Json & { type: string; sequence_number: number });

/** The item that is being written. */
interface Open {
  kind: "reasoning" | "message" | "function_call";
  index: number;
  item: Item;
  text: string;
  logprobs: Logprob[];
  callId?: string;
}

export class ResponseWriter {
  readonly response: ResponseObject;
  #sequence = 0;
  #open?: Open;

  /** `settings` are the fields that repeat the request. */
  constructor(settings: Json) {
    this.response = { id: newId("resp_"), object: "response", created_at: now(), status: "in_progress", error: null, incomplete_details: null, output: [], usage: null, ...settings };
  }

  *begin(): Generator<ResponseEvent> {
    yield this.#whole("response.created");
    yield this.#whole("response.in_progress");
  }

  /** The events that a part stands for. */
  *add(part: StreamPart): Generator<ResponseEvent> {
    switch (part.type) {
      case "reasoning-delta":
        yield* this.#into("reasoning");
        return yield this.#delta("response.reasoning_text.delta", part.text);
      case "text-delta": {
        yield* this.#into("message");
        const logprobs = (part.logprobs ?? []).map((logprob: TokenLogprob) => logprobOf(logprob));
        this.#open!.logprobs.push(...logprobs);
        return yield this.#delta("response.output_text.delta", part.text, { logprobs });
      }
      case "tool-input-delta":
        yield* this.#into("function_call", part);
        return yield this.#delta("response.function_call_arguments.delta", part.delta);
      case "tool-call": {
        yield* this.#into("function_call", part);
        // A whole call says nothing that its pieces did not, if there were any.
        const { text } = this.#open!;
        if (text !== part.input && part.input.startsWith(text)) yield this.#delta("response.function_call_arguments.delta", part.input.slice(text.length));
        return yield* this.#close("completed");
      }
      case "finish":
        return yield* this.#end(part.finishReason, part.usage);
    }
  }

  *#end(finishReason: FinishReason, usage: Usage): Generator<ResponseEvent> {
    const cut = finishReason === "length";
    yield* this.#close(cut ? "incomplete" : "completed");
    const { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details, completion_tokens_details } = usageOf([usage], 1);
    Object.assign(this.response, {
      status: cut ? "incomplete" : "completed",
      completed_at: cut ? null : now(),
      incomplete_details: cut ? { reason: "max_output_tokens" } : null,
      usage: { input_tokens: prompt_tokens, input_tokens_details: prompt_tokens_details, output_tokens: completion_tokens, output_tokens_details: completion_tokens_details, total_tokens },
    });
    yield this.#whole(`response.${this.response.status}`);
  }

  /** Closes the open item, and opens one of a kind, unless the open one goes on. */
  *#into(kind: Open["kind"], call?: { toolCallId: string; toolName: string }): Generator<ResponseEvent> {
    if (this.#open?.kind === kind && this.#open.callId === call?.toolCallId) return;
    yield* this.#close("completed");
    const status = "in_progress";
    const item: Item =
      kind === "reasoning" ? { id: newId("rs_"), type: kind, summary: [], content: [], status }
      : kind === "message" ? { id: newId("msg_"), type: kind, role: "assistant", content: [], status }
      : { id: newId("fc_"), type: kind, call_id: call!.toolCallId, name: call!.toolName, arguments: "", status };
    const index = this.response.output.push(item) - 1;
    this.#open = { kind, index, item, text: "", logprobs: [], callId: call?.toolCallId };
    yield this.#event("response.output_item.added", { output_index: index, item: { ...item } });
    if (kind !== "function_call") yield this.#of("response.content_part.added", { part: this.#part(), content_index: 0 });
  }

  *#close(status: "completed" | "incomplete"): Generator<ResponseEvent> {
    if (this.#open === undefined) return;
    const { kind, index, item, text, logprobs } = this.#open;
    if (kind === "function_call") {
      yield this.#of("response.function_call_arguments.done", { arguments: text, name: item.name });
      item.arguments = text;
    } else {
      const part = this.#part();
      yield kind === "reasoning"
        ? this.#of("response.reasoning_text.done", { content_index: 0, text })
        : this.#of("response.output_text.done", { content_index: 0, text, logprobs });
      yield this.#of("response.content_part.done", { content_index: 0, part });
      item.content = [part];
    }
    item.status = status;
    yield this.#event("response.output_item.done", { output_index: index, item: { ...item } });
    this.#open = undefined;
  }

  /** The content of the open item so far. */
  #part(): Json {
    const { kind, text, logprobs } = this.#open!;
    return kind === "reasoning" ? { type: "reasoning_text", text } : { type: "output_text", text, annotations: [], logprobs };
  }

  #delta(type: string, delta: string, more: Json = {}): ResponseEvent {
    this.#open!.text += delta;
    return this.#of(type, { ...(this.#open!.kind !== "function_call" && { content_index: 0 }), delta, ...more });
  }

  /** An event about the open item. */
  #of(type: string, fields: Json): ResponseEvent {
    const { index, item } = this.#open!;
    return this.#event(type, { item_id: item.id, output_index: index, ...fields });
  }

  #whole(type: string): ResponseEvent {
    return this.#event(type, { response: structuredClone(this.response) });
  }

  #event(type: string, fields: Json): ResponseEvent {
    return { type, sequence_number: this.#sequence++, ...fields };
  }
}
