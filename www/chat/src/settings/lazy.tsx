// The screens and dialogs of this folder, whose scripts come when they are first shown.

import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Waiting, lazy, lazyScreen } from "../ui/lazy";

export const SettingsScreen = lazyScreen(
  () => t.value.settings.title,
  async () => (await import("./screen")).SettingsScreen,
);
export const PresetsScreen = lazyScreen(
  () => t.value.settings.presets.title,
  async () => (await import("./presets")).PresetsScreen,
);
export const PrivacyScreen = lazyScreen(
  () => t.value.settings.priv.title,
  async () => (await import("./privacy")).PrivacyScreen,
);

export const TransferDialog = lazy<{ onClose(): void }>(
  async () => (await import("./transfer")).TransferDialog,
  ({ onClose, retry }) => (
    <Dialog title={t.value.sidebar.transfer} onClose={onClose} wide>
      <Waiting retry={retry} />
    </Dialog>
  ),
);
