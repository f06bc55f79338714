// Markdown that streams in, as DOM.

import { buildBlocks, linkOf } from "./blocks";
import { Chunker } from "./chunks";
import type { Chunk } from "./chunks";
import { CodeBlock } from "./code";
import type { Link } from "./links";
import { visible } from "./visible";

/** Words of the interface inside of answers. */
export interface TextStrings {
  copy: string;
  copied: string;
  wrap: string;
  unwrap: string;
  /** The label of code without a language. */
  code: string;
  /** Before the address of an image, which is never loaded. */
  image: string;
}

export interface TextOptions {
  strings: TextStrings;
  /** A link was activated, by whatever means; navigation has been prevented. */
  onLink(link: Link, event: Event): void;
  /** Copies code; default: the clipboard of the browser. */
  onCopy?(text: string): void | Promise<void>;
  /** Whether lines of code are wrapped at first. */
  wrap?: boolean;
  /** Called after the DOM changed, at most once a frame: for keeping the end in view. */
  onRender?(): void;
}

/** Renders one text into one element. */
export interface TextRenderer {
  /** Everything given so far. */
  readonly text: string;
  /** Adds to the text. The DOM follows in the next frame. */
  append(text: string): void;
  /** Replaces the text; if it begins with the old one, only the rest is work. */
  set(text: string): void;
  /** Nothing more comes: renders what is left now. Resolves when highlighting and formulas are there, too. */
  finish(): Promise<void>;
  /** Renders pending text now, without waiting for a frame. */
  flush(): void;
  /** Takes listeners away; the DOM stays. */
  dispose(): void;
}

/** Milliseconds of rendering in one frame. */
const BUDGET = 16;
/** Characters that are cut into chunks at a time. */
const SLICE = 2048;

/** Creates a renderer whose element gets the class "md". */
export function createTextRenderer(element: HTMLElement, options: TextOptions): TextRenderer {
  return new Renderer(element, options);
}

/** Whether code that waits for being highlighted is in a node. */
const hasCode = (node: Node): boolean =>
  node instanceof Element && (node.matches(".md-code") || node.querySelector(".md-code") !== null);

/** What is shown of the chunk that is not finished. */
type Live = { kind: "code"; block: CodeBlock } | { kind: "blocks"; nodes: Node[] };

class Renderer implements TextRenderer {
  text = "";
  /** What was given, but not cut into chunks yet. */
  #pending = "";
  #chunker = new Chunker();
  #live: Live | undefined;
  /** Whether the chunk that is open changed since it was shown. */
  #changed = false;
  #frame: number | undefined;
  #ended = false;
  #jobs: Promise<void>[] = [];
  readonly #listeners = new AbortController();

  constructor(
    readonly element: HTMLElement,
    readonly options: TextOptions,
  ) {
    element.classList.add("md");
    const { signal } = this.#listeners;
    // Middle clicks are "auxclick", and would open a link without asking.
    for (const type of ["click", "auxclick"] as const)
      element.addEventListener(type, (event) => this.#onClick(event), { signal });
  }

  append(text: string): void {
    if (text === "") return;
    if (this.#ended) {
      // It was thought to be finished, and goes on.
      const whole = this.text + text;
      this.#reset();
      return this.append(whole);
    }
    this.text += text;
    this.#pending += text;
    this.#schedule();
  }

  set(text: string): void {
    if (text === this.text) return;
    if (text.startsWith(this.text) && !this.#ended) return this.append(text.slice(this.text.length));
    this.#reset();
    this.append(text);
  }

  flush(): void {
    this.#work(Infinity);
  }

  async finish(): Promise<void> {
    while (!this.#work(performance.now() + BUDGET)) await new Promise((resolve) => setTimeout(resolve, 0));
    if (!this.#ended) {
      this.#ended = true;
      if (this.#pending !== "") this.#finishAll(this.#chunker.push(visible(this.#pending)));
      this.#pending = "";
      this.#finishAll(this.#chunker.finish());
      this.options.onRender?.();
    }
    while (this.#jobs.length > 0) await Promise.all(this.#jobs.splice(0));
  }

  dispose(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#listeners.abort();
  }

  #reset(): void {
    this.text = "";
    this.#pending = "";
    this.#chunker = new Chunker();
    this.#live = undefined;
    this.#ended = false;
    this.#jobs = [];
    this.element.replaceChildren();
  }

  #schedule(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      if (!this.#work(performance.now() + BUDGET)) this.#schedule();
    });
  }

  /** Renders until `deadline`. Returns whether everything is rendered that can be. */
  #work(deadline: number): boolean {
    let worked = false;
    let done = true;
    while (this.#ready() > 0) {
      const slice = this.#pending.slice(0, Math.min(SLICE, this.#ready()));
      this.#pending = this.#pending.slice(slice.length);
      this.#finishAll(this.#chunker.push(visible(slice)));
      this.#changed = worked = true;
      if (performance.now() > deadline) {
        done = this.#ready() === 0;
        break;
      }
    }
    if (done && this.#changed) this.#showOpen();
    if (worked) this.options.onRender?.();
    return done;
  }

  /** Characters that can be cut: a carriage return or half of a character at the end waits for what comes after it. */
  #ready(): number {
    return this.#pending.length - (/[\r\ud800-\udbff]$/.test(this.#pending) ? 1 : 0);
  }

