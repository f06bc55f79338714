// The tree of a foreign file, of which not every node becomes a message.

import type { Checked } from "./checked";
import type { Skipped } from "./types";

interface Node {
  parent: string | undefined;
  /** Where it stands in the file. */
  where: Checked;
  kept: boolean;
}

/** Finds the parents of the nodes that are kept. */
export class Ancestry {
  readonly #nodes = new Map<string, Node>();

  /** `root`: the parent of what has no other. */
  constructor(
    readonly root: string,
    readonly skipped: Skipped[],
  ) {}

  has(id: string): boolean {
    return this.#nodes.has(id);
  }

  /** Adds a node; without a parent, it is below the root. */
  add(id: string, parent: string | undefined, where: Checked, kept: boolean): void {
    if (this.#nodes.has(id) || id === this.root) where.get("id").fail("an id that nothing else has");
    this.#nodes.set(id, { parent: parent === this.root ? undefined : parent, where, kept });
  }

  /** Fails if parents go round in circles. To be called before anything is asked for. */
  check(): void {
    const good = new Set<string>();
    for (const [id, { where }] of this.#nodes) {
      const way = new Set<string>();
      for (let at: string | undefined = id; at !== undefined && !good.has(at); at = this.#nodes.get(at)?.parent) {
        if (way.has(at)) where.get("parent").fail("a parent that is not below it");
        way.add(at);
      }
      for (const at of way) good.add(at);
    }
  }

  /** The nearest node above that is kept, or the root; what names a parent that is not in the file is reported. */
  parentOf(id: string): string {
    const { parent, where } = this.#nodes.get(id)!;
    if (parent !== undefined && !this.#nodes.has(parent)) this.skipped.push(where.get("parent").skip("orphan", parent));
    return this.nearest(parent);
  }

  /** A node if it is kept, or else the nearest one above it that is, or the root. */
  nearest(id: string | undefined): string {
    for (let at = id; at !== undefined; at = this.#nodes.get(at)?.parent) if (this.#nodes.get(at)?.kept) return at;
    return this.root;
  }
}
