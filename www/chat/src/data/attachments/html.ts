// The main text of an HTML document. It is parsed without being part of a page: nothing in it runs, and nothing is loaded.

const IGNORED =
  "script, style, noscript, template, iframe, object, embed, svg, math, canvas, audio, video, nav, header, footer, aside, form, button, select, dialog, [hidden], [aria-hidden=true]";
const BLOCKS = new Set(
  "address article blockquote dd details div dl dt fieldset figcaption figure h1 h2 h3 h4 h5 h6 hr li main ol p pre section summary table tr ul".split(
    " ",
  ),
);

/** The title and the text of a document. */
export function htmlText(html: string): { title: string; text: string } {
  const document = new DOMParser().parseFromString(html, "text/html");
  const title =
    document.querySelector("title")?.textContent?.trim() || document.querySelector("h1")?.textContent?.trim() || "";
  for (const element of document.querySelectorAll(IGNORED)) element.remove();
  const mains = [...document.querySelectorAll("main, [role=main], article")].sort(
    (a, b) => b.textContent!.length - a.textContent!.length,
  );
  const body = document.body;
  // A main part that is a small part of the page is a teaser, or was marked by mistake.
  const main = mains[0] && mains[0].textContent!.length > body.textContent!.length / 3 ? mains[0] : body;
  const parts: string[] = [];
  write(main, parts);
  const text = parts
    .join("")
    .replace(/[ \t]+\n/g, "\n")
    .replace(/\n[ \t]+(?=\S)/g, "\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
  return { title: title.replace(/\s+/g, " "), text };
}

/** Writes what an element says, with a few marks of Markdown for its structure. Without recursion: documents may be nested thousands deep. */
function write(root: Element, parts: string[]): void {
  const stack: (Node | string)[] = [root];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (typeof node === "string") parts.push(node);
    else if (node.nodeType === Node.TEXT_NODE)
      parts.push(node.parentElement?.closest("pre") ? node.nodeValue! : node.nodeValue!.replace(/\s+/g, " "));
    else if (node instanceof Element || node.nodeType === Node.ELEMENT_NODE) {
      const element = node as Element;
      const name = element.localName;
      const [before, after] = marks(name);
      if (before) parts.push(before);
      if (after) stack.push(after);
      stack.push(...[...element.childNodes].reverse());
    }
  }
}

function marks(name: string): [before: string, after: string] {
  if (/^h[1-6]$/.test(name)) return [`\n\n${"#".repeat(Number(name[1]))} `, "\n\n"];
  if (name === "li") return ["\n- ", "\n"];
  if (name === "br") return ["\n", ""];
  if (name === "td" || name === "th") return ["", " | "];
  if (name === "tr") return ["\n", "\n"];
  return BLOCKS.has(name) ? ["\n\n", "\n\n"] : ["", ""];
}
