// The piece of a text that shows why it was found.

import { WORD, fold } from "./fold";
import type { Snippet } from "./types";

/** Characters of a snippet, and how many of them stand before the first word that was found. */
const LENGTH = 160;
const BEFORE = 40;
/** Characters that are looked at; a word beyond is found, but not shown. */
const LOOK = 200_000;

/** Around the first of `queries` (folded words) in `text`, or its beginning. `whole`: all of the text. */
export function snippet(text: string, queries: readonly string[], whole = false): Snippet {
  const seen = text.slice(0, LOOK);
  const first = find(seen, queries).next().value?.[0] ?? 0;
  const start = whole ? 0 : wordStart(seen, Math.max(0, first - BEFORE));
  const end = whole ? seen.length : wordEnd(seen, start + LENGTH);
  const piece = seen.slice(start, end);
  // Line breaks and controls take one character as spaces do, so that marks stay where they are.
  const line = piece.replace(/[\s\p{Cc}]/gu, " ");
  const before = start > 0 ? "…" : "";
  const marks = [...find(piece, queries)].map(([from, to]): [number, number] => [
    from + before.length,
    to + before.length,
  ]);
  return { text: before + line + (end < text.length ? "…" : ""), marks };
}

/** Where words begin with one of `queries`. */
function* find(text: string, queries: readonly string[]): Generator<[start: number, end: number], undefined> {
  for (const { 0: word, index } of text.matchAll(WORD)) {
    const folded = fold(word);
    if (queries.some((query) => folded.startsWith(query))) yield [index, index + word.length];
    else {
      // In a script without spaces words begin anywhere; folding keeps its characters, and so their places.
      const inside =
        folded.length === word.length
          ? queries
              .filter((query) => query.charCodeAt(0) > 0x0e00)
              .map((query) => [folded.indexOf(query), query.length])
          : [];
      const [at, length] = inside.find(([at]) => at !== -1) ?? [-1, 0];
      if (at !== -1) yield [index + at!, index + at! + length!];
    }
  }
  return undefined;
}

function wordStart(text: string, at: number): number {
  if (at === 0) return 0;
  const space = text.indexOf(" ", at);
  return space !== -1 && space < at + BEFORE / 2 ? space + 1 : clean(text, at);
}

function wordEnd(text: string, at: number): number {
  if (at >= text.length) return text.length;
  const space = text.lastIndexOf(" ", at);
  return space > at - BEFORE / 2 ? space : clean(text, at);
}

/** Not within a surrogate pair. */
const clean = (text: string, at: number): number => (/[\udc00-\udfff]/.test(text[at] ?? "") ? at + 1 : at);
