// `minke/openai`: models of this page behind OpenAI's API, for its unmodified client.

import { Api, apiError, newId, type ApiResponse, type Models } from "../openai-api/index.js";

export type { Models };

/**
 * A `fetch` that answers requests of OpenAI's API with models of this page, whatever the host of their URL; the path after "/v1"
 * counts. A model that is given as a function is loaded when it is first used.
 *
 *     const client = new OpenAI({ apiKey: "local", dangerouslyAllowBrowser: true, baseURL: "http://minke.local/v1", fetch: createFetch({ smollm: model }) });
 */
export function createFetch(models: Models): typeof fetch {
  const api = new Api(models);
  return async (input, init) => {
    // The client aborts with its signal, or by cancelling the body.
    const ended = new AbortController();
    const given = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    const abort = () => ended.abort(given?.reason);
    if (given?.aborted) throw given.reason;
    given?.addEventListener("abort", abort, { once: true });
    const done = () => given?.removeEventListener("abort", abort);
    const headers = { "x-request-id": newId("req_") };
    try {
      const answer = await api.answer({ ...(await read(input, init)), signal: ended.signal });
      if ("events" in answer) return new Response(eventStream(answer, ended, done), { headers: { ...headers, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" } });
      done();
      return json(answer.status, answer.body, headers);
    } catch (thrown) {
      done();
      if (ended.signal.aborted) throw ended.signal.reason;
      const error = apiError(thrown, {});
      return json(error.status, error.body(), { ...headers, "x-should-retry": String(error.retryable) });
    }
  };
}

const json = (status: number, body: object, headers: Record<string, string>): Response =>
  new Response(JSON.stringify(body), { status, headers: { ...headers, "content-type": "application/json" } });

/** The parts of a request that the API reads. */
async function read(input: RequestInfo | URL, init: RequestInit | undefined): Promise<{ method: string; path: string; body?: string }> {
  const request = input instanceof Request ? input : undefined;
  const method = (init?.method ?? request?.method ?? "GET").toUpperCase();
  const { pathname } = new URL(request?.url ?? String(input), "http://minke.local");
  const path = pathname.replace(/^.*?\/v1(?=\/)/, "");
  if (method !== "POST") return { method, path };
  return { method, path, body: init?.body === undefined ? await request?.text() : await new Response(init.body).text() };
}

/** Server-sent events as bytes. Cancelling the stream ends the generation. */
function eventStream({ events, done }: Extract<ApiResponse, { events: unknown }>, ended: AbortController, release: () => void): ReadableStream<Uint8Array> {
  const utf8 = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done: last, value } = await events.next();
        if (!last) return controller.enqueue(utf8.encode(`${value.event === undefined ? "" : `event: ${value.event}\n`}data: ${JSON.stringify(value.data)}\n\n`));
        if (done) controller.enqueue(utf8.encode("data: [DONE]\n\n"));
        controller.close();
        release();
      } catch (error) {
        release();
        controller.error(error);
      }
    },
    cancel(reason) {
      release();
      ended.abort(reason);
    },
  });
}
