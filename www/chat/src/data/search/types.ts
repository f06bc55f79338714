// What a search takes and gives.

import type { Conversation } from "../types";

export interface SearchOptions {
  /** Conversations at most; default 30. */
  limit?: number;
  /** Only in this folder. */
  folder?: string;
  /** Only with this tag. */
  tag?: string;
  signal?: AbortSignal;
}

/** A conversation in which all words of the query occur, in its title and messages together. */
export interface SearchHit {
  conversation: Conversation;
  /** The best message; absent where only the title has the words. */
  message?: string;
  /** Around the words in that message, or the beginning of the conversation. */
  snippet: Snippet;
  /** Where the words are in the title. */
  title: Snippet;
  score: number;
}

/** A piece of text with the ranges to be marked: starts and ends in UTF-16 units, in order and apart. */
export interface Snippet {
  text: string;
  marks: [start: number, end: number][];
}

export interface SearchResult {
  /** The best first. */
  hits: SearchHit[];
  /** How many conversations match. */
  total: number;
  /** Whether all messages were searched: right after opening a large store, only titles are until the index is made. */
  complete: boolean;
}
