// The frame: the list of conversations beside the screen.

import { useSignalEffect } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { PanelLeft } from "lucide";
import { ChatView } from "./chat/view";
import { t } from "./i18n";
import { ModelButton } from "./models/button";
import { ModelsScreen } from "./models/screen";
import { PresetsScreen, PrivacyScreen, SettingsScreen } from "./settings/lazy";
import { LockScreen } from "./settings/lock";
import { ShortcutSheet } from "./settings/sheet";
import { useShortcuts } from "./shortcuts";
import { Sidebar } from "./sidebar/sidebar";
import { useApp } from "./state/app";
import { STORES_NOTHING } from "./state/ui";
import type { Screen } from "./state/ui";
import { IconButton } from "./ui/button";
import { Overlays } from "./ui/overlays";

const SCREENS: Record<Screen, ComponentType> = {
  chat: ChatView,
  models: ModelsScreen,
  presets: PresetsScreen,
  settings: SettingsScreen,
  privacy: PrivacyScreen,
};

const NARROW = "(max-width: 52rem)";

export function AppView() {
  const app = useApp();
  const { ui, preferences, protection, chat, library } = app;
  const main = useRef<HTMLElement>(null);
  const screen = ui.screen.value;
  const Current = SCREENS[screen];
  const locked = protection.locked.value;

  const toggleSidebar = () => {
    if (matchMedia(NARROW).matches) ui.drawer.value = !ui.drawer.value;
    else preferences.change({ sidebar: !preferences.settings.peek().sidebar });
  };
  const toField = () => document.querySelector<HTMLElement>("#message")?.focus();
  const step = (by: 1 | -1) => {
    const all = [...library.ghosts.peek(), ...library.shown.peek()];
    const at = all.findIndex(({ id }) => id === chat.conversation.peek().id);
    const next = all[at === -1 ? (by === 1 ? 0 : all.length - 1) : at + by];
    if (next) ui.go("chat", next.id);
  };
  const lastAnswer = () => chat.path.peek().findLast(({ role }) => role === "assistant");
  const inChat = () => ui.screen.peek() === "chat";

  useShortcuts(app, {
    newChat: () => {
      chat.begin();
      toField();
    },
    newGhost: () => {
      chat.begin(true);
      toField();
    },
    search: () => {
      const focus = () => document.querySelector<HTMLElement>("#search")?.focus();
      // At once where it is shown, so that no key is lost; else when it is.
      focus();
      if (matchMedia(NARROW).matches) ui.drawer.value = true;
      else if (!preferences.settings.peek().sidebar) preferences.change({ sidebar: true });
      requestAnimationFrame(focus);
    },
    sidebar: toggleSidebar,
    compose: () => inChat() && toField(),
    previous: () => step(-1),
    next: () => step(1),
    stop: () => {
      if (ui.drawer.peek()) ui.drawer.value = false;
      else if (chat.live.peek()) chat.stop();
      else return false;
    },
    copyLast: () => {
      const answer = inChat() ? lastAnswer() : undefined;
      if (answer === undefined) return false;
      void navigator.clipboard.writeText(answer.text).then(() => ui.notify(t.peek().chat.copiedText));
    },
    regenerate: () => {
      const answer = inChat() ? lastAnswer() : undefined;
      if (answer === undefined) return false;
      void chat.regenerate(answer.id);
    },
    editLast: (event) => {
      // From the empty field only: elsewhere the key moves and scrolls.
      if (!(event.target instanceof HTMLTextAreaElement) || event.target.id !== "message" || event.target.value !== "")
        return false;
      const buttons = document.querySelectorAll<HTMLElement>(".message.user .edit");
      buttons[buttons.length - 1]?.click();
      return buttons.length > 0;
    },
    models: () => ui.go("models"),
    sheet: () => ui.open((close) => <ShortcutSheet onClose={close} />),
  });

  // The drawer lies over the screen, which nothing reaches while it is open.
  const drawer = ui.drawer.value;
  const drawn = useRef(false);
  useEffect(() => {
    if (drawer === drawn.current) return;
    drawn.current = drawer;
    const { activeElement } = document;
    const inDrawer = activeElement?.closest(".sidebar") != null;
    if (drawer && !inDrawer) document.querySelector<HTMLElement>(".sidebar .close-drawer")?.focus();
    else if (!drawer && (inDrawer || activeElement === document.body))
      main.current?.querySelector<HTMLElement>(".toggle-sidebar")?.focus();
  }, [drawer]);

  // What was focused is gone with the screen before: readers go to the next one's heading.
  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else if (screen !== "chat") main.current?.querySelector<HTMLElement>("h1")?.focus();
  }, [screen]);
  useSignalEffect(() => {
    const { title } = chat.conversation.value;
    const name = ui.screen.value === "chat" && title ? `${title} – ` : "";
    document.title = name + t.value.common.app;
  });

  if (locked)
    return (
      <>
        <LockScreen />
        <Overlays />
      </>
    );
  const open = ui.drawer.value;
  return (
    <>
      <a
        class="skip"
        href={screen === "chat" ? "#message" : "#screen"}
        onClick={(event) => {
          event.preventDefault();
          if (screen === "chat") toField();
          else main.current?.querySelector<HTMLElement>("h1")?.focus();
        }}
      >
        {screen === "chat" ? t.value.common.skip : t.value.settings.skip}
      </a>
      <div class={`frame${preferences.settings.value.sidebar ? "" : " without-sidebar"}${open ? " drawer-open" : ""}`}>
        <Sidebar />
        {open && <div class="scrim" onClick={() => (ui.drawer.value = false)} />}
        <main ref={main} id="screen" class={`screen ${screen}`} inert={open}>
          <header class="bar">
            <IconButton
              icon={PanelLeft}
              label={t.value.sidebar.open}
              class="toggle-sidebar"
              aria-expanded={open || preferences.settings.value.sidebar}
              onClick={toggleSidebar}
            />
            <ModelButton />
            {STORES_NOTHING && (
              <span class="badge" title={t.value.common.nothingStoredText}>
                {t.value.common.nothingStored}
              </span>
            )}
            {!ui.online.value && (
              <span class="badge" title={t.value.common.offline}>
                {t.value.common.offlineShort}
              </span>
            )}
          </header>
          <Current />
        </main>
      </div>
      <Overlays />
    </>
  );
}
