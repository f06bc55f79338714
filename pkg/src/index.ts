// The package's door: every export is named here. Importing it starts nothing and touches no browser global.

export { deviceInfo } from "./device.js";
export { EngineError, type ErrorCode } from "./errors.js";
export { availability, estimate, load } from "./load.js";
export { store } from "./store.js";
export type {
  Availability, DeviceInfo, Estimate, EvictableModel, FinishReason, FitReason, GenerateOptions, GenerateResult, Generation, Input, LoadOptions, Message, Model, ModelInfo,
  ModelSource, Progress, Role, Session, SessionOptions, StorageFull, StoredModelInfo, StreamPart, TemplateOptions, TextGenerator, TokenLogprob, Tokenizer, ToolCall, Usage,
} from "./types.js";
