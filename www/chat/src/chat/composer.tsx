// The field in which messages are written.

import { useSignal } from "@preact/signals";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { ArrowUp, Paperclip, Square, SquareSlash, X } from "lucide";
import { ACCEPT } from "../data/attachments/read";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { fill } from "../state/prompts";
import type { Prompt } from "../state/prompts";
import { IconButton } from "../ui/button";
import { Icon } from "../ui/icon";
import { Menu } from "../ui/menu";
import { grow } from "./grow";

/** Characters of a pasted text from which on it is attached as a file: browsers lay out a field as a whole for every key. */
const LONG = 8_000;
/** Prompt shortcuts that are offered at a time. */
const OFFERED = 8;

export function Composer({ attach }: { attach(files: readonly File[]): void }) {
  const { ui, chat, draft, models, preferences, prompts } = useApp();
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

  // A "/" at the beginning and what follows it name a prompt shortcut.
  const listId = useId();
  const refused = useSignal<string | undefined>(undefined);
  const picked = useSignal(0);
  const begun = /^\/([\p{L}\p{N}-]*)$/u.exec(text)?.[1];
  const offered = begun === undefined || refused.value === text ? [] : prompts.find(begun).slice(0, OFFERED);
  const at = Math.min(picked.value, offered.length - 1);

  /** Puts a shortcut's text into the field, around what is selected or typed in it. */
  const insert = (prompt: Prompt, typed: string) => {
    const element = field.current!;
    const { selectionStart: from, selectionEnd: to, value } = element;
    const [before, chosen, after] =
      from < to ? [value.slice(0, from), value.slice(from, to), value.slice(to)] : ["", typed, ""];
    const filled = fill(prompt.text, chosen);
    draft.write(before + filled + after);
    picked.value = 0;
    requestAnimationFrame(() => {
      element.focus();
      // Where something is still to be written.
      const place = chosen === "" ? prompt.text.indexOf("{text}") : -1;
      const end = before.length + (place === -1 ? filled.length : place);
      element.setSelectionRange(end, end);
    });
  };
  /** Keys of the list of shortcuts. Returns whether the key was one. */
  const onListKey = (event: KeyboardEvent): boolean => {
    if (offered.length === 0 || event.isComposing || event.keyCode === 229) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp")
      picked.value = (at + (event.key === "ArrowDown" ? 1 : offered.length - 1)) % offered.length;
    else if (event.key === "Enter" || event.key === "Tab") insert(offered[at]!, "");
    else if (event.key === "Escape") refused.value = text;
    else return false;
    event.preventDefault();
    return true;
  };

  /** Attaches a long text, and offers to have it in the field all the same. */
  const pasteLong = async (long: string) => {
    const before = new Set(draft.attachments.peek().map(({ id }) => id));
    try {
      await draft.attach([new File([long], words.pastedFile, { type: "text/plain" })]);
    } catch (error) {
      return ui.fail(error);
    }
    const added = draft.attachments.peek().find(({ id }) => !before.has(id));
    if (added === undefined) return;
    const into = () => {
      if (!draft.attachments.peek().includes(added)) return;
      draft.detach(added.id);
      const { value, selectionStart: from, selectionEnd: to } = field.current!;
      draft.write(value.slice(0, from) + long + value.slice(to));
    };
    ui.notify(words.pastedAsFile, { action: { label: words.pasteIntoField, run: into } });
  };

  const send = () => {
    if (draft.empty.peek() || draft.reading.peek() > 0 || chat.live.peek()) return;
    if (models.state.peek().kind === "none" && !models.starting.peek()) {
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
                <span class="hint">
                  {count === undefined ? format.value.bytes(bytes) : words.tokens(format.value.number(count))}
                </span>
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
      <ul id={listId} class="offers" role="listbox" aria-label={words.shortcuts} hidden={offered.length === 0}>
        {offered.map((prompt, index) => (
          <li
            key={prompt.id}
            id={`${listId}-${index}`}
            role="option"
            aria-selected={index === at}
            onPointerDown={(event) => {
              event.preventDefault(); // the field keeps the focus
              insert(prompt, "");
            }}
          >
            <strong>/{prompt.name}</strong> <span class="hint">{prompt.text.slice(0, 120)}</span>
          </li>
        ))}
      </ul>
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
        {prompts.all.value.length > 0 && (
          <Menu
            label={words.shortcuts}
            icon={SquareSlash}
            items={prompts.all.value.map((prompt) => ({ label: prompt.name, run: () => insert(prompt, text.trim()) }))}
          />
        )}
        <textarea
          ref={field}
          id="message"
          rows={1}
          dir="auto"
          aria-label={words.field}
          aria-autocomplete="list"
          aria-controls={listId}
          aria-activedescendant={offered.length > 0 ? `${listId}-${at}` : undefined}
          placeholder={words.placeholder}
          value={text}
          enterkeyhint={preferences.settings.value.enterSends ? "send" : "enter"}
          onInput={(event) => draft.write(event.currentTarget.value)}
          onPaste={(event) => {
            const pasted = [...(event.clipboardData?.files ?? [])];
            const long = event.clipboardData?.getData("text/plain") ?? "";
            if (pasted.length === 0 && long.length < LONG) return;
            event.preventDefault();
            if (pasted.length > 0) attach(pasted);
            else void pasteLong(long);
          }}
          onKeyDown={(event) => {
            if (onListKey(event)) return;
            // Not while an input method composes, which Enter confirms. In Safari composing has ended by then, and the code tells.
            if (event.key !== "Enter" || event.isComposing || event.keyCode === 229 || event.shiftKey) return;
            if (!preferences.settings.peek().enterSends && !event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            send();
          }}
        />
        {live ? (
          // The second click of two on what was the button that sends stops nothing.
          <button
            key="stop"
            type="button"
            class="icon-button send"
            aria-label={words.stop}
            title={words.stop}
            onClick={(event) => event.detail < 2 && chat.stop()}
          >
            <Icon of={Square} size={18} />
          </button>
        ) : (
          <button
            key="send"
            type="submit"
            class="icon-button send"
            aria-label={words.send}
            title={words.send}
            disabled={draft.empty.value || draft.reading.value > 0}
          >
            <Icon of={ArrowUp} />
          </button>
        )}
      </div>
      {tokens !== undefined && (
        <p class={tooLong ? "hint alarm-text composer-tokens" : "hint composer-tokens"}>
          {words.tokens(format.value.number(tokens))}
        </p>
      )}
    </form>
  );
}
