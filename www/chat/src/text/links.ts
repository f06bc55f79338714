// What links may be, and how they are shown.

/** A link of an answer, taken apart for showing. */
export interface Link {
  /** Its normalised address: http, https or mailto. */
  href: string;
  /** The host in ASCII (`xn--…`), or the domain of a mail address. */
  host: string;
  /** The host as it would be shown in Unicode, if that differs. */
  unicodeHost?: string;
  /** Reasons to be careful. */
  warnings: LinkWarning[];
}

/** "homograph": letters of the host look like others; "text": the link's text names another host; "bidi": its text contained controls that
 *  reorder text; "credentials": it contains a user name; "ip": the host is an address; "insecure": not encrypted; "port": an unusual one. */
export type LinkWarning = "homograph" | "text" | "bidi" | "credentials" | "ip" | "insecure" | "port";

/** Takes an address apart; undefined if it may not be a link. `text`: what the link shows. */
export function parseLink(_href: string, _text = ""): Link | undefined {
  throw new Error("not written yet");
}
