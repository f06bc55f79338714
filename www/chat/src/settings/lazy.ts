// The screens of this folder, whose code comes when one of them is first opened.

import { lazy, lazyScreen } from "../ui/lazy";

export const PresetsScreen = lazyScreen(async () => (await import("./presets")).PresetsScreen);
export const PrivacyScreen = lazyScreen(async () => (await import("./privacy")).PrivacyScreen);
export const SettingsScreen = lazyScreen(async () => (await import("./screen")).SettingsScreen);
export const TransferDialog = lazy(async () => (await import("./transfer")).TransferDialog);
