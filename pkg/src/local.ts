// Reads the visitor's own files and folders: dropped, picked, or given as handles.

import { invalid, networkFailure, type NetworkFailure } from "./errors.js";

/** A file with the name by which it is opened: in a folder, its path relative to the folder. */
export interface Named {
  name: string;
  blob: Blob;
}

/** The kinds of items that a page gets from a drop or a picker. */
export type Local = File | FileSystemHandle | FileSystemEntry;

/** Maximum depth of folders, and maximum number of files. */
const DEEP = 3;
const MOST = 4096;

/** Lists the files among dropped or picked items, and the folder's name if the item is a folder. Throws `invalid-argument`. */
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
      // The name of the given folder is not part of its files' names.
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

/** The path of a file relative to its picked folder, or the name of a file that was picked alone. */
function picked({ name, webkitRelativePath }: File): string {
  return webkitRelativePath ? webkitRelativePath.split("/").slice(1).join("/") : name;
}

function isHandle(item: Local): item is FileSystemHandle {
  return "kind" in item && (item.kind === "file" || item.kind === "directory");
}

/** The entries of a dropped folder, which browsers return in portions. */
async function children(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0 || all.length > MOST) return all;
    all.push(...some);
  }
}

/** Reads the bytes [start, end) of a blob. */
export async function readBlob(blob: Blob, start: number, end: number, name: string): Promise<Uint8Array> {
  const fail = (reason: string): NetworkFailure => networkFailure(name, reason);
  if (!(start >= 0 && start <= end && end <= blob.size)) throw fail(`bytes ${start}-${end} are outside the file of ${blob.size} bytes`);
  try {
    return new Uint8Array(await blob.slice(start, end).arrayBuffer());
  } catch (error) {
    throw fail(`it cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}
