// Prompt shortcuts: the list of them, and the form of one.

import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Pencil, Plus, RotateCcw, Trash2 } from "lucide";
import { t } from "../i18n";
import { useApp } from "../state/app";
import type { Prompt } from "../state/prompts";
import { Button, IconButton } from "../ui/button";
import { explain } from "../ui/explain";
import { Check } from "../ui/field";
import { Entry, toFirstError } from "./entry";

export function PromptSection() {
  const { prompts, preferences, ui } = useApp();
  const words = t.value.settings.prompts;
  const editing = prompts.editing.value;
  const all = prompts.all.value;
  const remove = async ({ id, name, kind }: Prompt) => {
    const [text, yes] =
      kind === "own" ? [words.deleteText, t.peek().common.delete] : [words.restoreText, words.restoreYes];
    const title = kind === "own" ? words.deleteTitle(name) : `${words.restore(name)}?`;
    if (!(await ui.confirm(title, text, yes, kind === "own"))) return;
    await prompts.remove(id).catch((error) => ui.notify(explain(error).text, { tone: "alarm" }));
  };
  return (
    <section>
      <h2 id="prompts">{words.title}</h2>
      <p>{words.text}</p>
      <Check
        label={words.builtIn}
        checked={prompts.standard.value}
        onChange={(is) => preferences.setOther("standardPrompts", is)}
      />
      <ul class="items">
        {all.map((prompt) =>
          prompt.id === editing?.id ? (
            <li key={prompt.id}>
              <PromptForm prompt={editing} />
            </li>
          ) : (
            <li key={prompt.id} class="card item">
              <div>
                <strong>/{prompt.name}</strong> {prompt.kind === "standard" && <span class="badge">{words.badge}</span>}
                <p class="hint beginning" dir="auto">
                  {prompt.text.slice(0, 200)}
                </p>
              </div>
              <IconButton
                icon={Pencil}
                label={words.edit(prompt.name)}
                onClick={() => (prompts.editing.value = prompt)}
              />
              {prompt.kind !== "standard" && (
                <IconButton
                  icon={prompt.kind === "own" ? Trash2 : RotateCcw}
                  label={prompt.kind === "own" ? words.remove(prompt.name) : words.restore(prompt.name)}
                  onClick={() => void remove(prompt)}
                />
              )}
            </li>
          ),
        )}
        {editing && !all.some(({ id }) => id === editing.id) && (
          <li>
            <PromptForm prompt={editing} />
          </li>
        )}
      </ul>
      {!editing && (
        <Button icon={Plus} onClick={() => (prompts.editing.value = prompts.create())}>
          {words.create}
        </Button>
      )}
    </section>
  );
}

function PromptForm({ prompt }: { prompt: Prompt }) {
  const { prompts, ui } = useApp();
  const words = t.value.settings.prompts;
  const form = useRef<HTMLFormElement>(null);
  const tried = useSignal(false);
  const problem = tried.value ? prompts.problem(prompt) : undefined;
  useLayoutEffect(() => form.current!.querySelector<HTMLElement>("input")!.focus(), []);
  // What is typed stays when another screen is shown.
  const change = (changed: Partial<Prompt>) => (prompts.editing.value = { ...prompt, ...changed });
  const end = () => {
    prompts.editing.value = undefined;
    requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus());
  };
  const save = async () => {
    tried.value = true;
    if (prompts.problem(prompt) !== undefined) return toFirstError(form.current!);
    try {
      await prompts.put(prompt);
      ui.notify(words.saved);
      end();
    } catch (error) {
      ui.notify(explain(error).text, { tone: "alarm" });
    }
  };
  return (
    <form
      ref={form}
      class="card"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <Entry
        label={words.name}
        hint={words.nameHint}
        error={problem && problem !== "needText" ? words[problem] : undefined}
      >
        {(tied) => (
          <input
            {...tied}
            type="text"
            autocomplete="off"
            autocapitalize="off"
            value={prompt.name}
            onInput={(event) => change({ name: event.currentTarget.value.replace(/^\//, "").trim() })}
          />
        )}
      </Entry>
      <Entry label={words.body} error={problem === "needText" ? words.needText : undefined}>
        {(tied) => (
          <textarea
            {...tied}
            rows={5}
            dir="auto"
            value={prompt.text}
            onInput={(event) => change({ text: event.currentTarget.value })}
          />
        )}
      </Entry>
      <div class="row end">
        <Button onClick={end}>{t.value.common.cancel}</Button>
        <Button type="submit" tone="main">
          {t.value.common.save}
        </Button>
      </div>
    </form>
  );
}
