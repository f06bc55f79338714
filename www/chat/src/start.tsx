// Opens the store and connects the application's parts.

import { effect } from "@preact/signals";
import { AppView } from "./app";
import { fetchRenderer } from "./chat/renderer";
import { openStore } from "./data/store";
import type { RequestLog } from "./data/requests";
import { preferred, speak } from "./i18n";
import { registerWorker } from "./pwa/register";
import { AppContext } from "./state/app";
import type { App } from "./state/app";
import { Chat } from "./state/chat";
import { Draft } from "./state/draft";
import { Library } from "./state/library";
import { Models } from "./state/models";
import { Preferences } from "./state/preferences";
import { Presets } from "./state/presets";
import { Prompts } from "./state/prompts";
import { Protection } from "./state/protection";
import { Traffic } from "./state/traffic";
import { STORES_NOTHING, Ui } from "./state/ui";

/** The application, ready to be drawn. Rejects with a `DataError` if nothing can be stored. */
export async function start(log: RequestLog) {
  // A conversation is about to be shown.
  if (location.hash.startsWith("#/c/")) void fetchRenderer();
  await speak(preferred(new URLSearchParams(location.search).get("lang") ?? "auto"));
  // Everything in memory: for browsers that let the page store nothing, and for whoever wants that.
  if (STORES_NOTHING) await import("fake-indexeddb/auto");
  const store = await openStore();
  const settings = await store.settings();
  const ui = new Ui();
  const preferences = new Preferences(store, settings);
  const presets = new Presets(store);
  const library = new Library(store);
  const models = new Models(preferences, ui, log);
  const chat = new Chat(store, ui, preferences, presets, library, models);
  const draft = new Draft(store, models);
  const prompts = new Prompts(store, preferences);
  const protection = new Protection(store, ui, preferences, library, chat, draft);
  const traffic = new Traffic(log, models);
  const app: App = { store, log, ui, preferences, presets, library, models, chat, draft, prompts, protection, traffic };
  await Promise.all([presets.refresh(), prompts.refresh(), library.refresh()]);

  // The address says which conversation is shown.
  effect(() => {
    const [id, screen, locked] = [ui.conversation.value, ui.screen.value, protection.locked.value];
    if (screen !== "chat" || locked) return;
    if (id !== undefined) void chat.open(id);
    else if (chat.tree.peek().size > 0) chat.begin();
  });
  // Each conversation has its draft.
  let before: string | undefined;
  effect(() => {
    const { id, ghost } = chat.conversation.value;
    const key = chat.tree.value.size > 0 ? id : undefined;
    if (protection.locked.value) {
      // Nothing of it stays on the page; it is read again when the store is unlocked.
      draft.forget();
      void draft.open(undefined, true);
      draft.forget();
      before = undefined;
      return;
    }
    if (id === before) draft.keepFor(key);
    else void draft.open(key, ghost === true);
    before = id;
  });
  void models.start();
  registerWorker(ui);
  return (
    <AppContext.Provider value={app}>
      <AppView />
    </AppContext.Provider>
  );
}
