// Chunks of Markdown as DOM: sanitised, then dressed with what only this code makes.

import type { Chunk } from "./chunks";
import { CodeBlock } from "./code";
import { formulaElement } from "./formula";
import { parseLink } from "./links";
import type { Link } from "./links";
import { pieceOf, renderMarkdown } from "./markdown";
import type { Piece, Rendered } from "./markdown";
import type { TextStrings } from "./render";
import { PLACE, sanitizeText } from "./sanitize";

export interface BlockOptions {
  strings: TextStrings;
  wrap: boolean;
  /** Highlights code; not while it may still grow. */
  final: boolean;
  /** Gets what is still to be waited for. */
  jobs: Promise<void>[];
}

/** What links of answers are, for the listener of clicks. */
export const linkOf = new WeakMap<Element, Link>();

const BLOCKS = "p, h1, h2, h3, h4, h5, h6, li, blockquote, td, th, ul, ol, dt, dd, summary";

/** The blocks of a chunk. */
export function buildBlocks(chunk: Extract<Chunk, { kind: "markdown" | "rows" }>, options: BlockOptions): Node[] {
  const lines = chunk.kind === "rows" ? [...chunk.head, ...chunk.lines] : chunk.lines;
  const rendered = renderMarkdown(lines.join("\n"));
  const fragment = sanitizeText(rendered.html);
  for (const element of [...fragment.querySelectorAll(`[${PLACE}]`)]) dress(element, rendered, options);
  for (const link of [...fragment.querySelectorAll("a")]) dressLink(link);
  for (const element of fragment.querySelectorAll<HTMLElement>(BLOCKS)) element.dir = "auto";
  for (const cell of fragment.querySelectorAll("[align]")) dressCell(cell);
  for (const table of fragment.querySelectorAll("table")) scrollable(table);
  return [...fragment.childNodes].filter(
    (node) => node.nodeType === Node.ELEMENT_NODE || node.textContent!.trim() !== "",
  );
}

function dress(element: Element, rendered: Rendered, options: BlockOptions): void {
  const piece = pieceOf(rendered, element);
  if (piece === undefined) element.removeAttribute(PLACE);
  else element.replaceWith(pieceElement(piece, options));
}

function pieceElement(piece: Piece, { strings, wrap, final, jobs }: BlockOptions): Node {
  if (piece.kind === "math") return formulaElement(piece.tex, piece.display, jobs);
  if (piece.kind === "code") {
    const block = new CodeBlock(piece.info, strings, wrap);
    block.update(piece.text.split("\n"));
    if (final) jobs.push(block.finish());
    return block.element;
  }
  const label = `${strings.image} ${piece.text}`.trim();
  if (parseLink(piece.href) === undefined) return document.createTextNode(label);
  const link = document.createElement("a");
  link.setAttribute("href", piece.href);
  link.textContent = label;
  return link;
}

/** A link that may be one shows where it leads, unless its text says so; any other becomes text. */
function dressLink(link: HTMLAnchorElement): void {
  const text = link.textContent ?? "";
  const parsed = parseLink(link.getAttribute("href") ?? "", text);
  if (parsed === undefined) {
    link.replaceWith(...link.childNodes);
    return;
  }
  for (const { name } of [...link.attributes]) link.removeAttribute(name);
  link.href = parsed.href;
  link.rel = "noreferrer noopener";
  link.target = "_blank";
  link.title = parsed.href;
  link.className =
    parsed.warnings.length > 0
      ? `md-link md-warn ${parsed.warnings.map((name) => `md-warn-${name}`).join(" ")}`
      : "md-link";
  linkOf.set(link, parsed);
  // Isolated, so that text of another direction beside it cannot move the host.
  const isolated = document.createElement("bdi");
  link.replaceWith(isolated);
  isolated.append(link);
  const shown = text.trim().replace(/^mailto:/, "");
  const plain = parsed.href.replace(/^mailto:/, "").replace(/\/$/, "");
  if (shown.replace(/\/$/, "") === plain) return;
  const host = document.createElement("span");
  host.className = "md-host";
  host.dir = "ltr";
  host.textContent = ` (${parsed.host})`;
  link.append(host);
}

function dressCell(cell: Element): void {
  const align = cell.getAttribute("align");
  cell.removeAttribute("align");
  if ((align === "center" || align === "right" || align === "left") && /^t[dh]$/.test(cell.localName))
    cell.className = `md-${align}`;
}

/** A wide table is scrolled, by the keyboard too. */
function scrollable(table: HTMLTableElement): void {
  const box = document.createElement("div");
  box.className = "md-table";
  box.tabIndex = 0;
  table.replaceWith(box);
  box.append(table);
}
