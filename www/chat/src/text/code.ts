// A block of code: a head with the language and buttons, and lines that can be added cheaply.

import type { TextStrings } from "./render";
import { enqueue, highlighter } from "./jobs";

/** Lines of an element of its own: the browser lays out only the last one again when code grows. */
const PART = 100;
/** Characters of code that is highlighted. */
const HIGHLIGHTED = 40_000;

export class CodeBlock {
  readonly element = document.createElement("div");
  readonly #code = document.createElement("code");
  readonly #language: string;
  #lines = 0;

  constructor(info: string, strings: TextStrings, wrap: boolean) {
    this.#language = /^[\w+#.-]{1,32}/.exec(info)?.[0].toLowerCase() ?? "";
    this.element.className = wrap ? "md-code md-wrap" : "md-code";
    const head = document.createElement("div");
    head.className = "md-code-head";
    const label = document.createElement("span");
    label.className = "md-code-language";
    label.textContent = this.#language || strings.code;
    head.append(label, button("wrap", wrap ? strings.unwrap : strings.wrap), button("copy", strings.copy));
    const pre = document.createElement("pre");
    pre.dir = "ltr";
    // So that long lines can be scrolled with the keyboard.
    pre.tabIndex = 0;
    pre.append(this.#code);
    this.element.append(head, pre);
  }

  /** Shows these lines; those that were there before must be the same, except for the last one. */
  update(lines: readonly string[]): void {
    const first = Math.floor(Math.max(0, this.#lines - 1) / PART);
    const parts = Math.ceil(lines.length / PART);
    for (let part = first; part < parts; part++) {
      const element = this.#code.children[part] ?? this.#code.appendChild(newPart());
      const text = lines.slice(part * PART, (part + 1) * PART).join("\n") + (part + 1 < parts ? "\n" : "");
      if (element.textContent !== text) element.textContent = text;
    }
    while (this.#code.children.length > parts) this.#code.lastElementChild!.remove();
    this.#lines = lines.length;
  }

  /** Nothing more comes: highlights what is there. */
  finish(): Promise<void> {
    const text = this.#code.textContent!;
    if (this.#language === "" || text.length > HIGHLIGHTED) return Promise.resolve();
    return enqueue(async () => {
      const fragment = (highlighter.loaded ?? (await highlighter.get())).highlight(text, this.#language);
      if (fragment) this.#code.replaceChildren(fragment);
    });
  }
}

function newPart(): HTMLElement {
  const part = document.createElement("span");
  part.className = "md-part";
  return part;
}

function button(action: string, text: string): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "md-button";
  element.dataset["action"] = action;
  element.textContent = text;
  return element;
}
