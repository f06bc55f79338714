// The only way from HTML text to DOM: DOMPurify with lists of what answers may contain. What is not listed is not there.

import DOMPurify from "dompurify";
import type { Config } from "dompurify";
import { visible } from "./visible";

/** The attribute by which our own placeholders are told from what the text contains: its value begins with a secret of this page. */
export const PLACE = "data-md";

const TEXT_TAGS = [
  "p",
  "br",
  "hr",
  "h1",
  "h2",
  "h3",
  "h4",
  "h5",
  "h6",
  "strong",
  "b",
  "em",
  "i",
  "u",
  "s",
  "del",
  "ins",
  "mark",
  "sub",
  "sup",
  "kbd",
  "small",
  "q",
  "code",
  "pre",
  "blockquote",
  "ul",
  "ol",
  "li",
  "table",
  "thead",
  "tbody",
  "tr",
  "th",
  "td",
  "a",
  "span",
  "details",
  "summary",
  "dl",
  "dt",
  "dd",
];
const MATH_TAGS = [
  "math",
  "mrow",
  "mi",
  "mo",
  "mn",
  "ms",
  "mtext",
  "mspace",
  "mfrac",
  "msqrt",
  "mroot",
  "mstyle",
  "mpadded",
  "mphantom",
  "menclose",
  "merror",
  "msub",
  "msup",
  "msubsup",
  "munder",
  "mover",
  "munderover",
  "mmultiscripts",
  "mprescripts",
  "mtable",
  "mtr",
  "mtd",
];
const MATH_ATTRIBUTES = [
  "class",
  "display",
  "displaystyle",
  "scriptlevel",
  "mathvariant",
  "stretchy",
  "symmetric",
  "largeop",
  "movablelimits",
  "fence",
  "form",
  "separator",
  "accent",
  "accentunder",
  "lspace",
  "rspace",
  "minsize",
  "maxsize",
  "width",
  "height",
  "depth",
  "voffset",
  "linethickness",
  "notation",
  "columnalign",
  "rowspacing",
  "columnspacing",
  "columnlines",
  "rowlines",
  "columnspan",
  "rowspan",
];

const COMMON = {
  RETURN_DOM_FRAGMENT: true,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOW_UNKNOWN_PROTOCOLS: false,
  SAFE_FOR_XML: true,
  FORBID_ATTR: ["style", "id", "name"],
} satisfies Config;
const TEXT: Config = {
  ...COMMON,
  ALLOWED_TAGS: TEXT_TAGS,
  ALLOWED_ATTR: ["href", "start", "align", PLACE],
  ADD_URI_SAFE_ATTR: [PLACE],
};
const MATH: Config = { ...COMMON, ALLOWED_TAGS: MATH_TAGS, ALLOWED_ATTR: MATH_ATTRIBUTES };
const CODE: Config = { ...COMMON, ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"] };

const purify = DOMPurify();
const clean = (html: string, config: Config) => purify.sanitize(html, config) as unknown as DocumentFragment;

/** Rendered Markdown. Links still have to be judged. */
export const sanitizeText = (html: string): DocumentFragment => clean(html, TEXT);

/** Highlighted code. */
export function sanitizeCode(html: string): DocumentFragment {
  const fragment = clean(html, CODE);
  keepClasses(fragment, /^(hljs(-[a-z_-]+)?|[a-z]+_+)$/);
  return fragment;
}

/** Lengths that cannot cover the page. */
const LENGTH = /^-?(\d{0,2}(\.\d+)?(em|rem|ex|mu)|\d{0,3}(\.\d+)?(px|pt|%))$|^0$/;
const LENGTHS = [
  "width",
  "height",
  "depth",
  "voffset",
  "lspace",
  "rspace",
  "minsize",
  "maxsize",
  "linethickness",
  "rowspacing",
  "columnspacing",
];

/** A formula as MathML. */
export function sanitizeMath(mathml: string): DocumentFragment {
  const fragment = clean(mathml, MATH);
  // A formula can write any character by its number.
  const texts = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.nodeValue = visible(texts.currentNode.nodeValue!);
  keepClasses(fragment, /^(tml-[a-z-]+|upstrike|downstrike|sout)$/);
  for (const element of fragment.querySelectorAll("*")) {
    for (const name of LENGTHS) {
      const value = element.getAttribute(name);
      if (value !== null && !value.split(" ").every((length) => LENGTH.test(length))) element.removeAttribute(name);
    }
  }
  return fragment;
}

function keepClasses(fragment: DocumentFragment, allowed: RegExp): void {
  for (const element of fragment.querySelectorAll("[class]")) {
    const kept = [...element.classList].filter((name) => allowed.test(name));
    if (kept.length > 0) element.setAttribute("class", kept.join(" "));
    else element.removeAttribute("class");
  }
}
