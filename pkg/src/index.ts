// The package's entry point: lists all exports. Importing it starts nothing and accesses no browser global.

export { deviceInfo } from "./device.js";
export { EngineError, type ErrorCode } from "./errors.js";
export { availability, estimate, load } from "./load.js";
export { store } from "./store.js";
export type {
  Availability, Constraint, DeviceInfo, Estimate, EvictableModel, FinishReason, FitReason, GenerateOptions, GenerateResult, Generation, Input, InputMessage, LoadOptions, Message, Model, ModelInfo,
  ModelSource, Progress, Role, Session, SessionOptions, StorageFull, StoredModelInfo, StreamPart, TemplateOptions, TextGenerator, TextPart, TokenLogprob,
  Tokenizer, Tool, ToolCall, ToolChoice, Usage, Warning,
} from "./types.js";
