// What leaves the page, what stays, and how that can be checked.

import { format, language, t } from "../i18n";
import { policy } from "../models/policy";
import { useApp } from "../state/app";
import type { Origin } from "../state/traffic";
import { EncryptionSection } from "./encryption";

/** Requests that are listed for an origin. */
const LISTED = 200;

export function PrivacyScreen() {
  const { protection } = useApp();
  const words = t.value.settings.priv;
  const encrypted = protection.kind.value !== "none";
  const allowed = policy();
  const things = [
    [words.things.conversations, encrypted ? words.places.encrypted : words.places.plain],
    [words.things.ghosts, words.places.ghosts],
    [words.things.settings, words.places.settings],
    [words.things.models, words.places.models],
    [words.things.page, words.places.page],
  ] as const;
  return (
    <div class="page settings">
      <h1 tabIndex={-1}>{words.title}</h1>
      <p>{words.text}</p>
      <Requests />

      <h2>{words.policy}</h2>
      {allowed ? (
        <>
          <p>{words.policyText}</p>
          <ul class="card policy" dir="ltr">
            {allowed.split(";").map((directive) => {
              const [name, ...sources] = directive.trim().split(/\s+/);
              return (
                <li key={name}>
                  <code>
                    <strong>{name}</strong> {sources.join(" ")}
                  </code>
                </li>
              );
            })}
          </ul>
        </>
      ) : (
        <p>{words.policyNone}</p>
      )}

      <h2>{words.check}</h2>
      <ol>
        {words.checks.map((text) => (
          <li key={text}>{text}</li>
        ))}
      </ol>

      <h2>{words.stored}</h2>
      <p>{words.where}</p>
      <dl class="card things">
        {things.map(([thing, place]) => (
          <div key={thing}>
            <dt>{thing}</dt>
            <dd>{place}</dd>
          </div>
        ))}
      </dl>

      <EncryptionSection />
    </div>
  );
}

function Requests() {
  const { traffic } = useApp();
  const words = t.value.settings.priv;
  const origins = traffic.origins.value;
  const locale = navigator.languages.find((tag) => tag.startsWith(language.value)) ?? language.value;
  const time = (at: number) => new Date(at).toLocaleTimeString(locale);
  return (
    <>
      <h2>{words.requests}</h2>
      <p class="verdict" role="status">
        {verdict()}
      </p>
      <p>{words.opened(time(performance.timeOrigin))}</p>
      {origins.length === 0 ? (
        <p class="hint">{words.noRequests}</p>
      ) : (
        <ul class="items">
          {origins.map((one) => (
            <li key={one.origin}>
              <OriginCard of={one} time={time} />
            </li>
          ))}
        </ul>
      )}
    </>
  );

  function verdict(): string {
    const mark = traffic.mark.value;
    if (mark === undefined) return words.noModel;
    const since = traffic.since.value;
    const at = time(mark.time);
    if (since.length === 0) return words.noneSince(at);
    const others = since.filter(({ own }) => !own);
    if (others.length === 0) return words.ownSince(since.length, at);
    return words.othersSince(others.length, format.value.list([...new Set(others.map(({ origin }) => origin))]), at);
  }
}

function OriginCard({
  of: { origin, kind, entries, bytes, refused, last },
  time,
}: {
  of: Origin;
  time(at: number): string;
}) {
  const words = t.value.settings.priv;
  const { number, bytes: size } = format.value;
  const shown = entries.slice(-LISTED).reverse();
  return (
    <details class="card origin">
      <summary>
        <strong dir="ltr">{origin}</strong>
        <span class="badge">{{ own: words.own, other: words.hub, local: words.local }[kind]}</span>
        {refused > 0 && <span class="badge alarm-text">{words.refused(refused)}</span>}
        <span class="hint figures">
          {words.count}: {number(entries.length)} · {words.bytes}: {size(bytes)} · {words.last}: {time(last)}
        </span>
      </summary>
      <ol class="requests" tabIndex={0} aria-label={words.requests}>
        {shown.map((entry, i) => (
          <li key={entries.length - i}>
            <span class="hint">
              {time(entry.time)} · {entry.initiator} ·{" "}
              {entry.refused ? words.refusedMark : entry.bytes === 0 ? words.cached : size(entry.bytes)}
            </span>
            <span dir="ltr">
              {entry.url.startsWith(origin) && kind !== "local" ? entry.url.slice(origin.length) : entry.url}
            </span>
          </li>
        ))}
      </ol>
      {entries.length > shown.length && <p class="hint">{words.more(number(entries.length - shown.length))}</p>}
    </details>
  );
}
