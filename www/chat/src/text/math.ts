// Formulas as MathML; loaded when the first formula is to be shown.

import temml from "temml";
import { sanitizeMath } from "./sanitize";

/** Characters of a formula; longer ones are shown as they are written. */
const LONGEST = 5000;

/** A formula, or undefined if it is not valid. Commands that could link, load or style are errors. */
export function renderFormula(tex: string, display: boolean): DocumentFragment | undefined {
  if (tex.length > LONGEST) return undefined;
  try {
    const mathml = temml.renderToString(tex, {
      displayMode: display,
      throwOnError: true,
      trust: false,
      maxExpand: 200,
      maxSize: [20, 20] as never,
    });
    const fragment = sanitizeMath(withoutStyles(mathml));
    return fragment.firstElementChild?.localName === "math" ? fragment : undefined;
  } catch {
    return undefined;
  }
}

/** Takes away the inline styles, which the page's policy forbids; only boxes need a class in their place. */
function withoutStyles(mathml: string): string {
  return mathml.replace(/<[^>]*>/g, (tag) =>
    tag.replace(/ style="([^"]*)"/g, (_, style: string) =>
      style.includes("border:1px solid") ? ' class="tml-boxed"' : "",
    ),
  );
}
