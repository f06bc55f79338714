// Reads answers out to screen readers, a sentence at a time.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { readSentences } from "../text/sentences";

/** Milliseconds between two looks at what was written. */
const PACE = 250;
/** Sentences that stay in the live region: some readers read all of it again when it changes too much. */
const KEPT = 6;

export function Announcer() {
  const { chat } = useApp();
  const live = chat.live.value;
  const said = useSignal<readonly { id: number; text: string }[]>([]);
  useEffect(() => {
    if (live === undefined) return;
    const { code, formula, table, answerBegan, answerEnded } = t.peek().chat;
    const reader = readSentences({ code, formula, table });
    let last = 0;
    const say = (sentences: readonly string[]) => {
      if (sentences.length > 0)
        said.value = [...said.peek(), ...sentences.map((text) => ({ id: ++last, text }))].slice(-KEPT);
    };
    said.value = [];
    // Whoever comes back to an answer hears what is new.
    let read = live.announced ? live.text.length : live.before;
    if (!live.announced) say([answerBegan]);
    live.announced = true;
    const look = () => {
      const more = live.text.slice(read);
      read = live.text.length;
      if (more !== "") say(reader.push(more));
    };
    const timer = setInterval(look, PACE);
    return () => {
      clearInterval(timer);
      if (!live.over) {
        // Another conversation is shown: it goes on there.
        said.value = [];
        return;
      }
      look();
      say([...reader.finish(), answerEnded]);
    };
  }, [live]);
  return (
    <div class="visually-hidden" aria-live="polite">
      {said.value.map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  );
}
