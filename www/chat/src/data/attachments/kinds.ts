// What a file is, by its name; by its type where the name says nothing.

import type { AttachmentKind } from "../types";

/** Languages by extension, as highlight.js names them. */
const CODE: Record<string, string> = {
  js: "javascript",
  mjs: "javascript",
  cjs: "javascript",
  jsx: "javascript",
  ts: "typescript",
  tsx: "typescript",
  py: "python",
  rs: "rust",
  go: "go",
  java: "java",
  kt: "kotlin",
  c: "c",
  h: "c",
  cpp: "cpp",
  cc: "cpp",
  hpp: "cpp",
  cs: "csharp",
  css: "css",
  scss: "css",
  sh: "bash",
  bash: "bash",
  zsh: "bash",
  ps1: "powershell",
  rb: "ruby",
  php: "php",
  swift: "swift",
  lua: "lua",
  r: "r",
  sql: "sql",
  yaml: "yaml",
  yml: "yaml",
  toml: "ini",
  ini: "ini",
  xml: "xml",
  svg: "xml",
  vue: "xml",
  svelte: "xml",
  diff: "diff",
  patch: "diff",
  tex: "latex",
  bib: "latex",
  dockerfile: "dockerfile",
  wgsl: "rust",
  glsl: "c",
  dart: "java",
  scala: "java",
  pl: "",
  hs: "",
  ex: "",
  clj: "",
  jl: "",
  zig: "",
  nix: "",
};
const KINDS: Record<string, AttachmentKind> = {
  txt: "text",
  text: "text",
  log: "text",
  srt: "text",
  vtt: "text",
  eml: "text",
  md: "markdown",
  markdown: "markdown",
  mdx: "markdown",
  rst: "text",
  org: "text",
  csv: "csv",
  tsv: "csv",
  json: "json",
  jsonl: "json",
  ndjson: "json",
  geojson: "json",
  ipynb: "json",
  html: "html",
  htm: "html",
  xhtml: "html",
  pdf: "pdf",
};

/** For the `accept` attribute of a file input. */
export const ACCEPT =
  [...Object.keys(KINDS), ...Object.keys(CODE)].map((extension) => `.${extension}`).join(",") + ",text/*";

/** The kind of a file; undefined if it is none that has text. */
export function kindOf(name: string, type: string): { kind: AttachmentKind; language?: string } | undefined {
  const extension = /(?:^|\.)([^./\\]+)$/.exec(name.toLowerCase())?.[1] ?? "";
  if (Object.hasOwn(KINDS, extension)) return { kind: KINDS[extension]! };
  if (Object.hasOwn(CODE, extension))
    return CODE[extension] === "" ? { kind: "code" } : { kind: "code", language: CODE[extension]! };
  if (/^(makefile|license|readme|\.?gitignore|\.?editorconfig|\.?env)$/i.test(name)) return { kind: "text" };
  if (type === "application/pdf") return { kind: "pdf" };
  if (type === "text/html") return { kind: "html" };
  if (type === "application/json" || type.endsWith("+json")) return { kind: "json" };
  return type.startsWith("text/") ? { kind: "text" } : undefined;
}
