// The instructions and the preset of one conversation.

import { useSignal } from "@preact/signals";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { Field } from "../ui/field";
import { explain } from "../ui/explain";

export function Setup({ onClose }: { onClose(): void }) {
  const { chat, presets, preferences, ui } = useApp();
  const words = t.value.chat;
  const system = useSignal(chat.system.peek());
  const preset = useSignal(presets.of(chat.conversation.peek(), preferences.settings.peek()).id);
  const save = async () => {
    const of = presets.all.peek().find(({ id }) => id === preset.value)?.system ?? "";
    try {
      // What equals the preset's own goes on following it.
      await chat.update({ preset: preset.value, system: system.value === of ? null : system.value });
      onClose();
    } catch (error) {
      ui.notify(explain(error).text, { tone: "alarm" });
    }
  };
  return (
    <Dialog title={words.setup} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Field label={words.preset}>
          {(tied) => (
            <select
              {...tied}
              value={preset.value}
              onChange={({ currentTarget: { value } }) => {
                preset.value = value;
                system.value = presets.all.peek().find(({ id }) => id === value)?.system ?? "";
              }}
            >
              <option value="">{words.noPreset}</option>
              {presets.all.value.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label={words.system} hint={words.systemHint}>
          {(tied) => (
            <textarea
              {...tied}
              rows={7}
              dir="auto"
              value={system.value}
              onInput={(event) => (system.value = event.currentTarget.value)}
            />
          )}
        </Field>
        <div class="row end">
          <Button onClick={onClose}>{t.value.common.cancel}</Button>
          <Button type="submit" tone="main">
            {t.value.common.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
