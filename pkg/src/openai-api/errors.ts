// Errors as OpenAI's API reports them.

import { EngineError, type ErrorCode } from "../errors.js";

/** A refusal or failure, with the status and the body of its response. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
  readonly param: string | null;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(status: number, message: string, { code = null, param = null, retryable = false, cause }: { code?: string | null; param?: string | null; retryable?: boolean; cause?: unknown } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.type = status < 500 ? "invalid_request_error" : "server_error";
    this.code = code;
    this.param = param;
    this.retryable = retryable;
  }

  body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code } };
  }
}

/** The refusal of a parameter's value. */
export const badValue = (param: string, message: string): ApiError => new ApiError(400, `${param}: ${message}`, { code: "invalid_value", param });

/** The refusal of a parameter, or of a value of it, that no model here can honour. */
export const unsupportedValue = (param: string, message: string): ApiError => new ApiError(400, `${param}: ${message}`, { code: "unsupported_value", param });

/** Engine errors that the request causes, and their codes here. */
const OF_REQUEST: Partial<Record<ErrorCode, string>> = {
  "invalid-argument": "invalid_value",
  constraint: "invalid_value",
  feature: "unsupported_value",
  template: "invalid_prompt",
  "context-overflow": "context_length_exceeded",
};

/** Converts what a model threw. `params` names the request's parameters by the engine's options. */
export function apiError(thrown: unknown, params: Record<string, string>): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (!(thrown instanceof EngineError)) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new ApiError(500, message, { cause: thrown });
  }
  const { code, message, retryable, detail } = thrown;
  const known = OF_REQUEST[code];
  if (known === undefined) return new ApiError(500, message, { code, retryable, cause: thrown });
  const argument = code === "constraint" ? "responseConstraint" : typeof detail.argument === "string" ? detail.argument : "input";
  // What follows the name, as in `messages[0].role`, is kept.
  const [, name, rest] = /^(\w*)(.*)$/s.exec(argument)!;
  return new ApiError(400, message, { code: known, param: (params[name!] ?? name!) + rest!, retryable, cause: thrown });
}
