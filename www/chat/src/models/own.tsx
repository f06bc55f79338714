// A model that is not in the catalogue: an address, or files of the user.

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { FileUp, FolderUp } from "lucide";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Button } from "../ui/button";
import { Field } from "../ui/field";
import type { Choice } from "./choice";
import { ofFiles } from "./choice";
import { Entry } from "./entry";
import { wordsFor } from "./problem";

/** What was dropped: folders as they are, which the engine reads itself. */
export function dropped(data: DataTransfer | null): (File | FileSystemEntry)[] {
  const entries = [...(data?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  return entries.length > 0 ? entries : [...(data?.files ?? [])];
}

/** `files`: what was dropped on the screen. */
export function Own({ chosen, choose }: { chosen: Choice | undefined; choose(choice: Choice): void }) {
  const { models } = useApp();
  const words = t.value.models;
  const text = useSignal("");
  const wrong = useSignal<string | undefined>(undefined);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const look = async () => {
    if (text.peek().trim() === "") return;
    try {
      wrong.value = undefined;
      choose(await models.resolve(text.peek()));
    } catch (error) {
      wrong.value = wordsFor(error).text;
    }
  };
  const take = (input: HTMLInputElement) => {
    const picked = [...(input.files ?? [])];
    input.value = "";
    if (picked.length > 0) choose(fromPicked(picked));
  };
  return (
    <section>
      <h2 id="models-own" tabIndex={-1}>
        {words.own}
      </h2>
      <p>{words.ownText}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void look();
        }}
      >
        <Field label={words.address} hint={words.addressHint}>
          {(tied) => (
            <input
              {...tied}
              type="text"
              inputMode="url"
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              placeholder="org/repo/model.gguf"
              value={text.value}
              onInput={(event) => (text.value = event.currentTarget.value)}
            />
          )}
        </Field>
        {wrong.value && (
          <p class="alarm-text" role="alert">
            {wrong.value}
          </p>
        )}
        <div class="row">
          <Button type="submit">{words.look}</Button>
          <Button icon={FileUp} onClick={() => files.current!.click()}>
            {words.pickFiles}
          </Button>
          <Button icon={FolderUp} onClick={() => folder.current!.click()}>
            {words.pickFolder}
          </Button>
        </div>
        <input
          ref={files}
          type="file"
          multiple
          hidden
          aria-label={words.pickFiles}
          onChange={(event) => take(event.currentTarget)}
        />
        <input
          ref={(input) => {
            folder.current = input;
            if (input) input.webkitdirectory = true;
          }}
          type="file"
          hidden
          aria-label={words.pickFolder}
          onChange={(event) => take(event.currentTarget)}
        />
      </form>
      {chosen && (
        <ul class="model-list" aria-live="polite">
          <Entry key={chosen.id} choice={chosen} />
        </ul>
      )}
    </section>
  );
}

let picks = 0;

/** The user's files by a name; the same name may stand for other files the next time. */
export function fromPicked(files: readonly (File | FileSystemEntry)[]): Choice {
  const [first] = files;
  const folder = first instanceof File ? first.webkitRelativePath.split("/").at(-2) : undefined;
  const name = files.length === 1 ? first!.name.replace(/\.gguf$/i, "") : folder || t.peek().models.files(files.length);
  return { ...ofFiles(files, name), id: `files: ${++picks} ${name}` };
}
