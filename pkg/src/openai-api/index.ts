// OpenAI's API over models, apart from how requests arrive and responses leave. Code outside this folder imports this file only.

export { chatChunks, chatCompletion, chatRequest, type ChatChunk, type ChatCompletion, type Extra } from "./chat.js";
export { newId } from "./common.js";
export { completion, completionChunks, completionRequest, type Completion } from "./completions.js";
export { ApiError, apiError } from "./errors.js";
export type { Models } from "./models.js";
export { Api, type ApiResponse } from "./routes.js";
