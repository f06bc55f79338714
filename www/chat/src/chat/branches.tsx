// All versions of a conversation as a tree to walk.

import { outline } from "../data/tree";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Dialog } from "../ui/dialog";

/** Deeper forks are not indented further. */
const DEEPEST = 8;

export function Branches({ onClose }: { onClose(): void }) {
  const { chat } = useApp();
  const words = t.value.chat;
  const rows = outline(chat.tree.value, chat.conversation.value.leaf);
  return (
    <Dialog title={words.tree} onClose={onClose} wide>
      <p class="hint">{words.treeText}</p>
      <ol class="outline">
        {rows.map(({ id, role, summary, depth, active, children }) => (
          <li key={id} class={`depth-${Math.min(depth, DEEPEST)}${active ? " active" : ""}`}>
            <button
              type="button"
              class="outline-row"
              aria-current={active ? "true" : undefined}
              onClick={() => {
                void chat.walk(id);
                onClose();
              }}
            >
              <span class="speaker">
                {role === "user" ? words.you : role === "tool" ? words.tool : words.assistant}
              </span>
              <span class="outline-text" dir="auto">
                {summary || "…"}
              </span>
              {children > 1 && <span class="badge">{words.forks(children)}</span>}
              {active && <span class="visually-hidden">{words.here}</span>}
            </button>
          </li>
        ))}
      </ol>
    </Dialog>
  );
}
