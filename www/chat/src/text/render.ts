// Markdown that streams in, as DOM.

import type { Link } from "./links";

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

/** Creates a renderer whose element gets the class "md". */
export function createTextRenderer(_element: HTMLElement, _options: TextOptions): TextRenderer {
  throw new Error("not written yet");
}
