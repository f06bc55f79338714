// The conversation: messages above, the field to write in below.

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { ArrowDown, EllipsisVertical, Ghost, GitBranch, ListTree, Settings2 } from "lucide";
import { t } from "../i18n";
import { saveConversation } from "../settings/save";
import { useApp } from "../state/app";
import { Button, IconButton } from "../ui/button";
import { Icon } from "../ui/icon";
import { Menu } from "../ui/menu";
import { Announcer } from "./announcer";
import { Branches } from "./branches";
import { Composer } from "./composer";
import { Gauge } from "./gauge";
import { MessageView } from "./message";
import { Setup } from "./setup";

/** Pixels from the end within which the view follows the answer. */
const NEAR = 80;

export function ChatView() {
  const app = useApp();
  const { ui, chat, draft } = app;
  const words = t.value.chat;
  const { id, ghost, title } = chat.conversation.value;
  const path = chat.path.value;
  const dropping = useSignal(false);
  const fail = (error: unknown) => ui.fail(error);
  const attach = (files: readonly File[]) => void draft.attach(files).catch(fail);
  const forked =
    [...chat.siblings.value.values()].some(({ ids }) => ids.length > 1) || chat.tree.value.size > path.length;

  return (
    <div
      class={dropping.value ? "chat dropping" : "chat"}
      onDragOver={(event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        dropping.value = true;
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) dropping.value = false;
      }}
      onDrop={(event) => {
        const files = [...(event.dataTransfer?.files ?? [])];
        dropping.value = false;
        if (files.length === 0) return;
        event.preventDefault();
        attach(files);
      }}
    >
      <div class="chat-tools">
        {ghost && (
          <span class="badge" title={words.ghostText}>
            <Icon of={Ghost} size={14} /> {words.ghost}
          </span>
        )}
        <Gauge />
        {forked && (
          <IconButton
            icon={ListTree}
            label={words.tree}
            onClick={() => ui.open((close) => <Branches onClose={close} />)}
          />
        )}
        <IconButton
          icon={Settings2}
          label={words.setup}
          onClick={() => ui.open((close) => <Setup onClose={close} />)}
        />
        {path.length > 0 && (
          <Menu
            label={t.value.sidebar.actions(title || t.value.sidebar.untitled)}
            icon={EllipsisVertical}
            items={[
              { label: words.fork, icon: GitBranch, run: () => chat.fork(path.at(-1)!.id).catch(fail) },
              { label: t.value.sidebar.exportMarkdown, run: () => saveConversation(app, id, "markdown").catch(fail) },
              { label: t.value.sidebar.exportJson, run: () => saveConversation(app, id, "json").catch(fail) },
            ]}
          />
        )}
      </div>
      <h1 class="visually-hidden" tabIndex={-1}>
        {title || words.messages}
      </h1>
      {path.length === 0 ? <Empty ghost={ghost === true} /> : <Messages key={id} />}
      {chat.unsaved.value && (
        <div class="card alarm unsaved" role="alert">
          <p>{words.unsaved}</p>
          <div class="row">
            <Button onClick={() => void chat.storeAgain()}>{t.value.errors.tryAgain}</Button>
            <Button onClick={() => void saveConversation(app, id, "json").catch(fail)}>{words.exportNow}</Button>
          </div>
        </div>
      )}
      <Composer attach={attach} />
      <Announcer />
      {dropping.value && <div class="drop-hint">{words.drop}</div>}
    </div>
  );
}

function Empty({ ghost }: { ghost: boolean }) {
  const { models, ui, chat } = useApp();
  const words = t.value.chat;
  const { kind } = models.state.value;
  if (chat.opening.value)
    return (
      <div class="empty" role="status">
        {t.value.common.loading}
      </div>
    );
  return (
    <div class="empty">
      <h2>{ghost ? words.ghost : words.empty}</h2>
      <p>{ghost ? words.ghostText : words.emptyText}</p>
      {kind === "none" && (
        <Button tone="main" onClick={() => ui.go("models")}>
          {words.chooseModel}
        </Button>
      )}
    </div>
  );
}

function Messages() {
  const { chat } = useApp();
  const words = t.value.chat;
  const path = chat.path.value;
  const siblings = chat.siblings.value;
  const readFrom = chat.readFrom.value;
  const live = chat.live.value;
  const box = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  /** Whether the end stays in view while an answer grows. */
  const following = useRef(true);
  const away = useSignal(false);
  const toEnd = () => {
    const element = box.current!;
    element.scrollTop = element.scrollHeight;
    following.current = true;
    away.value = false;
  };

  useLayoutEffect(toEnd, []);
  // A new message, or another branch: its end.
  const leaf = path.at(-1)?.id;
  useLayoutEffect(toEnd, [leaf]);
  useEffect(() => {
    // Whatever makes the list grow: text, code that is highlighted later, a formula.
    const observer = new ResizeObserver(() => {
      const element = box.current;
      if (element && following.current) element.scrollTop = element.scrollHeight;
    });
    observer.observe(list.current!);
    return () => observer.disconnect();
  }, []);

  const onScroll = () => {
    if (box.current === null) return; // it scrolled when it was taken away
    const { scrollTop, scrollHeight, clientHeight } = box.current!;
    following.current = scrollHeight - scrollTop - clientHeight < NEAR;
    away.value = !following.current;
  };

  return (
    <div class="messages-frame">
      <div class="messages" ref={box} onScroll={onScroll} tabIndex={0} role="region" aria-label={words.messages}>
        <ol class="message-list" ref={list}>
          {path.map((message) => (
            <li key={message.id}>
              {message.id === readFrom && <p class="divider">{words.readFrom}</p>}
              {message.summary !== undefined && (
                <details class="divider">
                  <summary>{words.summarised}</summary>
                  <p>{message.summary}</p>
                </details>
              )}
              <MessageView
                message={message}
                siblings={siblings.get(message.id)}
                live={live?.message.id === message.id ? live : undefined}
                last={message.id === leaf}
              />
            </li>
          ))}
        </ol>
      </div>
      {away.value && <IconButton class="to-end" icon={ArrowDown} label={words.latest} onClick={toEnd} />}
    </div>
  );
}
