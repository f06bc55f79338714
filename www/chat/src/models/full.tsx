// The storage is full: which models are to go.

import { useSignal } from "@preact/signals";
import type { StorageFull } from "minke";
import { format, t } from "../i18n";
import type { Ui } from "../state/ui";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";

/** A load and a download may ask at once: one after the other. */
let asked: Promise<unknown> = Promise.resolve();

/**
 * Asks which stored models may be deleted for the one that is being fetched. `loading`: it can be used without being
 * stored.
 */
export function askFull(
  ui: Ui,
  full: StorageFull,
  loading: boolean,
  nameOf: (id: string) => string,
): Promise<readonly string[]> {
  const answer = asked.then(() => ask(ui, full, loading, nameOf));
  asked = answer;
  return answer;
}

function ask(ui: Ui, full: StorageFull, loading: boolean, nameOf: (id: string) => string): Promise<readonly string[]> {
  return new Promise((answer) =>
    ui.open((close) => (
      <FullDialog
        full={full}
        loading={loading}
        nameOf={nameOf}
        answer={(ids) => {
          close();
          answer(ids);
        }}
      />
    )),
  );
}

interface Properties {
  full: StorageFull;
  loading: boolean;
  nameOf(id: string): string;
  answer(ids: readonly string[]): void;
}

function FullDialog({ full: { id, needed, used, quota, evictable }, loading, nameOf, answer }: Properties) {
  const words = t.value.models.full;
  const { bytes, when } = format.value;
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  const freed = evictable.reduce((sum, model) => sum + (chosen.value.has(model.id) ? model.bytes : 0), 0);
  const free = Math.max(0, quota - used);
  // Nothing could be written: where the browser's estimate says that there is room, it is wrong.
  const missing = free < needed ? needed - free : needed;
  return (
    <Dialog title={words.title} onClose={() => answer([])}>
      <p>
        {free < needed ? words.text(nameOf(id), bytes(needed), bytes(free)) : words.refused(nameOf(id), bytes(needed))}
      </p>
      {evictable.length === 0 ? (
        <p>{words.none}</p>
      ) : (
        <fieldset class="evictable">
          <legend>{words.choose}</legend>
          {evictable.map((model) => (
            <label key={model.id} class="pick">
              <input
                type="checkbox"
                checked={chosen.value.has(model.id)}
                onChange={({ currentTarget }) => {
                  const next = new Set(chosen.value);
                  if (currentTarget.checked) next.add(model.id);
                  else next.delete(model.id);
                  chosen.value = next;
                }}
              />
              <span class="grow">{nameOf(model.id)}</span>
              <span class="hint">{words.facts(bytes(model.bytes), when(model.lastUsed.getTime()))}</span>
            </label>
          ))}
        </fieldset>
      )}
      <p role="status">{evictable.length > 0 && words.freed(bytes(freed), bytes(missing))}</p>
      <div class="row end">
        <Button onClick={() => answer([])}>{loading ? words.without : words.stop}</Button>
        {evictable.length > 0 && (
          <Button tone="danger" disabled={freed < missing || freed === 0} onClick={() => answer([...chosen.value])}>
            {words.go}
          </Button>
        )}
      </div>
    </Dialog>
  );
}
