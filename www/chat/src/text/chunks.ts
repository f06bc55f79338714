// Cuts Markdown that streams in into chunks that can be rendered one by one.
//
// Where a cut is depends on complete lines before it and on nothing after it, so that a text is cut alike however it arrives. Cuts are
// at blank lines (outside of lists), and around code in fences. A chunk that grows too long is cut at a line: no chunk takes long to render.

/** A piece of a text. `lines` end without "\n". */
export type Chunk =
  | { kind: "markdown"; lines: string[] }
  /** More rows of a table, as a table of its own: browsers lay out a table as a whole, and would take long for thousands of rows. */
  | { kind: "rows"; head: [string, string]; lines: string[] }
  /** Code of a fence that stands at the left edge, without the fence. */
  | { kind: "code"; info: string; lines: string[] };

/** Characters of a chunk, and of a line, from which on it is cut. */
const LONGEST = 8000;
/** Characters of a table, whose cells make it slow. */
const LONGEST_TABLE = 3000;

const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const LIST = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)/;
const DELIMITER = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

export class Chunker {
  /** The chunk that lines are added to; undefined at a cut. */
  open: Chunk | undefined;
  /** The part of the last line that is there. */
  rest = "";
  #finished: Chunk[] = [];
  #fence: { marker: string; indent: number } | undefined;
  #length = 0;
  #blank = false;
  #list = false;
  #table: [string, string] | undefined;

  /** Adds text. Returns the chunks that this finished. */
  push(text: string): Chunk[] {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop()!;
    for (const line of lines) this.#line(this.#cutLong(line));
    // A line that is too long is cut before its end is known, and where it would be cut if it were.
    this.rest = this.#cutLong(this.rest);
    // After a blank line, most first characters tell that a chunk is over.
    if (this.#blank && /^[^ \t]/.test(this.rest) && !(this.#list && /^[-*+\d]/.test(this.rest))) this.#close();
    return this.#take();
  }

  /** The end of the text. Returns the rest of its chunks. */
  finish(): Chunk[] {
    if (this.rest !== "") this.#line(this.rest);
    this.rest = "";
    this.#close();
    return this.#take();
  }

  /** The open chunk as it would be if the text ended here. */
  preview(): Chunk | undefined {
    const { open, rest } = this;
    if (rest === "") return open;
    if (open === undefined) return { kind: "markdown", lines: [rest] };
    if (open.kind === "code" && this.#closes(rest)) return open;
    const line = open.kind === "code" ? this.#unindent(rest) : rest;
    return { ...open, lines: [...open.lines, line] };
  }

  #take(): Chunk[] {
    const finished = this.#finished;
    this.#finished = [];
    return finished;
  }

  /** Adds the beginning of a line that is too long; returns the rest of it. Code stays as it is. */
  #cutLong(line: string): string {
    let rest = line;
    while (rest.length > LONGEST && this.#fence === undefined) {
      const space = rest.lastIndexOf(" ", LONGEST);
      const at = space > LONGEST / 2 ? space : LONGEST - (/[\ud800-\udbff]/.test(rest[LONGEST - 1]!) ? 1 : 0);
      this.#line(rest.slice(0, at));
      rest = rest.slice(at);
    }
    return rest;
  }

  #line(line: string): void {
    if (this.#fence !== undefined) return this.#codeLine(line);
    if (line.trim() === "") {
      // The end of a table, and perhaps of the chunk.
      if (this.open?.kind === "rows") this.#close();
      this.#blank = this.open !== undefined;
      if (this.#blank) this.#append(line);
      return;
    }
    const fence = FENCE.exec(line);
    if (fence && !(this.#list && fence[1] !== "")) {
      this.#close();
      this.#fence = { marker: fence[2]!, indent: fence[1]!.length };
      this.open = { kind: "code", info: fence[3]!.trim(), lines: [] };
      return;
    }
    if (this.#blank && !/^[ \t]/.test(line) && !(this.#list && LIST.test(line))) this.#close();
    const longest = this.#table === undefined ? LONGEST : LONGEST_TABLE;
    if (this.#length + line.length > longest && this.open !== undefined) this.#cut(line);
    this.open ??= { kind: "markdown", lines: [] };
    this.#blank = false;
    this.#list ||= LIST.test(line);
    const before = this.open.lines.at(-1);
    if (this.open.kind === "markdown" && this.#table === undefined && before?.includes("|") && DELIMITER.test(line))
      this.#table = [before, line];
    else if (!line.includes("|")) this.#table = undefined;
    this.#append(line);
  }

  /** Ends a chunk that is too long; a table goes on in the next one. */
  #cut(next: string): void {
    const table = this.#blank || !next.includes("|") ? undefined : this.#table;
    // A list is cut between its items if one comes soon, since what is indented would be something else by itself.
    if (this.#list && /^[ \t]/.test(next) && this.#length < 2 * LONGEST) return;
    this.#close();
    if (table === undefined) return;
    this.#table = table;
    this.open = { kind: "rows", head: table, lines: [] };
  }

  #codeLine(line: string): void {
    if (this.#closes(line)) return this.#close();
    this.open!.lines.push(this.#unindent(line));
  }

  #closes(line: string): boolean {
    const { marker } = this.#fence!;
    const found = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(line)?.[1];
    return found !== undefined && found[0] === marker[0] && found.length >= marker.length;
  }

  #unindent(line: string): string {
    const { indent } = this.#fence!;
    return line.slice(Math.min(indent, line.search(/[^ ]|$/)));
  }

  #append(line: string): void {
    this.open!.lines.push(line);
    this.#length += line.length + 1;
  }

  #close(): void {
    if (this.open !== undefined) this.#finished.push(this.open);
    this.open = undefined;
    this.#fence = undefined;
    this.#table = undefined;
    this.#length = 0;
    this.#blank = false;
    this.#list = false;
  }
}
