// The sentences of an answer for screen readers, as they are finished.

import { Chunker } from "./chunks";
import type { Chunk } from "./chunks";
import { visible } from "./visible";

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

/** A reader for one answer. */
export function readSentences(strings: SentenceStrings): SentenceReader {
  return new Reader(strings);
}

class Reader implements SentenceReader {
  readonly #chunker = new Chunker();
  /** Characters of the open chunk's speech that were returned already. */
  #said = 0;

  constructor(readonly strings: SentenceStrings) {}

  push(text: string): string[] {
    const sentences = this.#chunker.push(visible(text)).flatMap((chunk) => this.#rest(chunk));
    const open = this.#chunker.preview();
    // Prose only, and nothing of a line whose markup is not closed yet, or that may belong to another chunk.
    const apart = this.#chunker.rest !== "" && this.#chunker.open?.lines.at(-1)?.trim() === "";
    if (open?.kind !== "markdown" || apart || isTable(open.lines) || !settled(this.#chunker.rest)) return sentences;
    const speech = this.#speech(open).slice(this.#said);
    const end = lastEnd(speech);
    this.#said += end;
    return [...sentences, ...split(speech.slice(0, end))];
  }

  finish(): string[] {
    return this.#chunker.finish().flatMap((chunk) => this.#rest(chunk));
  }

  /** What was not said of a chunk that is finished. */
  #rest(chunk: Chunk): string[] {
    // Lines that were said before they turned out to be a table's do not count.
    const said = chunk.kind === "markdown" && isTable(chunk.lines) ? 0 : this.#said;
    this.#said = 0;
    return split(this.#speech(chunk).slice(said));
  }

  #speech(chunk: Chunk): string {
    const { strings } = this;
    if (chunk.kind === "rows") return "";
    if (chunk.kind === "code") return strings.code(/^[\w+#.-]*/.exec(chunk.info)![0]);
    if (isTable(chunk.lines)) return strings.table;
    return chunk.lines
      .map((line) => plainLine(line, strings))
      .filter((line) => line !== "")
      .join("\n");
  }
}

/** Whether lines are a table, or may become one. */
const isTable = (lines: readonly string[]): boolean =>
  lines.some((line) => /^ {0,3}\|/.test(line)) || lines.some((line) => /^[ |:-]*-[ |:-]*\|[ |:-]*$/.test(line));

/** Whether the markup of a line is closed. */
function settled(line: string): boolean {
  const count = (pattern: RegExp) => line.match(pattern)?.length ?? 0;
  return (
    count(/`/g) % 2 === 0 &&
    count(/(?<!^[ \t]*)\*/g) % 2 === 0 &&
    count(/\$/g) % 2 === 0 &&
    !/\[[^\]]*$|\]\([^)]*$|\\[([](?!.*\\[)\]])/.test(line)
  );
}

/** A line without its markup. */
function plainLine(line: string, { formula }: SentenceStrings): string {
  return line
    .replace(/^[ \t]*(?:>[ \t]*)*(?:#{1,6}[ \t]+|(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t])?)?/, "")
    .replace(/^[ \t]*(?:[-*_=][ \t]*){3,}$/, "")
    .replace(/\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)|\$(?=[\\a-zA-Z({])[^$]+?(?<!\s)\$(?!\d)/g, formula)
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/<\/?[a-z][^>]*>/gi, "")
    .replace(/(\*\*|__|~~|`+)(.+?)\1/g, "$2")
    .replace(/(?<![\p{L}\p{N}])([*_])(?=\S)(.+?)\1(?![\p{L}\p{N}])/gu, "$2")
    .replace(/\\([\p{P}\p{S}])/gu, "$1")
    .trim();
}

/** After the end of a sentence: a stop that is followed by a space, or a line. Not after initials, numbers of a list and common short forms. */
const END =
  /(?<!\b(?:\p{Lu}|e\.g|i\.e|p\.ex|etc|cf|vs|Dr|Mr|Mrs|Ms|St|Prof|M|Mme|No|n°|\d+))[.!?…]+["'”’»)\]]*(?=\s)|[。！？]|\n/gu;

function lastEnd(speech: string): number {
  let end = 0;
  for (const { 0: stop, index } of speech.matchAll(END)) end = index + stop.length;
  return end;
}

function split(speech: string): string[] {
  const sentences: string[] = [];
  let at = 0;
  for (const { 0: stop, index } of speech.matchAll(END)) {
    sentences.push(speech.slice(at, index + stop.length));
    at = index + stop.length;
  }
  return [...sentences, speech.slice(at)]
    .map((sentence) => sentence.trim())
    .filter((sentence) => /[\p{L}\p{N}]/u.test(sentence));
}
