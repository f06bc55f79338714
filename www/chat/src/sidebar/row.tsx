// A conversation in the list.

import type { ComponentChildren } from "preact";
import { Download, EllipsisVertical, FileText, Folder, Ghost, Pencil, Pin, PinOff, Tag, Trash2 } from "lucide";
import type { Conversation } from "../data/types";
import { format, t } from "../i18n";
import { saveConversation } from "../settings/save";
import { useApp } from "../state/app";
import type { App } from "../state/app";
import { Icon } from "../ui/icon";
import { Menu } from "../ui/menu";

export function Row({
  conversation,
  title,
  below,
}: {
  conversation: Conversation;
  title?: ComponentChildren;
  below?: ComponentChildren;
}) {
  const app = useApp();
  const { ui, chat } = app;
  const words = t.value.sidebar;
  const { id, pinned, folder, tags, updated } = conversation;
  const name = conversation.title || words.untitled;
  const current = ui.screen.value === "chat" && chat.conversation.value.id === id;
  const answering = chat.lives.value.has(id);
  const fail = (error: unknown) => ui.fail(error);
  return (
    <div class={current ? "conversation current" : "conversation"}>
      <a href={`#/c/${id}`} aria-current={current ? "page" : undefined} onClick={() => (ui.drawer.value = false)}>
        <span class="conversation-title" dir="auto">
          {conversation.ghost && <Icon of={Ghost} size={14} />}
          <span>{title ?? name}</span>
        </span>
        {below && (
          <span class="snippet" dir="auto">
            {below}
          </span>
        )}
        <span class="conversation-facts">
          {answering ? <span class="busy">{words.answering}</span> : <time>{format.value.when(updated)}</time>}
          {folder !== undefined && <span>{folder}</span>}
          {tags.map((tag) => (
            <span key={tag}>#{tag}</span>
          ))}
        </span>
      </a>
      <Menu
        label={words.actions(name)}
        icon={EllipsisVertical}
        items={[
          { label: words.rename, icon: Pencil, run: () => rename(app, conversation).catch(fail) },
          !conversation.ghost && {
            label: pinned ? words.unpin : words.pin,
            icon: pinned ? PinOff : Pin,
            run: () => app.library.update(id, { pinned: !pinned }).catch(fail),
          },
          !conversation.ghost && { label: words.folder, icon: Folder, run: () => move(app, conversation).catch(fail) },
          !conversation.ghost && { label: words.tags, icon: Tag, run: () => label(app, conversation).catch(fail) },
          { label: words.exportMarkdown, icon: FileText, run: () => saveConversation(app, id, "markdown").catch(fail) },
          { label: words.exportJson, icon: Download, run: () => saveConversation(app, id, "json").catch(fail) },
          { label: t.value.common.delete, icon: Trash2, danger: true, run: () => void remove(app, [id]) },
        ]}
      />
    </div>
  );
}

async function rename({ ui, library, chat }: App, { id, title }: Conversation): Promise<void> {
  const words = t.peek().sidebar;
  const next = (await ui.ask(words.renameTitle, words.title, title))?.trim();
  if (!next) return;
  await library.update(id, { title: next });
  const shown = chat.conversation.peek();
  if (shown.id === id) chat.conversation.value = { ...shown, title: next };
}

async function move({ ui, library }: App, { id, folder = "" }: Conversation): Promise<void> {
  const words = t.peek().sidebar;
  const next = (await ui.ask(words.folderTitle, words.folderName, folder))?.trim();
  if (next !== undefined) await library.update(id, { folder: next === "" ? null : next });
}

async function label({ ui, library }: App, { id, tags }: Conversation): Promise<void> {
  const words = t.peek().sidebar;
  const next = await ui.ask(words.tagsTitle, words.tagsNames, tags.join(", "));
  if (next === undefined) return;
  await library.update(id, {
    tags: [
      ...new Set(
        next
          .split(",")
          .map((tag) => tag.trim().replace(/^#/, ""))
          .filter(Boolean),
      ),
    ],
  });
}

/** Deletes conversations, and offers to take it back. */
export async function remove({ ui, library, chat }: App, ids: readonly string[]): Promise<void> {
  const words = t.peek();
  const ghosts = library.ghosts.peek().filter(({ id }) => ids.includes(id));
  try {
    // What was written is stored first, so that it comes back with the rest.
    await Promise.all(ids.map((id) => chat.end(id)));
    const back = await library.remove(ids);
    const shown = chat.conversation.peek().id;
    if (ids.includes(shown)) chat.begin();
    const undo = () => back().then(() => ids.includes(shown) && ui.go("chat", shown));
    // Nothing brings a ghost back.
    const action = { label: words.common.undo, run: () => undo().catch((error: unknown) => ui.fail(error)) };
    ui.notify(words.sidebar.deleted(ids.length), ghosts.length < ids.length ? { action } : {});
  } catch (error) {
    ui.fail(error);
  }
}
