// Deletes what is stored.

import { store as models } from "minke";
import type { App } from "./app";

/** Deletes all conversations, drafts, presets and prompt shortcuts for good, and what else is asked for. */
export async function eraseAll(app: App, also: { models: boolean; settings: boolean }): Promise<void> {
  const { store, chat, draft, library, presets, protection, preferences } = app;
  // Their answers would be stored after everything else is gone.
  await protection.settle();
  draft.take();
  await store.clear();
  presets.editing.value = undefined;
  app.prompts.editing.value = undefined;
  library.ghosts.value = [];
  if (also.settings) preferences.reset();
  else if (preferences.settings.peek().preset) preferences.change({ preset: "" });
  chat.begin();
  app.ui.go("settings");
  if (!also.models) return;
  await app.models.unload();
  for (const { id } of await models.list()) await models.delete(id);
}
