// What the screen of models shows: the present one, those that can be chosen, downloads, and what is stored.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { AUTOLOAD } from "../state/models";
import { Button } from "../ui/button";
import { Check } from "../ui/field";
import { CatalogueError } from "./catalogue";
import type { Choice } from "./choice";
import { Entry } from "./entry";
import { Present } from "./loading";
import { Own, dropped, fromPicked } from "./own";
import { goTo } from "./problem";
import { Queue } from "./queue";
import { Storage } from "./storage";

export function Browse() {
  const { models, preferences } = useApp();
  const words = t.value.models;
  const over = useSignal(false);
  const own = useSignal<Choice | undefined>(undefined);
  const choose = (choice: Choice) => {
    own.value = choice;
    void models.estimates.want(choice);
  };
  useEffect(() => void models.browse(), []);
  const others = models.others.value;
  const loaded = models.state.value.kind === "ready";

  return (
    <div
      class="models-page"
      onDragOver={(event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) over.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        over.value = false;
        const files = dropped(event.dataTransfer);
        if (files.length === 0) return;
        choose(fromPicked(files));
        requestAnimationFrame(() => goTo("own"));
      }}
    >
      <p>{words.intro}</p>
      <Device />
      {others.length > 0 && !loaded && <p class="card present">{words.otherTab.text(format.value.list(others))}</p>}
      <Present />
      {(loaded || models.last.value) && (
        <Check
          label={words.autoload}
          hint={words.autoloadHint}
          checked={preferences.other(AUTOLOAD, false)}
          onChange={(checked) => preferences.setOther(AUTOLOAD, checked)}
        />
      )}
      <Queue />
      <Catalogue />
      <Own chosen={own.value} choose={choose} />
      <Storage />
      {over.value && <div class="drop-hint">{words.drop}</div>}
    </div>
  );
}

/** What models run on here; before one is chosen, that the processor is slow. */
function Device() {
  const { models } = useApp();
  const words = t.value.models;
  const info = models.estimates.device.value;
  if (info === undefined) return null;
  const cpu = models.device === "cpu" || (models.device === "auto" && info.device === "cpu");
  if (!cpu) {
    const name = [info.vendor, info.architecture].filter(Boolean).join(" ");
    return <p class="hint">{words.gpu(name || "WebGPU", format.value.bytes(info.maxBufferSize))}</p>;
  }
  const why =
    models.device === "cpu"
      ? words.cpuAsked
      : !isSecureContext
        ? words.cpuInsecure
        : !navigator.gpu
          ? t.value.errors.engine["no-webgpu"]
          : words.cpuNoAdapter;
  return (
    <div class="card">
      <p>
        <strong>{words.cpu(format.value.number(info.threads))}</strong> {words.cpuSmall}
      </p>
      <p class="hint">{why}</p>
    </div>
  );
}

function Catalogue() {
  const { models } = useApp();
  const words = t.value.models;
  const all = models.catalogue.value;
  const error = models.catalogueError.value;
  const only = useSignal(false);
  const refused = (choice: Choice) => {
    const known = models.estimates.now(choice);
    return known?.kind === "known" && known.estimate.fit === "no";
  };
  return (
    <section>
      <h2 id="models-choose" tabIndex={-1}>
        {words.catalogue}
      </h2>
      {error !== undefined && (
        <div class="card alarm" role="alert">
          <p>
            {error instanceof CatalogueError
              ? words.catalogueWrong(error.where, error.expected)
              : words.catalogueFailed}
          </p>
          <Button onClick={() => void models.readCatalogue()}>{t.value.errors.tryAgain}</Button>
        </div>
      )}
      {all === undefined && error === undefined && <p role="status">{t.value.common.loading}</p>}
      {all && (
        <>
          <Check label={words.onlyFitting} checked={only.value} onChange={(checked) => (only.value = checked)} />
          <ul class="model-list">
            {all
              .filter((choice) => !only.value || !refused(choice))
              .map((choice) => (
                <Entry key={choice.id} choice={choice} />
              ))}
          </ul>
        </>
      )}
    </section>
  );
}
