import type { Strings } from "../en";

export const common: Strings["common"] = {
  app: "Minke chat",
  close: "Close",
  cancel: "Cancel",
  save: "Save",
  delete: "Delete",
  copy: "Copy",
  copied: "Copied",
  edit: "Edit",
  undo: "Undo",
  more: "More",
  ok: "OK",
  skip: "Skip to the message field",
  loading: "Loading…",
  dismiss: "Dismiss",
  offline: "Offline: stored models and conversations work as always.",
  newVersion: "A new version of this page is ready.",
  reload: "Reload",
};
