// Markdown in a component: the renderer owns the element's contents, and Preact the element.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { useApp } from "../state/app";
import type { Live } from "../state/live";
import { createTextRenderer } from "../text/render";
import type { TextRenderer } from "../text/render";
import { openLink } from "./link";

/** A text, and what a live answer adds to it. */
export function Rendered({ text, live, kind = "text" }: { text: string; live?: Live | undefined; kind?: "text" | "reasoning" }) {
  const { ui, preferences } = useApp();
  const element = useRef<HTMLDivElement>(null);
  const renderer = useRef<TextRenderer>(null);
  const strings = t.value.chat.text;

  useLayoutEffect(() => {
    const made = createTextRenderer(element.current!, {
      strings,
      wrap: preferences.settings.peek().wrapCode,
      onLink: (link) => openLink(ui, preferences, link),
    });
    renderer.current = made;
    return () => {
      made.dispose();
      element.current?.replaceChildren();
    };
  }, [strings]);

  useEffect(() => {
    const made = renderer.current!;
    if (live === undefined) {
      made.set(text);
      void made.finish();
      return;
    }
    made.set(kind === "text" ? live.text : live.reasoning);
    return live.subscribe((which, delta) => {
      if (which === kind) made.append(delta);
    });
  }, [text, live, strings]);

  return <div ref={element} />;
}
