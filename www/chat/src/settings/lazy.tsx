// Screens and dialogs whose scripts are loaded when they are first shown: a conversation needs none of them.

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "../i18n";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";

/** A component that comes when it is first drawn; `Waiting` stands in its place, with a way to try again if it does not come. */
function lazy<P extends object>(load: () => Promise<ComponentType<P>>, Waiting: ComponentType<P & { retry?: () => void }>): ComponentType<P> {
  const state = signal<{ Loaded?: ComponentType<P>; failed?: true }>({});
  const get = () => {
    state.value = {};
    load().then(
      (Loaded) => (state.value = { Loaded }),
      () => (state.value = { failed: true }),
    );
  };
  return (props) => {
    const { Loaded, failed } = state.value;
    useEffect(() => {
      if (state.peek().Loaded === undefined) get();
    }, []);
    useEffect(() => {
      // The heading that was focused went with what stood here.
      if (Loaded && document.activeElement === document.body) document.querySelector<HTMLElement>("main h1")?.focus();
    }, [Loaded]);
    return Loaded ? <Loaded {...props} /> : <Waiting {...props} {...(failed && { retry: get })} />;
  };
}

const screen = (title: () => string, load: () => Promise<ComponentType>) =>
  lazy(load, ({ retry }) => (
    <div class="page">
      <h1 tabIndex={-1}>{title()}</h1>
      <Waiting retry={retry} />
    </div>
  ));

function Waiting({ retry }: { retry: (() => void) | undefined }) {
  if (!retry) return <p role="status">{t.value.common.loading}</p>;
  return (
    <div role="alert">
      <p>{t.value.settings.notLoaded}</p>
      <Button onClick={retry}>{t.value.errors.tryAgain}</Button>
    </div>
  );
}

export const SettingsScreen = screen(() => t.value.settings.title, async () => (await import("./screen")).SettingsScreen);
export const PresetsScreen = screen(() => t.value.settings.presets.title, async () => (await import("./presets")).PresetsScreen);
export const PrivacyScreen = screen(() => t.value.settings.priv.title, async () => (await import("./privacy")).PrivacyScreen);

export const TransferDialog = lazy<{ onClose(): void }>(async () => (await import("./transfer")).TransferDialog, ({ onClose, retry }) => (
  <Dialog title={t.value.sidebar.transfer} onClose={onClose} wide>
    <Waiting retry={retry} />
  </Dialog>
));
