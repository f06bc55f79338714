// What the headers and the first bytes of a response say about a file.

import { BLOCK } from "../storage/index.js";

/** Bytes at the start of a file that suffice to recognise an HTML page. */
export const PEEK = 512;

/** The tag that identifies a version of a file. */
export function tagOf(response: Response): string | null {
  return response.headers.get("etag") ?? response.headers.get("last-modified");
}

/** Compares tags weakly: servers that compress responses turn a strong tag into a weak one. */
export function sameTag(a: string | null, b: string | null): boolean {
  return a?.replace(/^W\//, "") === b?.replace(/^W\//, "");
}

/** The tag in the form that If-Range accepts. */
export function strong(tag: string | null): string | undefined {
  return tag === null || tag.startsWith("W/") ? undefined : tag;
}

export function isHtml(response: Response): boolean {
  return /^(text\/html|application\/xhtml\+xml)\b/i.test(response.headers.get("content-type") ?? "");
}

/**
 * Whether a response is an HTML page, by how its text begins. Model files never are, but servers of single-page
 * applications serve one for every file that does not exist. A template with the content type of HTML is not a page.
 */
export function isPage(response: Response, start: Uint8Array): boolean {
  const text = new TextDecoder().decode(start.subarray(0, PEEK)).trimStart();
  if (/^<(!doctype\s+html|html)[\s>]/i.test(text)) return true;
  return isHtml(response) && /^($|<(!doctype|!--|\?xml|html|head|title|meta|link|base|style|script|body)(?![\w-]))/i.test(text);
}

export function page(response: Response): string {
  return `the server answered with a page (${response.headers.get("content-type") ?? "without a content type"}) instead of the file`;
}

/**
 * The length of a whole body; undefined if the server does not report it, or reports that of the compressed form. Other
 * origins hide which it is, so small files, which servers tend to compress, are not trusted.
 */
export function lengthOf(response: Response): number | undefined {
  const length = response.headers.get("content-length");
  if (length === null || response.headers.get("content-encoding") !== null) return undefined;
  return response.type === "cors" && Number(length) < BLOCK ? undefined : Number(length);
}

/** The file's size in the Content-Range of a 416 response. */
export function totalOf(response: Response): number | undefined {
  const total = /^bytes \*\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}

export function contentRange(response: Response): { start: number; end: number; size?: number } | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  if (match === null) return null;
  return { start: Number(match[1]), end: Number(match[2]) + 1, size: match[3] === "*" ? undefined : Number(match[3]) };
}
