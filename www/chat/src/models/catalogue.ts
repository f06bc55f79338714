// The catalogue of models: `catalogue.json` beside the page, which a site's owner edits.
//
//   { "version": 1, "models": [{ "name", "repo", "file"?, "revision"?, … }] }
//
// A model is a repository of the hub (`repo`; without `file` it is read as a folder of safetensors), or an address on
// this site (`url`).

import type { LoadOptions } from "minke";
import { LANGUAGES } from "../i18n";
import type { Language } from "../i18n";
import type { Choice } from "./choice";
import { ofRepository, ofText } from "./choice";

export const CAPABILITIES = ["reasoning", "tools", "languages", "code"] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** What the catalogue says of a model. */
export interface Entry {
  name: string;
  /** Bytes of its files. */
  bytes?: number;
  /** "1.7B" */
  parameters?: string;
  licence?: string;
  /** What it is good at, by language; English is used where one is missing. */
  about: Partial<Record<Language, string>>;
  capabilities: readonly Capability[];
  /** Of a repository, for show: where it comes from. */
  repo?: string;
  file?: string;
  revision?: string;
}

/** What is wrong with a catalogue. `where`: a path such as `models[3].bytes`. */
export class CatalogueError extends Error {
  override readonly name = "CatalogueError";
  constructor(
    readonly where: string,
    readonly expected: string,
  ) {
    super(`catalogue.json: ${where}: expected ${expected}`);
  }
}

/** Reads a catalogue. Throws a `CatalogueError` that names the first thing that is wrong. */
export function readCatalogue(text: string): Choice[] {
  let all: unknown;
  try {
    all = JSON.parse(text);
  } catch (error) {
    throw new CatalogueError("the file", `JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  if (!isRecord(all)) throw new CatalogueError("the file", "an object");
  if (all["version"] !== 1) throw new CatalogueError("version", "1");
  if (!Array.isArray(all["models"])) throw new CatalogueError("models", "a list");
  const choices = all["models"].map((model: unknown, i) => choice(model, `models[${i}]`));
  choices.forEach(({ id }, i) => {
    if (choices.findIndex((other) => other.id === id) !== i)
      throw new CatalogueError(`models[${i}]`, `no second entry for ${id}`);
  });
  return choices;
}

const KNOWN = new Set([
  "name",
  "repo",
  "file",
  "revision",
  "url",
  "bytes",
  "parameters",
  "licence",
  "about",
  "capabilities",
  "integrity",
]);

function choice(model: unknown, where: string): Choice {
  if (!isRecord(model)) throw new CatalogueError(where, "an object");
  for (const key of Object.keys(model))
    if (!KNOWN.has(key)) throw new CatalogueError(`${where}.${key}`, "no such field");
  const text = (key: string) => {
    const value = model[key];
    if (value === undefined) return undefined;
    if (typeof value !== "string" || value.trim() === "") throw new CatalogueError(`${where}.${key}`, "a text");
    return value;
  };
  const name = text("name");
  if (name === undefined) throw new CatalogueError(`${where}.name`, "a text");
  const [repo, file, revision, url] = [text("repo"), text("file"), text("revision"), text("url")];
  if ((repo === undefined) === (url === undefined)) throw new CatalogueError(where, "either repo or url");
  if (repo !== undefined && !/^[\w.-]+\/[\w.-]+$/.test(repo)) throw new CatalogueError(`${where}.repo`, '"org/repo"');
  if (url !== undefined && (file ?? revision) !== undefined)
    throw new CatalogueError(where, "file and revision with repo only");
  const bytes = model["bytes"];
  if (bytes !== undefined && !(Number.isSafeInteger(bytes) && (bytes as number) > 0))
    throw new CatalogueError(`${where}.bytes`, "a number of bytes");
  const integrity = model["integrity"];
  if (
    integrity !== undefined
    && !(isRecord(integrity) && Object.values(integrity).every((digest) => /^sha256-[\w+/]{43}=$/.test(String(digest))))
  )
    throw new CatalogueError(`${where}.integrity`, "digests by file: sha256-…");
  const given = model["capabilities"] ?? [];
  const capabilities = Array.isArray(given) ? given.filter((one): one is Capability => CAPABILITIES.includes(one)) : [];
  if (!Array.isArray(given) || capabilities.length < given.length)
    throw new CatalogueError(`${where}.capabilities`, `some of ${CAPABILITIES.join(", ")}`);
  const about = model["about"] ?? {};
  if (
    !isRecord(about)
    || !Object.entries(about).every(([code, words]) => Object.hasOwn(LANGUAGES, code) && typeof words === "string")
  )
    throw new CatalogueError(`${where}.about`, `texts by ${Object.keys(LANGUAGES).join(", ")}`);
  const [parameters, licence] = [text("parameters"), text("licence")];
  const entry: Entry = {
    name,
    about: about as Entry["about"],
    capabilities,
    ...(bytes !== undefined && { bytes: bytes as number }),
    ...(parameters !== undefined && { parameters }),
    ...(licence !== undefined && { licence }),
    ...(repo !== undefined && { repo, revision: revision ?? "main" }),
    ...(file !== undefined && { file }),
  };
  const from = repo === undefined ? ofText(url!) : ofRepository(repo, file, revision);
  return {
    ...from,
    name,
    entry,
    ...(integrity !== undefined && { integrity: integrity as NonNullable<LoadOptions["integrity"]> }),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Fetches the catalogue. Rejects with a `CatalogueError`. */
export async function fetchCatalogue(): Promise<Choice[]> {
  const response = await fetch("catalogue.json", { cache: "no-cache" }).catch(() => undefined);
  if (!response?.ok)
    throw new CatalogueError("the file", response ? `a response other than ${response.status}` : "a connection");
  return readCatalogue(await response.text());
}
