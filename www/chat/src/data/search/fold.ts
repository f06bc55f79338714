// Text as it is compared: without case and accents, cut into words.

/** Letters that no accent explains. */
const LETTERS: Record<string, string> = {
  ß: "ss",
  æ: "ae",
  œ: "oe",
  ø: "o",
  đ: "d",
  ð: "d",
  ł: "l",
  ı: "i",
  þ: "th",
  ς: "σ",
};
const OTHER = new RegExp(`[${Object.keys(LETTERS).join("")}]`, "g");
// eslint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/;

/** A text without case, accents and typographic variants. */
export function fold(text: string): string {
  const lower = text.toLowerCase();
  if (ASCII.test(lower)) return lower;
  return lower
    .normalize("NFKD")
    .replace(/\p{M}+/gu, "")
    .replace(OTHER, (letter) => LETTERS[letter]!);
}

/** Words are letters, digits and marks; scripts without spaces give one long run. */
export const WORD = /[\p{L}\p{N}_][\p{L}\p{N}\p{M}_]*/gu;
/** Scripts that put no spaces between words. */
const DENSE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]+/gu;
/** Longer runs are no words, but keys and data; their beginning is enough to find them. */
const LONGEST = 40;

/** The words of a text, folded. A run of a script without spaces becomes its pairs of characters. */
export function words(text: string): string[] {
  const found: string[] = [];
  for (const [word] of fold(text).matchAll(WORD)) {
    if (ASCII.test(word) || word.search(DENSE) === -1) found.push(word.slice(0, LONGEST));
    else split(word, found);
  }
  return found;
}

function split(word: string, found: string[]): void {
  let at = 0;
  for (const { 0: run, index } of word.matchAll(DENSE)) {
    if (index > at) found.push(word.slice(at, index).slice(0, LONGEST));
    const characters = [...run];
    if (characters.length === 1) found.push(run);
    for (let i = 0; i + 1 < characters.length; i++) found.push(characters[i]! + characters[i + 1]!);
    at = index + run.length;
  }
  if (at < word.length) found.push(word.slice(at).slice(0, LONGEST));
}
