// `minke/webllm`: the engine of WebLLM's applications, on Minke's models.

export { prebuiltAppConfig, type AppConfig, type ChatOptions, type InitProgressCallback, type InitProgressReport, type MLCEngineConfig, type ModelRecord } from "./config.js";
export { CreateMLCEngine, CreateWebWorkerMLCEngine, deleteModelAllInfoInCache, hasModelInCache, MLCEngine, WebWorkerMLCEngineHandler } from "./engine.js";
export type { ChatCompletionRequest, CompletionCreateParams } from "./request.js";
export type { ChatChunk as ChatCompletionChunk, ChatCompletion, Completion } from "../openai-api/index.js";
