// Presets and prompt shortcuts.

import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { Copy, EllipsisVertical, Pencil, Plus, Trash2 } from "lucide";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { NUMBERS } from "../state/preset-form";
import type { PresetForm } from "../state/preset-form";
import { Button, IconButton } from "../ui/button";
import { explain } from "../ui/explain";
import { Menu } from "../ui/menu";
import { Choices } from "./choices";
import { Entry, toFirstError } from "./entry";
import { PromptSection } from "./prompts";

export function PresetsScreen() {
  const { presets } = useApp();
  const words = t.value.settings.presets;
  const form = presets.editing.value;
  return (
    <div class="page settings">
      <h1 tabIndex={-1}>{words.title}</h1>
      {form ? (
        <Editor key={form.preset.id} form={form} />
      ) : (
        <>
          <p>{words.text}</p>
          <List />
        </>
      )}
      <PromptSection />
    </div>
  );
}

function List() {
  const { presets, preferences, ui } = useApp();
  const words = t.value.settings.presets;
  const name = useId();
  const all = presets.all.value;
  const chosen = all.find(({ id }) => id === preferences.settings.value.preset)?.id ?? "";
  const failed = (error: unknown) => ui.notify(explain(error).text, { tone: "alarm" });
  const choose = (preset: string) => preferences.change({ preset });

  const rename = async (id: string) => {
    const preset = all.find((one) => one.id === id)!;
    const next = (await ui.ask(words.rename, words.name, preset.name))?.trim();
    if (next) await presets.put({ ...preset, name: next });
  };
  const remove = async (id: string, title: string) => {
    if (!(await ui.confirm(words.deleteTitle(title), words.deleteText, t.peek().common.delete, true))) return;
    await presets.remove(id);
    if (preferences.settings.peek().preset === id) choose("");
  };

  return (
    <>
      <fieldset>
        <legend class="visually-hidden">{words.used}</legend>
        <ul class="items">
          <li class="card item">
            <input type="radio" id={`${name}-`} name={name} checked={chosen === ""} onChange={() => choose("")} />
            <label for={`${name}-`}>
              <strong>{words.none}</strong>
              <span class="hint">{words.noneText}</span>
            </label>
          </li>
          {all.map((preset) => (
            <li key={preset.id} class="card item">
              <input
                type="radio"
                id={name + preset.id}
                name={name}
                checked={chosen === preset.id}
                onChange={() => choose(preset.id)}
              />
              <label for={name + preset.id}>
                <strong dir="auto">{preset.name}</strong>
                {preset.system.trim() !== "" && (
                  <span class="hint beginning" dir="auto">
                    {preset.system.trim().slice(0, 200)}
                  </span>
                )}
              </label>
              <IconButton icon={Pencil} label={words.edit(preset.name)} onClick={() => presets.edit(preset)} />
              <Menu
                label={words.actions(preset.name)}
                icon={EllipsisVertical}
                items={[
                  { label: words.rename, icon: Pencil, run: () => void rename(preset.id).catch(failed) },
                  {
                    label: words.duplicate,
                    icon: Copy,
                    run: () => void presets.duplicate(preset, words.copyOf(preset.name)).catch(failed),
                  },
                  {
                    label: t.value.common.delete,
                    icon: Trash2,
                    danger: true,
                    run: () => void remove(preset.id, preset.name).catch(failed),
                  },
                ]}
              />
            </li>
          ))}
        </ul>
      </fieldset>
      <Button icon={Plus} onClick={() => presets.edit(presets.create(""), true)}>
        {words.create}
      </Button>
    </>
  );
}

function Editor({ form }: { form: PresetForm }) {
  const { presets, ui } = useApp();
  const words = t.value.settings.presets;
  const element = useRef<HTMLFormElement>(null);
  const warning = useRef<() => void>(null);
  const { fields } = form;
  useLayoutEffect(() => element.current!.querySelector<HTMLElement>("input")!.focus(), []);
  const end = () => {
    presets.editing.value = undefined;
    requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus());
  };
  const save = async () => {
    const preset = form.result();
    if (preset === undefined) {
      warning.current?.();
      warning.current = ui.notify(words.wrong(form.problems.peek().size));
      toFirstError(element.current!);
      return;
    }
    try {
      await presets.put(preset);
      warning.current?.();
      ui.notify(words.saved);
      end();
    } catch (error) {
      ui.notify(explain(error).text, { tone: "alarm" });
    }
  };
  const number = (name: (typeof NUMBERS)[number] | "budget", label: string, hint?: string) => (
    <Entry key={name} label={label} error={form.shown(name)} {...(hint !== undefined && { hint })}>
      {(tied) => (
        <input
          {...tied}
          type="text"
          inputmode="decimal"
          autocomplete="off"
          value={fields[name].value}
          onInput={(event) => (fields[name].value = event.currentTarget.value)}
          onBlur={() => form.leave(name)}
        />
      )}
    </Entry>
  );

  return (
    <form
      ref={element}
      class="card"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <h2 class="first">{form.isNew ? words.create : words.edit(form.preset.name)}</h2>
      <Entry label={words.name} error={form.shown("name")}>
        {(tied) => (
          <input
            {...tied}
            type="text"
            dir="auto"
            autocomplete="off"
            value={fields.name.value}
            onInput={(event) => (fields.name.value = event.currentTarget.value)}
          />
        )}
      </Entry>
      <Entry label={words.system} hint={words.systemHint}>
        {(tied) => (
          <textarea
            {...tied}
            rows={6}
            dir="auto"
            value={form.system.value}
            onInput={(event) => (form.system.value = event.currentTarget.value)}
          />
        )}
      </Entry>
      <h3>{words.sampling}</h3>
      <p class="hint">{words.samplingHint}</p>
      <div class="numbers">{NUMBERS.map((name) => number(name, words.fields[name], words.hints[name]))}</div>
      <Entry label={words.stop} hint={words.stopHint}>
        {(tied) => (
          <textarea
            {...tied}
            rows={3}
            spellcheck={false}
            value={form.stop.value}
            onInput={(event) => (form.stop.value = event.currentTarget.value)}
          />
        )}
      </Entry>
      <Choices
        legend={words.reasoning}
        value={form.reasoning.value}
        options={(["auto", "none", "budget"] as const).map((value) => ({ value, label: words.reasonings[value] }))}
        onChange={(value) => (form.reasoning.value = value)}
      />
      {form.reasoning.value === "budget" && number("budget", words.budget)}
      <div class="row end">
        <Button onClick={end}>{t.value.common.cancel}</Button>
        <Button type="submit" tone="main">
          {t.value.common.save}
        </Button>
      </div>
    </form>
  );
}
