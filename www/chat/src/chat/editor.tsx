// Editing a message where it stands. One's own is sent again, beside the first; an answer is corrected.

import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Message } from "../data/types";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Button } from "../ui/button";
import { grow } from "./grow";

export function Editor({ message, onClose }: { message: Message; onClose(): void }) {
  const { chat, models, ui } = useApp();
  const words = t.value.chat;
  const text = useSignal(message.text);
  const field = useRef<HTMLTextAreaElement>(null);
  const user = message.role === "user";
  useLayoutEffect(() => {
    const element = field.current!;
    element.focus();
    element.setSelectionRange(element.value.length, element.value.length);
    grow(element);
  }, []);
  const save = () => {
    if (!user) {
      onClose();
      return void chat.correct(message.id, text.value);
    }
    if (models.state.peek().kind === "none") {
      // The text stays in the field.
      ui.notify(words.noModel, { action: { label: words.chooseModel, run: () => ui.go("models") } });
      return;
    }
    onClose();
    void chat.resend(message.id, text.value.trim());
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <textarea
        ref={field}
        aria-label={words.editField}
        dir="auto"
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          grow(event.currentTarget);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.preventDefault();
            onClose();
          } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            save();
          }
        }}
      />
      <div class="row end">
        <Button onClick={onClose}>{t.value.common.cancel}</Button>
        <Button type="submit" tone="main" disabled={user && text.value.trim() === "" && !message.attachments?.length}>
          {user ? words.editSend : words.editSave}
        </Button>
      </div>
    </form>
  );
}
