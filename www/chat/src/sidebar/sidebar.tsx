// The list of conversations, with search and the ways to the other screens.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ArrowDownUp, Box, Ghost, Keyboard, Settings2, ShieldCheck, SlidersHorizontal, SquarePen, X } from "lucide";
import type { IconNode } from "lucide";
import type { Conversation } from "../data/types";
import { format, t } from "../i18n";
import { TransferDialog } from "../settings/lazy";
import { ShortcutSheet } from "../settings/sheet";
import { useApp } from "../state/app";
import type { Screen } from "../state/ui";
import { IconButton } from "../ui/button";
import { Icon } from "../ui/icon";
import { Results } from "./results";
import { Row } from "./row";

/** Rows that are drawn at once; more come as the list is scrolled. */
const PAGE = 60;

export function Sidebar() {
  const { ui, library, chat } = useApp();
  const words = t.value.sidebar;
  const { folders, tags } = library.labels.value;
  const filter =
    library.folder.value !== undefined
      ? `f:${library.folder.value}`
      : library.tag.value !== undefined
        ? `t:${library.tag.value}`
        : "";
  const begin = (ghost?: true) => {
    chat.begin(ghost);
    requestAnimationFrame(() => document.querySelector<HTMLElement>("#message")?.focus());
  };
  return (
    <nav class="sidebar" aria-label={words.label}>
      <div class="sidebar-head">
        <button type="button" class="button main grow" onClick={() => begin()}>
          <Icon of={SquarePen} size={18} />
          <span>{words.newChat}</span>
        </button>
        <IconButton icon={Ghost} label={words.newGhost} onClick={() => begin(true)} />
        <IconButton icon={X} label={words.close} class="close-drawer" onClick={() => (ui.drawer.value = false)} />
      </div>
      <div class="search">
        <input
          id="search"
          type="search"
          aria-label={words.search}
          placeholder={words.search}
          value={library.query.value}
          onInput={(event) => void library.search(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape" || event.currentTarget.value === "") return;
            event.preventDefault();
            event.stopPropagation();
            void library.search("");
          }}
        />
      </div>
      {folders.length + tags.length > 0 && (
        <select
          class="filter"
          aria-label={words.filter}
          value={filter}
          onChange={({ currentTarget: { value } }) => {
            library.folder.value = value.startsWith("f:") ? value.slice(2) : undefined;
            library.tag.value = value.startsWith("t:") ? value.slice(2) : undefined;
            void library.search(library.query.peek());
          }}
        >
          <option value="">{words.allFolders}</option>
          {folders.map((name) => (
            <option key={`f:${name}`} value={`f:${name}`}>
              {words.inFolder(name)}
            </option>
          ))}
          {tags.map((name) => (
            <option key={`t:${name}`} value={`t:${name}`}>
              {words.withTag(name)}
            </option>
          ))}
        </select>
      )}
      <div class="list" tabIndex={-1}>
        {library.found.value ? <Results found={library.found.value} /> : <List />}
      </div>
      <ul class="places">
        {(
          [
            ["models", Box],
            ["presets", SlidersHorizontal],
            ["settings", Settings2],
            ["privacy", ShieldCheck],
          ] satisfies [Screen, IconNode][]
        ).map(([screen, icon]) => (
          <li key={screen}>
            <a
              href={`#/${screen}`}
              class="place"
              aria-current={ui.screen.value === screen ? "page" : undefined}
              onClick={() => (ui.drawer.value = false)}
            >
              <Icon of={icon} size={18} />
              <span>{words[screen as "models"]}</span>
            </a>
          </li>
        ))}
        <li>
          <button type="button" class="place" onClick={() => ui.open((close) => <TransferDialog onClose={close} />)}>
            <Icon of={ArrowDownUp} size={18} />
            <span>{words.transfer}</span>
          </button>
        </li>
        <li class="keys">
          <button type="button" class="place" onClick={() => ui.open((close) => <ShortcutSheet onClose={close} />)}>
            <Icon of={Keyboard} size={18} />
            <span>{words.shortcuts}</span>
          </button>
        </li>
      </ul>
    </nav>
  );
}

function List() {
  const { library } = useApp();
  const words = t.value.sidebar;
  const shown = library.shown.value;
  const ghosts = library.ghosts.value;
  const count = useSignal(PAGE);
  const end = useRef<HTMLDivElement>(null);
  const more = shown.length > count.value;
  useEffect(() => {
    if (!more) return;
    const observer = new IntersectionObserver(([entry]) => {
      if (entry!.isIntersecting) count.value += PAGE;
    });
    observer.observe(end.current!);
    return () => observer.disconnect();
  }, [more, count.value]);
  if (shown.length + ghosts.length === 0) return <p class="hint">{words.none}</p>;
  const rows = shown.slice(0, count.value);
  const pinned = rows.filter((one) => one.pinned);
  const recent = rows.filter((one) => !one.pinned);
  return (
    <>
      <Section title={words.ghosts} of={ghosts} />
      <Section title={words.pinned} of={pinned} />
      <Section title={words.recent} of={recent} alone={ghosts.length + pinned.length === 0} />
      {more && (
        <div ref={end} class="hint">
          {format.value.number(shown.length - count.value)}…
        </div>
      )}
    </>
  );
}

function Section({ title, of, alone = false }: { title: string; of: readonly Conversation[]; alone?: boolean }) {
  if (of.length === 0) return null;
  return (
    <section>
      <h2 class={alone ? "list-title hidden-title" : "list-title"}>{title}</h2>
      <ul class="rows">
        {of.map((conversation) => (
          <li key={conversation.id}>
            <Row conversation={conversation} />
          </li>
        ))}
      </ul>
    </section>
  );
}
