// What links may be, and how they are shown.

import { toUnicode } from "./punycode";
import { SPELLED } from "./visible";

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

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
/** Longer addresses carry data, and cannot be judged by looking at them. */
const LONGEST = 2000;
/** Scripts with letters that look like Latin ones. */
const LOOKALIKES = /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}]/u;
const LETTER_SCRIPTS = ["Latin", "Cyrillic", "Greek", "Armenian", "Cherokee", "Hebrew", "Arabic", "Georgian"].map(
  (name) => new RegExp(`\\p{Script=${name}}`, "u"),
);
/** Cyrillic, Greek and other letters that cannot be told from Latin ones. */
const LATIN_LIKE = /^[аеорсухіјѕԁһӏԛԝьтнкмвɡɩοаανκρυχιωⅼ\d-]+$/u;

/** Takes an address apart; undefined if it may not be a link. `text`: what the link shows. */
export function parseLink(href: string, text = ""): Link | undefined {
  // Only whole addresses: what is relative would lead into the application.
  const given = href.trim();
  if (given.length > LONGEST || !/^(https?:\/\/|mailto:)/i.test(given)) return undefined;
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    return undefined;
  }
  if (!SCHEMES.has(url.protocol)) return undefined;
  if (url.protocol === "mailto:") return mail(url, text);
  const host = url.hostname;
  if (host === "") return undefined;
  const unicode = toUnicode(host);
  const warnings: LinkWarning[] = [];
  if (host.includes("xn--") && (unicode === undefined || unicode.split(".").some(looksLikeAnother)))
    warnings.push("homograph");
  if (namesAnother(text, host)) warnings.push("text");
  if (SPELLED.test(text)) warnings.push("bidi");
  if (url.username !== "" || url.password !== "") warnings.push("credentials");
  if (/^(\[|[\d.]+$)/.test(host)) warnings.push("ip");
  if (url.protocol === "http:") warnings.push("insecure");
  if (url.port !== "") warnings.push("port");
  return { href: url.href, host, ...(unicode !== undefined && unicode !== host && { unicodeHost: unicode }), warnings };
}

function mail(url: URL, text: string): Link | undefined {
  const address = url.pathname;
  const host = address.slice(address.lastIndexOf("@") + 1).toLowerCase();
  if (!/^[^@\s,;]+@[a-z\d.-]+$/i.test(address)) return undefined;
  // Without a subject and a text, which may take along what the user did not mean to send.
  return { href: `mailto:${address}`, host, warnings: SPELLED.test(text) ? ["bidi"] : [] };
}

/** Whether a label has letters of several scripts, or only such as pass for Latin ones. */
function looksLikeAnother(label: string): boolean {
  if (!/[^\x00-\x7f]/.test(label)) return false;
  const scripts = LETTER_SCRIPTS.filter((script) => script.test(label));
  return (scripts.length > 1 && LOOKALIKES.test(label)) || LATIN_LIKE.test(label);
}

/** Whether a text looks like an address of another host. */
function namesAnother(text: string, host: string): boolean {
  const found = /^\s*(?:https?:\/\/)?(?:[^\s/@]*@)?((?:[\p{L}\d-]+\.)+\p{L}{2,})(?=$|[\s/:?#])/iu
    .exec(text)?.[1]
    ?.toLowerCase();
  if (found === undefined) return false;
  let named = found;
  try {
    named = new URL(`https://${found}`).hostname;
  } catch {
    // Then it is compared as it stands.
  }
  const bare = (name: string) => name.replace(/^www\./, "");
  return bare(named) !== bare(host);
}
