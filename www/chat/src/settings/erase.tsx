// Deletes everything, once the user has typed a word.

import { useSignal } from "@preact/signals";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { eraseAll } from "../state/erase";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { explain } from "../ui/explain";
import { Check, Field } from "../ui/field";

/** `lost`: the passphrase is, so that the encryption goes, too. */
export function EraseDialog({ onClose, lost = false }: { onClose(): void; lost?: boolean }) {
  const app = useApp();
  const words = t.value.settings;
  const typed = useSignal("");
  const models = useSignal(false);
  const settings = useSignal(false);
  const busy = useSignal(false);
  const sure = typed.value.trim().toLowerCase() === words.eraseWord;

  const erase = async () => {
    if (!sure || busy.peek()) return;
    busy.value = true;
    try {
      if (lost) return await app.protection.startAfresh(() => app.ui.notify(words.lock.forgotBusy, { tone: "alarm" }));
      await eraseAll(app, { models: models.peek(), settings: settings.peek() });
      onClose();
      app.ui.notify(t.peek().settings.erased);
    } catch (error) {
      app.ui.notify(explain(error).text, { tone: "alarm" });
    } finally {
      busy.value = false;
    }
  };

  return (
    <Dialog title={lost ? words.lock.forgotTitle : words.eraseTitle} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void erase();
        }}
      >
        <p>{lost ? words.lock.forgotText : words.eraseText}</p>
        {!lost && (
          <>
            <Check label={words.eraseModels} checked={models.value} onChange={(is) => (models.value = is)} />
            <Check label={words.eraseSettings} checked={settings.value} onChange={(is) => (settings.value = is)} />
          </>
        )}
        <Field label={words.eraseType(words.eraseWord)}>
          {(tied) => (
            <input
              {...tied}
              type="text"
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              value={typed.value}
              onInput={(event) => (typed.value = event.currentTarget.value)}
            />
          )}
        </Field>
        <div class="row end">
          <Button onClick={onClose}>{t.value.common.cancel}</Button>
          <Button type="submit" tone="danger" disabled={!sure || busy.value}>
            {words.eraseNow}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
