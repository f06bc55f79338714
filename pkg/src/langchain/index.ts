// A model as LangChain's chat model.

export { ChatMinke, chatModel, type ChatMinkeCallOptions, type ChatMinkeFields } from "./chat-model.js";
