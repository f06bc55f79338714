// The field in which messages are written.

import { useLayoutEffect, useRef } from "preact/hooks";
import { ArrowUp, Paperclip, Square, X } from "lucide";
import { ACCEPT } from "../data/attachments/read";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { IconButton } from "../ui/button";
import { Icon } from "../ui/icon";
import { grow } from "./grow";

export function Composer({ attach }: { attach(files: readonly File[]): void }) {
  const { ui, chat, draft, models, preferences } = useApp();
  const words = t.value.chat;
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const live = chat.live.value;
  const text = draft.text.value;
  const files = draft.attachments.value;
  const tokens = draft.tokens.value;
  const use = chat.context.use.value;
  const tooLong = tokens !== undefined && use !== undefined && use.used + tokens > use.limit;
  useLayoutEffect(() => grow(field.current!), [text]);

  const send = () => {
    if (draft.empty.peek() || draft.reading.peek() > 0 || chat.live.peek()) return;
    if (models.state.peek().kind === "none") {
      ui.notify(words.noModel, { action: { label: words.chooseModel, run: () => ui.go("models") } });
      return;
    }
    const { text, attachments } = draft.take();
    void chat.send(text, attachments);
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {files.length + draft.reading.value > 0 && (
        <ul class="files">
          {files.map(({ id, name, bytes }) => {
            const count = draft.each.value.get(id);
            return (
              <li key={id} class="file chip">
                <Icon of={Paperclip} size={14} />
                <span>{name}</span>
                <span class="hint">{count === undefined ? format.value.bytes(bytes) : words.tokens(format.value.number(count))}</span>
                <IconButton icon={X} size={14} label={words.removeFile(name)} onClick={() => draft.detach(id)} />
              </li>
            );
          })}
          {draft.reading.value > 0 && (
            <li class="hint" role="status">
              {words.reading}
            </li>
          )}
        </ul>
      )}
      <div class="composer-row">
        <input
          ref={picker}
          type="file"
          class="visually-hidden"
          tabIndex={-1}
          aria-hidden="true"
          multiple
          accept={ACCEPT}
          onChange={({ currentTarget }) => {
            attach([...(currentTarget.files ?? [])]);
            currentTarget.value = "";
          }}
        />
        <IconButton icon={Paperclip} label={words.attach} onClick={() => picker.current!.click()} />
        <textarea
          ref={field}
          id="message"
          rows={1}
          dir="auto"
          aria-label={words.field}
          placeholder={words.placeholder}
          value={text}
          enterkeyhint={preferences.settings.value.enterSends ? "send" : "enter"}
          onInput={(event) => draft.write(event.currentTarget.value)}
          onPaste={(event) => {
            const pasted = [...(event.clipboardData?.files ?? [])];
            if (pasted.length === 0) return;
            event.preventDefault();
            attach(pasted);
          }}
          onKeyDown={(event) => {
            // Not while an input method composes, which Enter confirms.
            if (event.key !== "Enter" || event.isComposing || event.shiftKey) return;
            if (!preferences.settings.peek().enterSends && !event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            send();
          }}
        />
        {live ? (
          <button key="stop" type="button" class="icon-button send" aria-label={words.stop} title={words.stop} onClick={() => chat.stop()}>
            <Icon of={Square} size={18} />
          </button>
        ) : (
          <button key="send" type="submit" class="icon-button send" aria-label={words.send} title={words.send} disabled={draft.empty.value || draft.reading.value > 0}>
            <Icon of={ArrowUp} />
          </button>
        )}
      </div>
      {tokens !== undefined && (
        <p class={tooLong ? "hint alarm-text composer-tokens" : "hint composer-tokens"}>{words.tokens(format.value.number(tokens))}</p>
      )}
    </form>
  );
}
