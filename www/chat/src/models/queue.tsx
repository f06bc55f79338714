// The downloads: what runs, waits, was paused or failed.

import { Pause, Play, Trash2 } from "lucide";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Button } from "../ui/button";
import { explain } from "../ui/explain";
import type { Download } from "./downloads";
import { Amount, Bar } from "./loading";
import { Problem } from "./problem";
import { stageWords } from "./words";

export function Queue() {
  const { models } = useApp();
  const words = t.value.models;
  const all = models.downloads.list.value;
  if (all.length === 0) return null;
  return (
    <section>
      <h2>{words.downloads}</h2>
      <ul class="model-list">
        {all.map((download) => (
          <Row key={download.choice.id} download={download} />
        ))}
      </ul>
    </section>
  );
}

function Row({ download }: { download: Download }) {
  const { models, ui } = useApp();
  const words = t.value.models;
  const { choice, state, progress, error, elsewhere, speed, left } = download;
  const { id, name } = choice;
  const cancel = async () => {
    if (!(await ui.confirm(words.cancelTitle(name), words.cancelText, words.cancelDownload, true))) return;
    await models.downloads.cancel(id).catch((failed) => ui.notify(explain(failed).text, { tone: "alarm" }));
  };
  const running = state === "running";
  // One button, which keeps the focus.
  const toggle = running || state === "queued" ? "pause" : state === "paused" ? "resume" : undefined;
  const stage = running
    ? elsewhere
      ? words.elsewhere
      : progress
        ? stageWords(progress)
        : words.opening
    : words.states[state];
  return (
    <li class="card model download">
      <div class="row">
        <h3 class="grow">{name}</h3>
        <p role="status">{stage}</p>
      </div>
      {(running || (progress && state !== "done")) && <Bar progress={progress} label={words.downloading(name)} />}
      {running && progress && (
        <Amount progress={progress} {...(speed !== undefined && { speed })} {...(left !== undefined && { left })} />
      )}
      {error !== undefined && (
        <Problem error={error} choice={choice} again={() => models.download(choice)} lonely={false} />
      )}
      <div class="row">
        {toggle && (
          <Button
            icon={toggle === "pause" ? Pause : Play}
            aria-label={words.action(words[toggle], name)}
            onClick={() => (toggle === "pause" ? models.downloads.pause(id) : models.download(choice))}
          >
            {words[toggle]}
          </Button>
        )}
        {state === "done" && (
          <>
            <Button tone="main" aria-label={words.action(words.load, name)} onClick={() => void models.use(choice)}>
              {words.load}
            </Button>
            <Button aria-label={words.action(t.value.common.dismiss, name)} onClick={() => models.downloads.drop(id)}>
              {t.value.common.dismiss}
            </Button>
          </>
        )}
        {state !== "done" && (
          <Button
            icon={Trash2}
            tone="plain"
            aria-label={words.action(words.cancelDownload, name)}
            onClick={() => void cancel()}
          >
            {words.cancelDownload}
          </Button>
        )}
      </div>
    </li>
  );
}
