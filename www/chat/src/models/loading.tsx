// The present model, or how far its loading is.

import { useEffect, useRef } from "preact/hooks";
import type { Progress } from "minke";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import type { ModelState } from "../state/models";
import { Button } from "../ui/button";
import { Problem } from "./problem";
import type { Speed } from "./rate";
import { stageWords } from "./words";

/** "120 MB of 1 GB · 8 MB a second · 2 min left" */
export function Amount({ progress: { stage, loaded, total, fromCache }, speed, left }: Speed & { progress: Progress }) {
  const words = t.value.models;
  const { bytes, number, duration } = format.value;
  const count = stage === "compile" ? number : bytes;
  const parts = [words.of(count(loaded), count(total))];
  if (speed !== undefined && !fromCache) parts.push(words.speed(bytes(speed)));
  if (left !== undefined && !fromCache && loaded < total) parts.push(words.left(duration(left)));
  return <p class="hint">{parts.join(" · ")}</p>;
}

/** A bar for a stage; without a value while nothing is known. */
export function Bar({ progress, label }: { progress: Progress | undefined; label: string }) {
  const known = progress && progress.total > 0;
  return <progress aria-label={label} {...(known && { value: progress.loaded, max: progress.total })} />;
}

export function Present() {
  const { models } = useApp();
  const { kind } = models.state.value;
  const box = useRef<HTMLDivElement>(null);
  const first = useRef(true);
  useEffect(() => {
    // The button that was pressed is gone, or far below: what it led to is here.
    if (!first.current) box.current?.focus();
    first.current = false;
  }, [kind]);
  return (
    <div ref={box} class="present-box" role="group" aria-label={t.value.models.presentTitle} tabIndex={-1}>
      <Card />
    </div>
  );
}

function Card() {
  const { models } = useApp();
  const state = models.state.value;
  if (state.kind === "loading") return <Loading state={state} />;
  if (state.kind === "ready") return <Ready state={state} />;
  const last = models.last.value;
  if (state.error !== undefined) return <Problem error={state.error} choice={state.choice} />;
  if (last === undefined) return null;
  return (
    <section class="card present">
      <h2>{t.value.models.lastUsed}</h2>
      <div class="row">
        <p class="grow model-title">{last.name}</p>
        <Button tone="main" onClick={() => void models.use(last)}>
          {t.value.models.load}
        </Button>
      </div>
    </section>
  );
}

function Loading({ state: { name, progress, speed, elsewhere } }: { state: Extract<ModelState, { kind: "loading" }> }) {
  const { models } = useApp();
  const words = t.value.models;
  // Read out when the stage changes, and not with every percent.
  const stage = elsewhere ? words.elsewhere : progress ? stageWords(progress) : words.opening;
  return (
    <section class="card present">
      <h2>{words.loading(name)}</h2>
      <p role="status">{stage}</p>
      <Bar progress={progress} label={words.loading(name)} />
      {progress && <Amount progress={progress} {...speed} />}
      <div class="row end">
        <Button onClick={() => void models.unload()}>{t.value.common.cancel}</Button>
      </div>
    </section>
  );
}

function Ready({ state: { name, model } }: { state: Extract<ModelState, { kind: "ready" }> }) {
  const { models } = useApp();
  const words = t.value.models;
  const { bytes, number } = format.value;
  const { device, contextLength, quantization, architecture, warnings } = model.info;
  const { weights, kv, scratch } = model.memory();
  const facts = [
    words.memory[device.kind](bytes(weights + kv + scratch)),
    words.context(number(contextLength)),
    `${architecture} ${quantization}`,
    device.name,
  ];
  return (
    <section class="card present">
      <h2>{words.loaded}</h2>
      <div class="row">
        <p class="grow model-title">{name}</p>
        <Button onClick={() => void models.unload()}>{words.free}</Button>
      </div>
      <p class="hint">{facts.filter(Boolean).join(" · ")}</p>
      {device.kind === "cpu" && device.name !== "echo" && <p class="hint">{words.slower}</p>}
      {warnings.length > 0 && (
        <details>
          <summary>{words.warnings(warnings.length)}</summary>
          <ul>
            {warnings.map(({ message }) => (
              <li key={message}>{message}</li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}