  #finishAll(chunks: readonly Chunk[]): void {
    for (const chunk of chunks) {
      this.#show(chunk, true);
      if (this.#live?.kind === "code") this.#jobs.push(this.#live.block.finish());
      this.#live = undefined;
    }
  }

  #showOpen(): void {
    this.#changed = false;
    const chunk = this.#chunker.preview();
    if (chunk !== undefined) this.#show(chunk, false);
  }

  #show(chunk: Chunk, final: boolean): void {
    const { strings, wrap = false } = this.options;
    if (chunk.kind === "code") {
      if (this.#live?.kind !== "code") {
        this.#discard();
        const block = new CodeBlock(chunk.info, strings, wrap);
        this.element.append(block.element);
        this.#live = { kind: "code", block };
      }
      this.#live.block.update(chunk.lines);
      return;
    }
    const nodes = buildBlocks(chunk, { strings, wrap, final, jobs: this.#jobs });
    if (this.#live?.kind === "code") this.#discard();
    const old = this.#live?.kind === "blocks" ? this.#live.nodes : [];
    // What did not change stays: a selection in it, say.
    let same = 0;
    while (
      same < old.length &&
      same < nodes.length &&
      old[same]!.isEqualNode(nodes[same]!) &&
      !(final && hasCode(nodes[same]!))
    )
      same++;
    for (const node of old.slice(same)) (node as ChildNode).remove();
    this.element.append(...nodes.slice(same));
    this.#live = { kind: "blocks", nodes: [...old.slice(0, same), ...nodes.slice(same)] };
  }

  #discard(): void {
    if (this.#live?.kind === "code") this.#live.block.element.remove();
    else for (const node of this.#live?.nodes ?? []) (node as ChildNode).remove();
    this.#live = undefined;
  }

  #onClick(event: Event): void {
    const target = event.target instanceof Element ? event.target : undefined;
    const link = target?.closest("a");
    if (link) {
      event.preventDefault();
      const parsed = linkOf.get(link);
      if (parsed) this.options.onLink(parsed, event);
      return;
    }
    const button = event.type === "click" ? target?.closest<HTMLButtonElement>("button.md-button") : undefined;
    const block = button?.closest(".md-code");
    if (button && block) void this.#onButton(button, block);
  }

  async #onButton(button: HTMLButtonElement, block: Element): Promise<void> {
    const { strings, onCopy = (text) => navigator.clipboard.writeText(text) } = this.options;
    if (button.dataset["action"] === "wrap") {
      button.textContent = block.classList.toggle("md-wrap") ? strings.unwrap : strings.wrap;
      return;
    }
    await onCopy(block.querySelector("code")!.textContent ?? "");
    button.textContent = strings.copied;
    setTimeout(() => (button.textContent = strings.copy), 1500);
  }
}
