// The package's door: every export is named here. Importing it starts nothing and touches no browser global.

export { deviceInfo } from "./device.js";
export { EngineError, type ErrorCode } from "./errors.js";
export { load } from "./load.js";
export type {
  DeviceInfo, FinishReason, GenerateOptions, GenerateResult, Generation, Input, LoadOptions, Message, Model, ModelInfo,
  ModelSource, Progress, Role, StreamPart, TemplateOptions, TextGenerator, TokenLogprob, Tokenizer, ToolCall, Usage,
} from "./types.js";
