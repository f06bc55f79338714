// How full the context is, and what happens when it is full.

import { t, format } from "../i18n";
import { useApp } from "../state/app";
import type { Overflow } from "../state/preferences";
import { Dialog } from "../ui/dialog";

/** The circumference of the ring, of radius 7. */
const ROUND = 2 * Math.PI * 7;

export function Gauge() {
  const { ui, chat } = useApp();
  const use = chat.context.use.value;
  if (use === undefined) return null;
  const share = chat.context.share.value;
  const label = t.value.chat.contextOf(format.value.percent(share));
  return (
    <button
      type="button"
      class={chat.context.full.value ? "icon-button gauge full" : "icon-button gauge"}
      aria-label={label}
      title={label}
      onClick={() => ui.open((close) => <ContextDialog onClose={close} />)}
    >
      <svg class="icon" width="20" height="20" viewBox="0 0 20 20" fill="none" stroke-width="3" aria-hidden="true">
        <circle cx="10" cy="10" r="7" class="gauge-whole" />
        <circle
          cx="10"
          cy="10"
          r="7"
          class="gauge-used"
          stroke-dasharray={`${share * ROUND} ${ROUND}`}
          transform="rotate(-90 10 10)"
        />
      </svg>
    </button>
  );
}

function ContextDialog({ onClose }: { onClose(): void }) {
  const { chat } = useApp();
  const words = t.value.chat;
  const use = chat.context.use.value;
  const { number, percent } = format.value;
  return (
    <Dialog title={words.context} onClose={onClose}>
      {use && (
        <>
          <meter
            class="context-meter"
            min={0}
            max={1}
            high={0.85}
            optimum={0}
            value={chat.context.share.value}
            aria-label={words.context}
          />
          <p>{words.contextUse(number(use.used), number(use.limit), percent(chat.context.share.value))}</p>
        </>
      )}
      <OverflowChoice />
    </Dialog>
  );
}

/** What happens when a conversation no longer fits. */
export function OverflowChoice() {
  const { preferences } = useApp();
  const words = t.value.chat;
  const chosen = preferences.overflow;
  return (
    <fieldset class="choices">
      <legend>{words.contextText}</legend>
      {(["drop", "summarise", "stop"] satisfies Overflow[]).map((how) => (
        <label class="choice" key={how}>
          <input
            type="radio"
            name="overflow"
            value={how}
            checked={chosen === how}
            onChange={() => preferences.setOther("overflow", how)}
          />
          <span>
            {words.overflow[how]}
            <span class="hint">{words.overflowHint[how]}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}
