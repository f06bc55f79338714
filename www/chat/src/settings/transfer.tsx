// Conversations to a file, and from one.

import { useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { Download, Upload } from "lucide";
import { exportJson, fileName } from "../data/transfer/export";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { Importing } from "../state/transfer";
import type { Preview } from "../state/transfer";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { explain } from "../ui/explain";
import { Choices } from "./choices";
import { saveConversation, saveFile } from "./save";

/** Places in a file that are listed for a reason. */
const PLACES = 50;
/** Conversations that are listed at once; the filter finds the others. */
const LISTED = 200;

export function TransferDialog({ onClose }: { onClose(): void }) {
  return (
    <Dialog title={t.value.sidebar.transfer} onClose={onClose} wide>
      <Export />
      <Import />
    </Dialog>
  );
}

function Export() {
  const app = useApp();
  const { store, library, presets, prompts, chat, ui } = app;
  const words = t.value.settings.exchange;
  const which = useSignal<"all" | "some">("all");
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  const busy = useSignal(false);
  const all = library.all.value;
  const shown = chat.path.value.length > 0;
  const anything =
    all.length + presets.all.value.length > 0 || prompts.all.value.some(({ kind }) => kind !== "standard");
  const count = which.value === "all" ? all.length : chosen.value.size;

  const json = async () => {
    busy.value = true;
    try {
      // Presets and prompt shortcuts belong to everything, not to some conversations.
      const some = which.peek() === "some";
      const ids = some ? all.filter(({ id }) => chosen.peek().has(id)).map(({ id }) => id) : undefined;
      const blob = await exportJson(store.read(ids), some ? [] : await store.presets());
      saveFile(blob, fileName(`${t.peek().common.app} ${new Date().toISOString().slice(0, 10)}`, "json"));
      ui.notify(words.exported(count));
    } catch (error) {
      ui.notify(explain(error).text, { tone: "alarm" });
    } finally {
      busy.value = false;
    }
  };

  return (
    <section>
      <h3>{words.export}</h3>
      <p class="hint">{words.exportText}</p>
      {!anything && <p>{words.nothing}</p>}
      {all.length > 0 && (
        <Choices
          legend=""
          value={which.value}
          options={[
            { value: "all", label: words.all(all.length) },
            { value: "some", label: words.some },
          ]}
          onChange={(value) => (which.value = value)}
        />
      )}
      {which.value === "some" && (
        <Pick
          label={words.some}
          of={all.map(({ id, title, updated }) => ({ id, title, detail: format.value.when(updated) }))}
          chosen={chosen.value}
          onChange={(next) => (chosen.value = next)}
        />
      )}
      <div class="row">
        <Button
          icon={Download}
          tone="main"
          disabled={busy.value || !anything || (which.value === "some" && count === 0)}
          onClick={() => void json()}
        >
          {words.json}
        </Button>
        {shown && (
          <Button
            onClick={() =>
              void saveConversation(app, chat.conversation.peek().id, "markdown").catch((error) =>
                ui.notify(explain(error).text, { tone: "alarm" }),
              )
            }
          >
            {words.shown}
          </Button>
        )}
      </div>
    </section>
  );
}

/** Conversations to choose from. */
function Pick({
  label,
  of: all,
  chosen,
  onChange,
}: {
  label: string;
  of: readonly { id: string; title: string; detail: string }[];
  chosen: ReadonlySet<string>;
  onChange(chosen: ReadonlySet<string>): void;
}) {
  const words = t.value.settings.exchange;
  const query = useSignal("");
  const sought = query.value.trim().toLocaleLowerCase();
  const found = all.filter(({ title }) => title.toLocaleLowerCase().includes(sought));
  const every = found.length > 0 && found.every(({ id }) => chosen.has(id));
  const change = (ids: readonly string[], is: boolean) => {
    const next = new Set(chosen);
    for (const id of ids) {
      if (is) next.add(id);
      else next.delete(id);
    }
    onChange(next);
  };
  return (
    <fieldset class="chosen">
      <legend class="visually-hidden">{label}</legend>
      <div class="row">
        <label class="chosen-row">
          <input
            type="checkbox"
            checked={every}
            onChange={(event) =>
              change(
                found.map(({ id }) => id),
                event.currentTarget.checked,
              )
            }
          />
          <span>{words.every}</span>
        </label>
        <span class="hint" role="status">
          {words.chosen(chosen.size)}
        </span>
        {all.length > 8 && (
          <input
            class="grow"
            type="search"
            aria-label={words.find}
            placeholder={words.find}
            value={query.value}
            onInput={(event) => (query.value = event.currentTarget.value)}
          />
        )}
      </div>
      <ul class="chosen-list">
        {found.slice(0, LISTED).map(({ id, title, detail }) => (
          <li key={id}>
            <label class="chosen-row">
              <input
                type="checkbox"
                checked={chosen.has(id)}
                onChange={(event) => change([id], event.currentTarget.checked)}
              />
              <span class="chosen-title" dir="auto">
                {title || t.value.sidebar.untitled}
              </span>
              <span class="hint">{detail}</span>
            </label>
          </li>
        ))}
        {found.length > LISTED && <li class="hint">{format.value.number(found.length - LISTED)}…</li>}
      </ul>
    </fieldset>
  );
}

function Import() {
  const { store } = useApp();
  const words = t.value.settings.exchange;
  const importing = useMemo(() => new Importing(store), []);
  const picker = useRef<HTMLInputElement>(null);
  const over = useSignal(false);
  const step = importing.step.value;
  const choose = (label: string, tone: "main" | "quiet") => (
    <Button icon={Upload} tone={tone} onClick={() => picker.current!.click()}>
      {label}
    </Button>
  );
  const read = (files: ArrayLike<File> | null | undefined) => {
    const file = files?.[0];
    if (file && step.kind !== "adding") void importing.read(file);
  };

  return (
    <section
      class={over.value ? "import over" : "import"}
      onDragOver={(event) => {
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) over.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        over.value = false;
        read(event.dataTransfer?.files);
      }}
    >
      <h3>{words.import}</h3>
      <input
        ref={picker}
        type="file"
        class="visually-hidden"
        tabIndex={-1}
        aria-hidden="true"
        accept=".json,.jsonl,.zip,application/json,application/zip"
        onChange={({ currentTarget }) => {
          read(currentTarget.files);
          currentTarget.value = "";
        }}
      />
      {step.kind === "idle" && (
        <>
          <p class="hint">{words.importText}</p>
          <div class="row drop-zone">
            {choose(words.choose, "quiet")} <span class="hint">{words.drop}</span>
          </div>
        </>
      )}
      <div role="status">
        {step.kind === "reading" && <p>{words.reading(step.file)}</p>}
        {step.kind === "done" && (
          <p>
            {[
              words.added(step.added.conversations),
              step.added.known > 0 && words.known(step.added.known),
              step.added.presets > 0 && words.addedPresets(step.added.presets),
            ]
              .filter(Boolean)
              .join(" ")}
          </p>
        )}
        {step.kind === "preview" && <p>{words.found(step.preview.file, words.from[step.preview.format])}</p>}
      </div>
      {(step.kind === "preview" || step.kind === "adding") && (
        <Shown importing={importing} preview={step.preview} busy={step.kind === "adding"} />
      )}
      {step.kind === "failed" && (
        <div class="card alarm" role="alert">
          <p>
            <strong>{words.failed(step.file)}</strong>
          </p>
          <p>{explain(step.error).text}</p>
        </div>
      )}
      {(step.kind === "done" || step.kind === "failed") && (
        <div class="row after">{choose(words.another, "quiet")}</div>
      )}
    </section>
  );
}

