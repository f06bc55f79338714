// The renderer of Markdown, which comes with the first message: a page without one has no use for it.

import { signal } from "@preact/signals";
import type { createTextRenderer } from "../text/render";

export const renderer = signal<typeof createTextRenderer | undefined>(undefined);
let coming: Promise<void> | undefined;

/** Fetches it, once; again after a failure. Until it is there, texts are shown as they are written. */
export function fetchRenderer(): Promise<void> {
  return (coming ??= import("../text/render").then(
    ({ createTextRenderer }) => {
      renderer.value = createTextRenderer;
    },
    () => {
      coming = undefined;
    },
  ));
}
