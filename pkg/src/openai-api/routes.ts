// The routes of the API, apart from how requests arrive and responses leave.

import { CHAT_PARAMS, chatChunks, chatCompletion, chatRequest } from "./chat.js";
import { completion, completionChunks, completionRequest, COMPLETION_PARAMS } from "./completions.js";
import { ApiError, apiError } from "./errors.js";
import { Registry, type Models } from "./models.js";
import type { ResponseEvent } from "./output.js";
import { Responses, RESPONSE_PARAMS } from "./responses.js";

export interface ApiRequest {
  method: string;
  /** Below the base URL: "/chat/completions". */
  path: string;
  /** JSON. */
  body?: string;
  /** Aborting ends the generation; the answer then rejects with its reason. */
  signal?: AbortSignal;
}

export type ApiResponse =
  | { status: number; body: object }
  /** Server-sent events with JSON as data. After the last comes "[DONE]" if `done` is set. */
  | { status: 200; events: AsyncGenerator<{ event?: string; data: object }, void, undefined>; done: boolean };

const POSTS = ["/chat/completions", "/completions", "/responses", "/embeddings"];

export class Api {
  readonly #models: Registry;
  readonly #responses: Responses;

  constructor(models: Models) {
    this.#models = new Registry(models);
    this.#responses = new Responses();
  }

  /** Answers a request. Throws an ApiError, or the signal's reason. */
  async answer({ method, path, body: text = "", signal }: ApiRequest): Promise<ApiResponse> {
    signal?.throwIfAborted();
    const [, name = "", rest, more] = /^\/([^/]+)(?:\/(.+?))?(\/input_items)?\/?$/.exec(path) ?? [];
    const route = `${method} /${name}`;
    try {
      if (route === "GET /models") return { status: 200, body: rest === undefined ? this.#models.list() : this.#models.entry(decodeURIComponent(rest)) };
      if (name === "responses" && rest !== undefined) return this.#stored(method, decodeURIComponent(rest), more !== undefined);
      if (method === "POST" && POSTS.includes(path)) {
        const body = parsed(text);
        if (path === "/chat/completions") return await this.#chat(body, signal);
        if (path === "/completions") return await this.#completion(body, signal);
        if (path === "/responses") return await this.#response(body, signal);
        this.#models.named(body);
        throw new ApiError(400, "the models here have no embeddings", { code: "unsupported_model", param: "model" });
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw error;
    }
    throw new ApiError(404, `there is no ${method} ${path} here`, { code: "unknown_url" });
  }

  async #chat(body: unknown, signal: AbortSignal | undefined): Promise<ApiResponse> {
    const name = this.#models.named(body);
    const request = chatRequest(body);
    return named(CHAT_PARAMS, async () => {
      const call = { model: await this.#models.get(name), name, request, signal };
      return request.stream ? streamed(chatChunks(call), CHAT_PARAMS, signal) : { status: 200, body: await chatCompletion(call) };
    });
  }

  async #response(body: unknown, signal: AbortSignal | undefined): Promise<ApiResponse> {
    const name = this.#models.named(body);
    const request = this.#responses.read(body);
    return named(RESPONSE_PARAMS, async () => {
      const events = this.#responses.create(await this.#models.get(name), request, signal);
      if (request.stream) return streamed(events, RESPONSE_PARAMS, signal, true);
      let last: ResponseEvent | undefined;
      for await (const event of events) last = event;
      return { status: 200, body: (last as Extract<ResponseEvent, { response: object }>).response };
    });
  }

  #stored(method: string, id: string, inputItems: boolean): ApiResponse {
    if (method === "GET") return { status: 200, body: inputItems ? this.#responses.inputItems(id) : this.#responses.get(id) };
    if (method === "DELETE" && !inputItems) return { status: 200, body: this.#responses.delete(id) };
    throw new ApiError(404, `there is no ${method} /responses/${id} here`, { code: "unknown_url" });
  }

  async #completion(body: unknown, signal: AbortSignal | undefined): Promise<ApiResponse> {
    const name = this.#models.named(body);
    const request = completionRequest(body);
    return named(COMPLETION_PARAMS, async () => {
      const call = { model: await this.#models.get(name), name, request, signal };
      return request.stream ? streamed(completionChunks(call), COMPLETION_PARAMS, signal) : { status: 200, body: await completion(call) };
    });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, `the body is not JSON: ${error instanceof Error ? error.message : error}`, { code: "invalid_json" });
  }
}

/** Converts what a model throws. */
async function named<T>(params: Record<string, string>, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw apiError(error, params);
  }
}

/**
 * Server-sent events of chunks. Waits for the first, so that a refused input has the status of an error; a later failure is
 * the last event. Chunks with a type are events of that name.
 */
async function streamed(chunks: AsyncGenerator<object, void, undefined>, params: Record<string, string>, signal: AbortSignal | undefined, typed = false): Promise<ApiResponse> {
  const first = await chunks.next();
  async function* events() {
    const event = (data: object) => ({ ...(typed && { event: (data as ResponseEvent).type }), data });
    let count = 0;
    try {
      if (first.done) return;
      yield event(first.value);
      for await (const data of chunks) {
        count++;
        yield event(data);
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      const failed = apiError(error, params);
      const { code, message, param } = failed;
      yield event({ ...failed.body(), ...(typed && { type: "error", code, message, param, sequence_number: count + 1 }) });
    }
  }
  return { status: 200, events: events(), done: !typed };
}
