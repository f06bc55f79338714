// A model as LangChain's chat model.

export { ChatMinke, chatModel } from "./chat-model.js";
export type { ChatMinkeCallOptions, ChatMinkeFields } from "./fields.js";
