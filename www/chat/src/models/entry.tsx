// A model that can be chosen: what it is, and what it would cost on this device.

import { useEffect, useRef } from "preact/hooks";
import { Check, CircleHelp, CircleX, TriangleAlert } from "lucide";
import { format, language, t } from "../i18n";
import { useApp } from "../state/app";
import { Button } from "../ui/button";
import { Icon } from "../ui/icon";
import type { Choice } from "./choice";
import { HUB, isLocal } from "./choice";
import type { Estimated } from "./estimates";
import { wordsFor } from "./problem";

/** How far below the window a model's estimate is begun. */
const MARGIN = "150px";
/** Bytes of weights that the processor of most devices computes with at the speed of reading. */
const SMALL = 800e6;

/** Whether the user asked the browser to save data: headers have megabytes, too, and are then read on demand. */
const SAVES_DATA = (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true;

export function Entry({ choice, level = 3 }: { choice: Choice; level?: 2 | 3 }) {
  const { models } = useApp();
  const words = t.value.models;
  const { bytes } = format.value;
  const box = useRef<HTMLLIElement>(null);
  const { id, name, entry } = choice;
  const estimated = models.estimates.now(choice);
  const stored = models.stored.of(id);
  const download = models.downloads.of(id);
  const state = models.state.value;
  const loaded = state.kind === "ready" && state.choice?.id === id;
  const loading = state.kind === "loading" && state.choice.id === id;
  const made = estimated?.kind === "known" ? estimated.estimate : undefined;
  const refused = made?.fit === "no";
  // Of one that is not supported, the engine does not count its weights.
  const size = made?.downloadBytes || entry?.bytes;
  const kind = models.device === "auto" ? (models.estimates.device.value?.device ?? "gpu") : models.device;
  const runs = made && !refused;
  const facts = [
    size !== undefined
      && (!stored
        ? words.size(bytes(size))
        : stored.complete
          ? bytes(stored.bytes)
          : words.arrived(bytes(stored.bytes), bytes(size))),
    runs && words.memory[kind](bytes(made.gpuBytes)),
    runs && words.context(format.value.number(made.maxContextLength)),
    ...(entry?.capabilities.map((one) => words.capabilities[one]) ?? []),
    entry?.licence && words.licence(entry.licence),
  ];
  const load = refused ? words.loadAnyway : words.load;
  const Heading = `h${level}` as "h3";

  useEffect(() => {
    if (SAVES_DATA) return;
    const observer = new IntersectionObserver(
      ([seen]) => {
        if (!seen?.isIntersecting) return;
        observer.disconnect();
        void models.estimates.want(choice);
      },
      { rootMargin: MARGIN },
    );
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, [choice]);

  return (
    <li class="card model" ref={box}>
      <div class="row">
        <Heading class="grow">{name}</Heading>
        {loaded && <span class="badge">{words.loaded}</span>}
        {entry && entry.repo === undefined && <span class="badge">{words.onServer}</span>}
        {stored?.complete && !loaded && <span class="badge">{words.onDevice}</span>}
        {kind === "cpu" && size !== undefined && size < SMALL && !refused && <span class="badge">{words.suits}</span>}
        <Fit estimated={estimated} />
      </div>
      {entry && (entry.about[language.value] ?? entry.about.en) && (
        <p>{entry.about[language.value] ?? entry.about.en}</p>
      )}
      <p class="hint">{facts.filter(Boolean).join(" · ")}</p>
      <Reasons estimated={estimated} choice={choice} />
      <div class="row">
        {!loaded && (
          <Button
            tone={refused ? "quiet" : "main"}
            disabled={loading}
            aria-label={words.action(load, name)}
            onClick={() => void models.use(choice)}
          >
            {load}
          </Button>
        )}
        {!isLocal(choice) && !stored?.complete && !loaded && (
          <Button
            disabled={loading || download?.state === "running" || download?.state === "queued"}
            aria-label={words.action(stored ? words.resume : words.download, name)}
            onClick={() => models.download(choice)}
          >
            {download?.state === "running" || download?.state === "queued"
              ? words.states[download.state]
              : stored
                ? words.resume
                : words.download}
          </Button>
        )}
        {stored && !loaded && !loading && (
          <Button
            tone="plain"
            aria-label={words.action(t.value.common.delete, name)}
            onClick={() => void models.remove(id, name)}
          >
            {t.value.common.delete}
          </Button>
        )}
      </div>
      <From choice={choice} />
    </li>
  );
}

const FITS = { yes: Check, tight: TriangleAlert, no: CircleX };

function Fit({ estimated }: { estimated: Estimated | undefined }) {
  const words = t.value.models;
  if (estimated?.kind === "known") {
    const { fit } = estimated.estimate;
    return (
      <span class={`fit ${fit}`}>
        <Icon of={FITS[fit]} size={16} /> {words.fits[fit]}
      </span>
    );
  }
  if (estimated?.kind === "working") return <span class="fit hint">{words.estimating}</span>;
  return estimated ? (
    <span class="fit hint">
      <Icon of={CircleHelp} size={16} /> {words.fits.unknown}
    </span>
  ) : null;
}

function Reasons({ estimated, choice }: { estimated: Estimated | undefined; choice: Choice }) {
  const { models } = useApp();
  const words = t.value.models;
  if (estimated?.kind === "failed") {
    const { text, technical, code } = wordsFor(estimated.error, choice);
    const unreached = code === "network" && text === t.value.errors.engine["network"];
    return (
      <div class="reasons">
        <p class="hint">
          {words.unknown} {unreached ? words.problems.unreachable : text}
        </p>
        <details>
          <summary>{t.value.errors.technical}</summary>
          <p>{technical}</p>
        </details>
        <Button
          tone="plain"
          aria-label={words.action(words.estimateAgain, choice.name)}
          onClick={() => void models.estimates.want(choice, true)}
        >
          {words.estimateAgain}
        </Button>
      </div>
    );
  }
  if (estimated === undefined)
    return SAVES_DATA ? (
      <Button
        tone="plain"
        aria-label={words.action(words.look, choice.name)}
        onClick={() => void models.estimates.want(choice)}
      >
        {words.look}
      </Button>
    ) : null;
  if (estimated.kind !== "known") return null;
  const { reasons } = estimated.estimate;
  if (reasons.length === 0) return null;
  return (
    <div class="reasons">
      {[...new Set(reasons.map(({ code }) => code))].map((code) => (
        <p key={code}>{words.reasons[code]}</p>
      ))}
      <details>
        <summary>{t.value.errors.technical}</summary>
        {reasons.map(({ message }) => (
          <p key={message}>{message}</p>
        ))}
      </details>
    </div>
  );
}

/** Where the model comes from. */
function From({ choice: { id, entry, url } }: { choice: Choice }) {
  const words = t.value.models;
  if (url === undefined) return null;
  return (
    <p class="hint from">
      {entry?.repo ? (
        <a href={`${HUB}/${entry.repo}`} target="_blank" rel="noreferrer noopener">
          {entry.repo}
          <span class="visually-hidden"> {words.newTab}</span>
        </a>
      ) : (
        id
      )}
    </p>
  );
}
