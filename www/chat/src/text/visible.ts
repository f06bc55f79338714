// Characters that would show a text as something other than what it is.

/** Embeddings, overrides and isolates; U+200E and U+200F only mark a direction, and stay. */
const CONTROLS = /[\u202a-\u202e\u2066-\u2069]/g;
// eslint-disable-next-line no-control-regex
const UNUSED = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;

/** A text in which controls of bidirectional text are spelled out, other controls are replaced, and lines end in "\n". One character at a
 *  time decides, except that a carriage return may belong to a line feed: hold back one that comes last. */
export function visible(text: string): string {
  return text
    .replace(/\r\n?/g, "\n")
    .replace(CONTROLS, (control) => `⟨U+${control.charCodeAt(0).toString(16).toUpperCase()}⟩`)
    .replace(UNUSED, "\ufffd");
}

/** What `visible` writes. */
export const SPELLED = /⟨U\+[0-9A-F]{4}⟩/;
