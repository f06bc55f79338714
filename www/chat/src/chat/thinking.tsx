// What the model thought before its answer: folded, with a timer while it thinks.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Brain } from "lucide";
import type { Message } from "../data/types";
import { format, t } from "../i18n";
import type { Live } from "../state/live";
import { Icon } from "../ui/icon";
import { Rendered } from "./rendered";

export function Thinking({ message, live }: { message: Message; live?: Live | undefined }) {
  const words = t.value.chat;
  const open = useSignal(false);
  const since = live?.thinkingSince.value;
  const took = live ? live.thoughtFor.value : message.reasoningMs;
  const busy = since !== undefined && took === undefined;
  const now = useSignal(0);
  useEffect(() => {
    if (!busy) return;
    const timer = setInterval(() => (now.value = performance.now() - since), 500);
    return () => clearInterval(timer);
  }, [busy]);
  const time = format.value.duration(busy ? now.value : (took ?? 0));
  const title = busy ? words.thinkingFor(time) : took === undefined ? words.thought : words.thoughtFor(time);
  const text = live?.reasoning ?? message.reasoning ?? "";
  const count = busy || text === "" ? 0 : wordsOf(text);
  return (
    <details class="thinking" onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>
        <Icon of={Brain} size={16} />
        <span>{title}</span>
        {count > 0 && <span class="hint">{words.thoughtLength(count, format.value.number(count))}</span>}
      </summary>
      {open.value && (
        <div class="thoughts">
          <Rendered text={message.reasoning ?? ""} live={live} kind="reasoning" />
        </div>
      )}
    </details>
  );
}

const wordsOf = (text: string): number => {
  if (typeof Intl.Segmenter !== "function") return text.split(/\s+/).filter(Boolean).length;
  let count = 0;
  for (const { isWordLike } of new Intl.Segmenter(undefined, { granularity: "word" }).segment(text))
    if (isWordLike) count++;
  return count;
};
