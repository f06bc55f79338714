// The sentences of an answer for screen readers, as they are finished.

/** Turns Markdown that streams in into spoken sentences. */
export interface SentenceReader {
  /** Adds to the text. Returns the sentences that this finished, without markup. */
  push(text: string): string[];
  /** The rest. */
  finish(): string[];
}

/** Words that replace what cannot be read aloud. */
export interface SentenceStrings {
  /** For a block of code, which is announced and not read; with its language, if it has one. */
  code(language: string): string;
  formula: string;
  table: string;
}

export function readSentences(_strings: SentenceStrings): SentenceReader {
  throw new Error("not written yet");
}
