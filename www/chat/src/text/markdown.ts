// Markdown as HTML text, with placeholders for what is built as DOM: code, formulas, images.

import { Marked } from "marked";
import type { TokenizerAndRendererExtension, Tokens } from "marked";
import { newId } from "../data/ids";
import { PLACE } from "./sanitize";

/** Something that a placeholder stands for. */
export type Piece =
  | { kind: "code"; info: string; text: string }
  | { kind: "math"; tex: string; display: boolean }
  | { kind: "image"; href: string; text: string };

/** Rendered Markdown, and what its placeholders stand for. */
export interface Rendered {
  html: string;
  pieces: Piece[];
}

/** Nothing in an answer can know it, so no answer can contain a placeholder. */
const SECRET = newId();

/** Tags that are rendered where an answer has them as HTML, without attributes; any other HTML is shown as it is written. */
const HTML =
  /<\/?(?:b|i|u|s|em|strong|del|ins|mark|sub|sup|kbd|small|q|br|hr|p|details|summary|dl|dt|dd|blockquote|ul|ol|li|table|thead|tbody|tr|th|td|h[1-6]|code)[ \t]*\/?>/gi;

/** Nested deeper, quotes and lists are text: parsers and layout take very long for thousands of levels. */
const DEEPEST = 24;

let pieces: Piece[] = [];

function place(piece: Piece): string {
  return `<span ${PLACE}="${SECRET}:${pieces.push(piece) - 1}"></span>`;
}

/** The piece that an element stands for, if it is one of `rendered`. */
export function pieceOf(rendered: Rendered, element: Element): Piece | undefined {
  const value = element.getAttribute(PLACE) ?? "";
  return value.startsWith(`${SECRET}:`) ? rendered.pieces[Number(value.slice(SECRET.length + 1))] : undefined;
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** HTML of an answer: a few tags, and the rest as text. */
function harmless(html: string): string {
  let result = "";
  let at = 0;
  for (const { 0: tag, index } of html.matchAll(HTML)) {
    result += escape(html.slice(at, index)) + tag;
    at = index + tag.length;
  }
  return result + escape(html.slice(at));
}

/** A formula: `$$…$$`, `\[…\]`, `\(…\)` or `$…$`; undefined for anything else. */
function formula(src: string, before: string): { raw: string; tex: string; display: boolean } | undefined {
  const long = /^\$\$(?!\$)((?:[^$\\]|\\[^])+?)\$\$/.exec(src) ?? /^\\\[((?:[^\\]|\\[^\]])+?)\\\]/.exec(src);
  if (long && !/\n[ \t]*\n/.test(long[1]!) && long[1]!.trim() !== "")
    return { raw: long[0], tex: long[1]!, display: true };
  const round = /^\\\(((?:[^\\]|\\[^)])+?)\\\)/.exec(src);
  if (round && !/\n[ \t]*\n/.test(round[1]!)) return { raw: round[0], tex: round[1]!, display: false };
  // A dollar before a space, after a letter or digit, or around what begins like a price is money.
  const single = /^\$(?![\s$])((?:[^$\\\n]|\\[^\n])+?)(?<!\s)\$(?![\d$])/.exec(src);
  if (!single || /[\p{L}\p{N}$]$/u.test(before)) return undefined;
  const tex = single[1]!;
  if (/^\d[\d.,]*(?:[\s–,;:)-]|$)/.test(tex) && !/[\\^_=<>+*{}]/.test(tex) && !/^\d+$/.test(tex)) return undefined;
  if (/`/.test(tex)) return undefined;
  return { raw: single[0], tex, display: false };
}

const START = /\$|\\\(|\\\[/;

const inlineMath: TokenizerAndRendererExtension = {
  name: "inlineMath",
  level: "inline",
  start(src) {
    const at = src.search(START);
    return at === -1 ? undefined : at;
  },
  tokenizer(src, tokens) {
    const found = formula(src, (tokens.at(-1) as Tokens.Generic | undefined)?.raw ?? "");
    return found && { type: "inlineMath", ...found };
  },
  renderer: (token) => place({ kind: "math", tex: token["tex"] as string, display: token["display"] as boolean }),
};

const blockMath: TokenizerAndRendererExtension = {
  name: "blockMath",
  level: "block",
  start(src) {
    const at = src.search(/\n {0,3}(?:\$\$|\\\[)/);
    return at === -1 ? undefined : at + 1;
  },
  tokenizer(src) {
    const indent = /^ {0,3}/.exec(src)![0];
    const found = formula(src.slice(indent.length), "");
    if (!found?.display) return undefined;
    const end = /^[ \t]*(?:\n|$)/.exec(src.slice(indent.length + found.raw.length));
    return end ? { type: "blockMath", raw: indent + found.raw + end[0], tex: found.tex } : undefined;
  },
  renderer: (token) => `<p>${place({ kind: "math", tex: token["tex"] as string, display: true })}</p>\n`,
};

const marked = new Marked({ gfm: true, breaks: false });
marked.use({
  extensions: [blockMath, inlineMath],
  tokenizer: {
    // A definition would change what was rendered before it came.
    def: () => undefined,
  },
  renderer: {
    code: ({ text, lang }) => place({ kind: "code", info: lang ?? "", text }),
    html: ({ text }) => harmless(text),
    image: ({ href, text }) => place({ kind: "image", href, text }),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    link({ href, tokens }) {
      return `<a href="${escape(href)}">${this.parser.parseInline(tokens)}</a>`;
    },
  },
});

/** Renders Markdown. */
export function renderMarkdown(source: string): Rendered {
  pieces = [];
  const html = marked.parse(shallow(source), { async: false });
  return { html, pieces };
}

/** Takes away quotes and list items beyond a depth. */
function shallow(source: string): string {
  return source.replace(/^(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))+/gm, (marks) => {
    let depth = 0;
    return marks.replace(/[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))/g, (mark) => (++depth > DEEPEST ? "" : mark));
  });
}
