// The package's error class: a small set of codes, with the facts in `detail`.

export type ErrorCode =
  | "no-webgpu" | "feature" | "buffer-limit" | "memory" | "storage" | "architecture" | "dtype"
  | "network" | "integrity" | "format" | "context-overflow" | "device-lost" | "template"
  | "constraint" | "non-finite" | "invalid-argument" | "internal";

/** An error as it crosses from wasm to JavaScript and from the worker to the page. */
export interface Failure {
  code: ErrorCode | "abort";
  message: string;
  retryable: boolean;
  detail: Record<string, unknown>;
}

/** A failure to read from a URL, or from a local file, whose name then takes the place of the URL. */
export interface NetworkFailure extends Failure {
  /** The message without the URL: the engine adds the URL to its own messages. */
  reason: string;
}

/** The failure of a call that was aborted. */
export const ABORTED: Failure = { code: "abort", message: "aborted", retryable: true, detail: {} };

/** The error that every call rejects with, except that an aborted call rejects with `signal.reason`. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly code: ErrorCode;
  /** Whether the same call may succeed if it is repeated unchanged. */
  readonly retryable: boolean;
  /** The facts in the message, in a form for programs. */
  readonly detail: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: { retryable?: boolean; detail?: Record<string, unknown>; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.detail = options.detail ?? {};
  }
}

/** The error for an option that is part of the API and not built. */
export function unsupported(argument: string, message: string): EngineError {
  return new EngineError("feature", `${argument}: ${message}`, { detail: { argument } });
}

/** The error for an invalid argument. */
export function invalid(argument: string, message: string): EngineError {
  return new EngineError("invalid-argument", `${argument}: ${message}`, { detail: { argument } });
}

/** The failure to read from a URL. `status` is null if there was no HTTP response. */
export function networkFailure(url: string, reason: string, { status = null, retryable = false }: { status?: number | null; retryable?: boolean } = {}): NetworkFailure {
  return { code: "network", message: url === "" ? reason : `${url}: ${reason}`, reason, retryable, detail: { url, status } };
}

export function isFailure(thrown: unknown): thrown is Failure {
  return typeof thrown === "object" && thrown !== null && typeof (thrown as Failure).code === "string";
}

/** Converts a failure to an error; an abort without a signal is an internal error. */
export function revive(failure: Failure): EngineError {
  const code = failure.code === "abort" ? "internal" : failure.code;
  return new EngineError(code, failure.message, { retryable: failure.retryable, detail: failure.detail });
}

/** Converts anything thrown to a failure. Engine failures are kept; any other value is an internal error. */
export function failure(thrown: unknown): Failure {
  if (isFailure(thrown)) {
    const { code, message, retryable, detail } = thrown;
    return { code, message: String(message ?? code), retryable: retryable === true, detail: detail ?? {} };
  }
  const name = thrown instanceof Error ? thrown.name : typeof thrown;
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return { code: "internal", message: `internal error: ${message}`, retryable: true, detail: { name, message } };
}
