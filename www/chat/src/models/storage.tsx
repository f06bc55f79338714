// What is kept on this device, and what the browser may do with it.

import { Trash2 } from "lucide";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { Button, IconButton } from "../ui/button";
import { ofId } from "./choice";
import { goTo } from "./problem";

export function Storage() {
  const { models, ui } = useApp();
  const words = t.value.models;
  const { bytes, when } = format.value;
  const all = models.stored.list.value;
  const usage = models.stored.usage.value;
  const state = models.state.value;
  const nameOf = (id: string) => models.known(id)?.name ?? ofId(id).name;
  const persist = async () => {
    const agreed = await models.stored.persist();
    ui.notify(agreed ? words.persisted : words.notPersisted, agreed ? {} : { tone: "alarm" });
  };
  return (
    <section>
      <h2 id="models-storage" tabIndex={-1}>
        {words.storage}
      </h2>
      {usage && usage.quota > 0 && (
        <>
          <meter class="space" min={0} max={usage.quota} value={usage.used} aria-label={words.storage} />
          <p>{words.space(bytes(usage.used), bytes(Math.max(0, usage.quota - usage.used)))}</p>
        </>
      )}
      {models.stored.known.value && all.length === 0 && <p class="hint">{words.nothingStored}</p>}
      {all.length > 0 && (
        <ul class="stored">
          {all.map(({ id, bytes: size, complete, lastUsed }) => {
            const present = state.kind !== "none" && state.choice?.id === id;
            return (
              <li key={id}>
                <div class="grow">
                  <span>{nameOf(id)}</span>
                  <p class="hint">
                    {[
                      bytes(size),
                      words.used(when(lastUsed.getTime())),
                      !complete && words.partial,
                      present && words.inUse,
                    ]
                      .filter(Boolean)
                      .join(" · ")}
                  </p>
                  <p class="hint from">{id}</p>
                </div>
                {complete && (
                  <Button
                    tone="plain"
                    aria-label={words.action(words.check, nameOf(id))}
                    title={words.checkText}
                    onClick={() => void models.resolve(id).then((choice) => models.download(choice))}
                  >
                    {words.check}
                  </Button>
                )}
                <IconButton
                  icon={Trash2}
                  label={words.deleteTitle(nameOf(id))}
                  onClick={() => void models.remove(id, nameOf(id)).then(() => models.stored.of(id) || goTo("storage"))}
                />
              </li>
            );
          })}
        </ul>
      )}
      <h3>{words.evictTitle}</h3>
      <p>{words.evict}</p>
      {usage?.persisted ? <p>{words.isPersisted}</p> : <Button onClick={() => void persist()}>{words.persist}</Button>}
    </section>
  );
}
