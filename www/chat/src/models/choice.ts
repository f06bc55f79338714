// A model that can be loaded: one of the catalogue, an address that was typed, or the user's own files.

import { EngineError } from "minke";
import type { LoadOptions, ModelSource } from "minke";
import type { Entry } from "./catalogue";

export interface Choice {
  /** How the engine's store names it. Of files of the user, which are not stored, a name of their own. */
  readonly id: string;
  readonly name: string;
  readonly source: ModelSource;
  /** What it is requested from; absent: nothing is. */
  readonly url?: string;
  readonly integrity?: NonNullable<LoadOptions["integrity"]>;
  /** What the catalogue says of it. */
  readonly entry?: Entry;
}

export const HUB = "https://huggingface.co";
const REPOSITORY = /^[\w.-]+\/[\w.-]+$/;
const GGUF = /\.gguf$/i;
/** The address of a repository or of a file in it, as it is copied from the hub's pages. */
const PAGE =
  /^https:\/\/(?:huggingface\.co|hf\.co)\/([\w.-]+\/[\w.-]+?)\/?(?:\/(?:blob|resolve|tree)\/([^/?#]+)(?:\/([^?#]+))?)?(?:[?#].*)?$/;

export function ofRepository(repo: string, file?: string, revision = "main"): Pick<Choice, "id" | "source" | "url"> {
  return {
    id: file === undefined ? repo : `${repo}/${file}`,
    source: { repo, ...(file !== undefined && { file }), ...(revision !== "main" && { revision }) },
    url: `${HUB}/${repo}`,
  };
}

/** What someone typed: "org/repo", "org/repo/file.gguf", the address of a file or folder, or of a page of the hub. */
export function ofText(given: string): Choice {
  const text = given.trim();
  const page = PAGE.exec(text);
  const [org = "", name = "", ...rest] = text.split("/");
  const repo = `${org}/${name}`;
  const relative = /^\.{0,2}\/|^[a-z][a-z0-9+.-]*:/i.test(text);
  if (page) {
    const file = page[3] === undefined ? undefined : decodeURIComponent(page[3]);
    return named(ofRepository(page[1]!, file && GGUF.test(file) ? file : undefined, page[2]));
  }
  if (!relative && REPOSITORY.test(repo)) {
    if (rest.length === 0 && !GGUF.test(text)) return named(ofRepository(repo));
    if (rest.length > 0 && GGUF.test(text)) return named(ofRepository(repo, rest.join("/")));
  }
  let url: URL;
  try {
    if (text === "") throw new TypeError("it is empty");
    url = new URL(text, document.baseURI);
  } catch {
    throw new EngineError("invalid-argument", `${JSON.stringify(text)} is neither an address nor "org/repo"`);
  }
  const whole = url.pathname.endsWith("/") || GGUF.test(url.pathname);
  return named({ id: url.origin + url.pathname + (whole ? "" : url.search), source: url.href, url: url.href });
}

/** Files or folders that were picked or dropped. */
export function ofFiles(files: readonly (File | FileSystemEntry)[], name: string): Choice {
  return { id: `files: ${name}`, name, source: { files } };
}

/** What an id of the store was loaded from. */
export const ofId = ofText;

export const isLocal = ({ url }: Choice): boolean => url === undefined;

function named(choice: Omit<Choice, "name">): Choice {
  const last = choice.id.split("/").filter(Boolean).at(-1) ?? choice.id;
  return { ...choice, name: last.replace(GGUF, "") };
}
