// One message with what can be done to it.

import { useSignal } from "@preact/signals";
import { memo } from "./memo";
import { useRef } from "preact/hooks";
import {
  ChevronLeft,
  ChevronRight,
  Copy,
  EllipsisVertical,
  GitBranch,
  Info,
  Paperclip,
  Pencil,
  Play,
  RefreshCw,
  SunMedium,
  Trash2,
} from "lucide";
import type { Siblings } from "../data/tree";
import type { Message } from "../data/types";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import type { Live } from "../state/live";
import { Button, IconButton } from "../ui/button";
import { explainStored } from "../ui/explain";
import { Icon } from "../ui/icon";
import { Menu } from "../ui/menu";
import { Calls } from "./calls";
import { Details } from "./details";
import { Editor } from "./editor";
import { HeatMap } from "./heat";
import { Rendered } from "./rendered";
import { Thinking } from "./thinking";

interface Props {
  message: Message;
  siblings: Siblings | undefined;
  live: Live | undefined;
  last: boolean;
}

export const MessageView = memo(function MessageView({ message, siblings, live, last }: Props) {
  const { chat, preferences } = useApp();
  const words = t.value.chat;
  const editing = useSignal(false);
  const heat = useSignal(false);
  const article = useRef<HTMLElement>(null);
  const { role, text, attachments = [] } = message;
  const user = role === "user";
  const endEditing = () => {
    editing.value = false;
    requestAnimationFrame(() => article.current?.querySelector<HTMLElement>(".edit")?.focus());
  };
  return (
    <article
      ref={article}
      class={`message ${role}${live ? " live" : ""}`}
      aria-busy={live !== undefined}
      aria-label={user ? words.you : role === "tool" ? words.tool : (message.model ?? words.assistant)}
    >
      {!user && <h2 class="speaker">{role === "tool" ? words.tool : (message.model ?? words.assistant)}</h2>}
      {attachments.length > 0 && (
        <ul class="files">
          {attachments.map((file) => (
            <li key={file.id}>
              <details class="file">
                <summary>
                  <Icon of={Paperclip} size={14} />
                  <span>{file.name}</span>
                  <span class="hint">{format.value.bytes(file.bytes)}</span>
                </summary>
                <pre tabIndex={0}>{file.text.slice(0, 20_000)}</pre>
              </details>
            </li>
          ))}
        </ul>
      )}
      {editing.value ? (
        <Editor message={message} onClose={endEditing} />
      ) : user ? (
        text !== "" && (
          <div class="said" dir="auto">
            {text}
          </div>
        )
      ) : (
        <Answer message={message} live={live} heat={heat.value} />
      )}
      {live ? (
        <Status live={live} />
      ) : (
        !editing.value && (
          <footer class="message-foot">
            {siblings && siblings.ids.length > 1 && <Versions siblings={siblings} />}
            <Actions
              message={message}
              last={last}
              edit={() => (editing.value = true)}
              heat={heat.value}
              toggleHeat={() => (heat.value = !heat.value)}
            />
            {!user && preferences.settings.value.showStats && message.stats && (
              <span class="hint stats">
                {words.stats(
                  format.value.number(message.stats.tokens),
                  format.value.number(message.stats.tokensPerSecond, 1),
                )}
              </span>
            )}
          </footer>
        )
      )}
      {!live && !user && <Ending message={message} last={last} retry={() => void chat.goOn(message.id)} />}
    </article>
  );
});

function Answer({ message, live, heat }: { message: Message; live: Live | undefined; heat: boolean }) {
  const thinks = live?.thinkingSince.value !== undefined || Boolean((live ?? message).reasoning);
  const calls = live ? live.calls.value : (message.calls ?? []);
  return (
    <>
      {thinks && <Thinking message={message} live={live} />}
      {calls.length > 0 && <Calls calls={calls} />}
      {heat ? <HeatMap message={message} /> : <Rendered text={message.text} live={live} />}
    </>
  );
}

/** What the model is doing. */
function Status({ live }: { live: Live }) {
  const words = t.value.chat;
  const { models } = useApp();
  const phase = live.phase.value;
  const read = live.read.value;
  const state = models.state.value;
  if (phase === "answering" || phase === "thinking") return <p class="status working" aria-hidden="true" />;
  const text =
    phase === "reading" && read
      ? words.readingPrompt(format.value.number(read.done), format.value.number(read.total))
      : state.kind === "loading"
        ? words.loadingModel(state.name)
        : {
            waiting: words.waiting,
            reading: words.waiting,
            summarising: words.summarising,
            calling: words.calling,
            running: words.running,
          }[phase];
  return (
    <p class="status working" role="status">
      {text}
      {phase === "reading" && read && <progress aria-label={text} value={read.done} max={read.total} />}
    </p>
  );
}