function Shown({ importing, preview, busy }: { importing: Importing; preview: Preview; busy: boolean }) {
  const words = t.value.settings.exchange;
  const { conversations, presets, prompts, skipped } = preview;
  const messages = conversations.reduce((sum, one) => sum + one.messages, 0);
  const left = skipped.reduce((sum, { places }) => sum + places.length, 0);
  const empty = conversations.length + presets + prompts === 0;
  const nothing = importing.chosen.value.size === 0 && presets + prompts === 0;
  const counts = [
    words.conversations(conversations.length),
    words.messages(messages),
    presets > 0 && words.presets(presets),
    prompts > 0 && words.prompts(prompts),
  ].filter((count) => count !== false);
  return (
    <>
      <p>{empty ? words.empty : format.value.list(counts)}</p>
      {conversations.length > 0 && (
        <Pick
          label={words.titles}
          of={conversations.map(({ id, title, messages }) => ({ id, title, detail: words.messages(messages) }))}
          chosen={importing.chosen.value}
          onChange={(next) => (importing.chosen.value = next)}
        />
      )}
      {left > 0 && (
        <details class="skipped">
          <summary>{words.skipped(left)}</summary>
          <ul>
            {skipped.map(({ reason, places }) => (
              <li key={reason}>
                {format.value.number(places.length)} · {words.reasons[reason]}
                <ul class="places-list" dir="ltr">
                  {places.slice(0, PLACES).map((place, i) => (
                    <li key={i}>
                      <code>{place}</code>
                    </li>
                  ))}
                  {places.length > PLACES && <li>…</li>}
                </ul>
              </li>
            ))}
          </ul>
        </details>
      )}
      <div class="row end">
        <Button disabled={busy} onClick={() => importing.cancel()}>
          {t.value.common.cancel}
        </Button>
        <Button tone="main" disabled={busy || nothing} onClick={() => void importing.add()}>
          {busy ? words.adding : words.add}
        </Button>
      </div>
    </>
  );
}
