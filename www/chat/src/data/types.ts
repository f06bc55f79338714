// What the chat remembers: conversations, their messages as trees, presets, settings. Plain data that survives structured cloning.

/** Who speaks in a message. The system prompt of a conversation is no message: see `Conversation.system`. */
export type Role = "user" | "assistant" | "tool";

/** Why an answer ended. "streaming": it has not, or the page was closed in the middle of it. */
export type FinishReason = "streaming" | "stop" | "length" | "tool-calls" | "abort" | "error";

/** A conversation without its messages: what lists show, and what is needed to open it. */
export interface Conversation {
  readonly id: string;
  title: string;
  /** Milliseconds since 1970, as all times here. */
  created: number;
  /** When a message was last added or changed; renaming or pinning does not count. */
  updated: number;
  pinned: boolean;
  /** The name of a folder; absent: at the top level. */
  folder?: string;
  tags: string[];
  /** What `minke.load` is given, as text. */
  model?: string;
  /** The id of a preset. */
  preset?: string;
  /** The system prompt; absent: that of the preset. */
  system?: string;
  /** The parent of the first messages, which have no other. It names no message. */
  readonly root: string;
  /** The last message of the branch that is shown; `root` where there is none. */
  leaf: string;
  /** Not stored, ever. Absent in what comes from the store. */
  ghost?: true;
}

/** A message: a node of its conversation's tree. */
export interface Message {
  readonly id: string;
  readonly conversation: string;
  /** The message before, or the conversation's `root`. */
  parent: string;
  role: Role;
  created: number;
  text: string;
  reasoning?: string;
  /** Milliseconds that the reasoning took. */
  reasoningMs?: number;
  /** Calls of an assistant's message. */
  calls?: ToolCall[];
  /** On a tool's message: the call that it answers. */
  callId?: string;
  attachments?: Attachment[];
  stats?: Stats;
  finish?: FinishReason;
  /** What went wrong, where `finish` is "error". */
  error?: string;
  /** The model that wrote it. */
  model?: string;
  logprobs?: TokenLogprob[];
  /** What a model reads in place of all messages before this one, which no longer fit its context. */
  summary?: string;
}

/** A call of a tool, with its result where the page ran it. */
export interface ToolCall {
  id: string;
  name: string;
  /** JSON text. */
  input: string;
  /** Text, or JSON text. */
  output?: string;
  failed?: boolean;
}

/** A file as text. */
export interface Attachment {
  id: string;
  /** The file's name. */
  name: string;
  kind: AttachmentKind;
  /** What a document calls itself; else its name. */
  title: string;
  text: string;
  /** The file's size. */
  bytes: number;
  /** Of a PDF. */
  pages?: number;
  /** The language of code, as highlight.js names it. */
  language?: string;
}

export type AttachmentKind = "text" | "markdown" | "code" | "csv" | "json" | "html" | "pdf";

/** Figures of an answer. */
export interface Stats {
  promptTokens: number;
  /** Of the prompt, those whose keys and values were kept from before. */
  cachedTokens?: number;
  tokens: number;
  reasoningTokens?: number;
  /** Milliseconds to the first token. */
  firstTokenMs: number;
  tokensPerSecond: number;
}

/** The log-probability of a token and of the likeliest ones in its place. */
export interface TokenLogprob {
  token: string;
  logprob: number;
  top?: { token: string; logprob: number }[];
}

/** How to sample; what is absent is the model's own. */
export interface Sampling {
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  seed?: number;
  maxTokens?: number;
  stop?: string[];
}

export interface Preset {
  readonly id: string;
  name: string;
  system: string;
  sampling: Sampling;
  /** "auto": as the model does by default; a number: tokens at most. */
  reasoning: "auto" | "none" | number;
  updated: number;
}

/** What the user chose for the whole application. Contains nothing private, and is never encrypted. */
export interface Settings {
  language: "auto" | "en" | "fr";
  theme: "auto" | "light" | "dark";
  /** The model and the preset of new conversations. */
  model?: string;
  preset?: string;
  /** Whether Enter sends, or starts a line. */
  enterSends: boolean;
  /** Whether log-probabilities are kept with answers. */
  logprobs: boolean;
  showStats: boolean;
  wrapCode: boolean;
  confirmLinks: boolean;
  /** New conversations are not stored. */
  ghostByDefault: boolean;
  sidebar: boolean;
  /** Minutes without use after which an encrypted store is locked; 0: never. */
  lockAfter: number;
  /** Further choices of the interface, by name. */
  other: Record<string, string | number | boolean>;
}

/** A text that was not sent. */
export interface Draft {
  readonly conversation: string;
  text: string;
  attachments: Attachment[];
}
