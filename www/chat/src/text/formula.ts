// A formula in a text: its source until it is rendered, or for good if it is not valid.

import { enqueue, formulas } from "./jobs";

/** Rendered formulas: the last block of a text is rendered again and again. */
const cache = new Map<string, DocumentFragment | undefined>();
const CACHED = 500;

/** The element of a formula. `jobs`: gets what is still to be waited for. */
export function formulaElement(tex: string, display: boolean, jobs: Promise<void>[]): HTMLElement {
  const element = document.createElement("span");
  element.className = display ? "md-math md-display" : "md-math";
  if (formulas.loaded !== undefined) fill(element, tex, display);
  else {
    source(element, tex);
    jobs.push(
      enqueue(async () => {
        await formulas.get();
        fill(element, tex, display);
      }),
    );
  }
  return element;
}

function fill(element: HTMLElement, tex: string, display: boolean): void {
  const key = `${display}${tex}`;
  if (!cache.has(key)) {
    if (cache.size >= CACHED) cache.delete(cache.keys().next().value!);
    cache.set(key, formulas.loaded!.renderFormula(tex, display));
  }
  const fragment = cache.get(key);
  if (fragment) element.replaceChildren(fragment.cloneNode(true));
  else source(element, tex);
}

function source(element: HTMLElement, tex: string): void {
  const code = document.createElement("code");
  code.textContent = tex;
  element.replaceChildren(code);
}
