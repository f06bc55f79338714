// Files and folders of the visitor's own: dropped, picked, or held by handles.

import { invalid, type Failure } from "../errors.js";

/** A file under the name it is opened by: below a folder, the path from there. */
export interface Named {
  name: string;
  blob: Blob;
}

/** What a page may get from a drop or a picker. */
export type Local = File | FileSystemHandle | FileSystemEntry;

/** Folders in folders that are looked into, and files taken at most. */
const DEEP = 3;
const MOST = 4096;

/** The files of what was dropped or picked, and the name of the folder if it was one. Throws `invalid-argument`. */
export async function localFiles(given: readonly Local[]): Promise<{ folder?: string; files: Named[] }> {
  const files: Named[] = [];
  let folder: string | undefined;
  const add = (name: string, blob: Blob) => {
    if (files.push({ name, blob }) > MOST) throw invalid("source.files", `more than ${MOST} files`);
  };
  const walk = async (item: Local | undefined, path: string, depth: number): Promise<void> => {
    if (item instanceof Blob) return add(item instanceof File && item.name !== "" ? picked(item) : "model.gguf", item);
    if (typeof item !== "object" || item === null) throw invalid("source.files", "expected files, or handles of files and folders");
    const name = path + item.name;
    const inside = async (children: AsyncIterable<Local> | Iterable<Local>) => {
      if (path === "" && depth === DEEP) folder ??= item.name;
      // The folder that was given is no part of its files' names.
      if (depth > 0) for await (const child of children) await walk(child, depth === DEEP ? "" : `${name}/`, depth - 1);
    };
    if (isHandle(item)) {
      if (item.kind === "file") return add(name, await (item as FileSystemFileHandle).getFile());
      return inside((item as unknown as { values(): AsyncIterable<FileSystemHandle> }).values());
    }
    if (typeof item.isDirectory !== "boolean") throw invalid("source.files", "expected files, or handles of files and folders");
    if (item.isFile) return add(name, await new Promise<File>((resolve, reject) => (item as FileSystemFileEntry).file(resolve, reject)));
    return inside(await children(item as FileSystemDirectoryEntry));
  };
  for (const item of given) await walk(item, "", DEEP);
  return { folder, files };
}

/** The path of a picked folder's file below that folder; the name of any other. */
function picked({ name, webkitRelativePath }: File): string {
  return webkitRelativePath ? webkitRelativePath.split("/").slice(1).join("/") : name;
}

function isHandle(item: Local): item is FileSystemHandle {
  return "kind" in item && (item.kind === "file" || item.kind === "directory");
}

/** What a dropped folder holds; browsers give it in portions. */
async function children(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0 || all.length > MOST) return all;
    all.push(...some);
  }
}

/** The bytes [start, end) of a blob, as a reader must give them. */
export async function readBlob(blob: Blob, start: number, end: number, name: string): Promise<Uint8Array> {
  const fail = (message: string): Failure => ({ code: "network", message, retryable: false, detail: { url: name, status: null } });
  if (!(start >= 0 && start <= end && end <= blob.size)) throw fail(`bytes ${start}-${end} lie outside its ${blob.size}`);
  try {
    return new Uint8Array(await blob.slice(start, end).arrayBuffer());
  } catch (error) {
    throw fail(`it cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}
