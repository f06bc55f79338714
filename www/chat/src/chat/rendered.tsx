// Markdown in a component: the renderer owns the element's contents, and Preact the element.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { useApp } from "../state/app";
import type { Live } from "../state/live";
import type { TextRenderer, createTextRenderer } from "../text/render";
import { openLink } from "./link";
import { fetchRenderer, renderer } from "./renderer";

interface Props {
  text: string;
  live?: Live | undefined;
  kind?: "text" | "reasoning";
}

/** A text, and what a live answer adds to it. */
export function Rendered(props: Props) {
  useEffect(() => void fetchRenderer(), []);
  const create = renderer.value;
  if (create) return <Markdown {...props} create={create} />;
  return <div class="unrendered">{props.text}</div>;
}

function Markdown({ text, live, kind = "text", create }: Props & { create: typeof createTextRenderer }) {
  const { ui, preferences } = useApp();
  const element = useRef<HTMLDivElement>(null);
  const current = useRef<TextRenderer>(null);
  const strings = t.value.chat.text;

  useLayoutEffect(() => {
    const made = create(element.current!, {
      strings,
      wrap: preferences.settings.peek().wrapCode,
      onLink: (link) => openLink(ui, preferences, link),
    });
    current.current = made;
    return () => {
      made.dispose();
      element.current?.replaceChildren();
    };
  }, [strings]);

  useEffect(() => {
    const made = current.current!;
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

  return <div key="markdown" ref={element} />;
}