/** Why an answer ended, if not by itself, and what helps. */
function Ending({ message, last, retry }: { message: Message; last: boolean; retry(): void }) {
  const { ui, chat } = useApp();
  const words = t.value.chat;
  const more = t.value.errors;
  const { finish, error } = message;
  if (finish === "error" && error !== undefined) {
    const { code, text, technical } = explainStored(error);
    const help: Record<string, [label: string, run: () => void]> = {
      "no-model": [words.chooseModel, () => ui.go("models")],
      "device-lost": [more.loadAgain, () => ui.go("models")],
      internal: [more.loadAgain, () => ui.go("models")],
      memory: [more.chooseAnother, () => ui.go("models")],
      "context-overflow": [more.contextSettings, () => ui.go("settings")],
    };
    const helping = code === undefined ? undefined : help[code];
    return (
      <div class="card alarm ending" role={last ? "alert" : undefined}>
        <p>{text}</p>
        {technical && (
          <details>
            <summary>{more.technical}</summary>
            <p>{technical}</p>
          </details>
        )}
        <div class="row">
          {last && <Button onClick={retry}>{words.retry}</Button>}
          {helping && <Button onClick={helping[1]}>{helping[0]}</Button>}
          {code === "context-overflow" && <Button onClick={() => chat.begin()}>{more.newChat}</Button>}
        </div>
      </div>
    );
  }
  const text =
    finish === "length"
      ? words.cut
      : finish === "abort"
        ? words.stopped
        : finish === "tool-calls"
          ? words.toolsWaiting
          : undefined;
  if (text === undefined) return null;
  return (
    <p class="hint ending row">
      {text}
      {last && finish !== "tool-calls" && (
        <Button icon={Play} onClick={retry}>
          {words.goOn}
        </Button>
      )}
    </p>
  );
}

function Versions({ siblings: { ids, index } }: { siblings: Siblings }) {
  const { chat } = useApp();
  const words = t.value.chat;
  return (
    <span class="versions" role="group" aria-label={words.version(index + 1, ids.length)}>
      <IconButton
        class="version-step"
        icon={ChevronLeft}
        size={16}
        label={words.previous}
        disabled={index === 0}
        onClick={() => void chat.walk(ids[index - 1]!)}
      />
      <span>
        {index + 1}/{ids.length}
      </span>
      <IconButton
        class="version-step"
        icon={ChevronRight}
        size={16}
        label={words.next}
        disabled={index === ids.length - 1}
        onClick={() => void chat.walk(ids[index + 1]!)}
      />
    </span>
  );
}

function Actions({
  message,
  last,
  edit,
  heat,
  toggleHeat,
}: {
  message: Message;
  last: boolean;
  edit(): void;
  heat: boolean;
  toggleHeat(): void;
}) {
  const { chat, ui, models } = useApp();
  const words = t.value.chat;
  const user = message.role === "user";
  const busy = chat.live.value !== undefined;
  const copy = () =>
    void navigator.clipboard.writeText(message.text).then(
      () => ui.notify(words.copiedText),
      (error: Error) => ui.notify(error.message, { tone: "alarm" }),
    );
  const remove = async () => {
    chat.edits.delete(message.id);
    const back = await chat.deleteBranch(message.id);
    ui.notify(words.branchDeleted, {
      action: { label: t.peek().common.undo, run: () => back().catch((error: unknown) => ui.fail(error)) },
    });
  };
  const scores = message.logprobs !== undefined || models.model.value !== undefined;
  return (
    <span class="actions">
      <IconButton icon={Copy} size={17} label={words.copyText} onClick={copy} />
      {message.role !== "tool" && (
        <IconButton class="edit" icon={Pencil} size={17} label={words.edit} disabled={busy} onClick={edit} />
      )}
      {message.role === "assistant" && (
        <IconButton
          icon={RefreshCw}
          size={17}
          label={words.regenerate}
          disabled={busy}
          onClick={() => void chat.regenerate(message.id)}
        />
      )}
      {user && last && !busy && (
        <IconButton icon={Play} size={17} label={words.retry} onClick={() => void chat.answer(message.id)} />
      )}
      <Menu
        label={t.value.common.more}
        icon={EllipsisVertical}
        items={[
          message.role === "assistant" &&
            last && { label: words.goOn, icon: Play, disabled: busy, run: () => void chat.goOn(message.id) },
          {
            label: words.fork,
            icon: GitBranch,
            run: () => chat.fork(message.id).catch((error: unknown) => ui.fail(error)),
          },
          message.role === "assistant" && {
            label: words.details,
            icon: Info,
            run: () => ui.open((close) => <Details message={message} onClose={close} />),
          },
          message.role === "assistant" &&
            message.text !== "" && {
              label: heat ? words.heatHide : words.heat,
              icon: SunMedium,
              checked: heat,
              disabled: !scores || busy,
              run: toggleHeat,
            },
          { label: words.deleteBranch, icon: Trash2, danger: true, disabled: busy, run: () => void remove() },
        ]}
      />
    </span>
  );
}
