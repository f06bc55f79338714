// The application's parts, and how components reach them.

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { RequestLog } from "../data/requests";
import type { Store } from "../data/store";
import type { Chat } from "./chat";
import type { Draft } from "./draft";
import type { Library } from "./library";
import type { Models } from "./models";
import type { Preferences } from "./preferences";
import type { Presets } from "./presets";
import type { Prompts } from "./prompts";
import type { Protection } from "./protection";
import type { Traffic } from "./traffic";
import type { Ui } from "./ui";

export interface App {
  store: Store;
  log: RequestLog;
  ui: Ui;
  preferences: Preferences;
  presets: Presets;
  library: Library;
  models: Models;
  chat: Chat;
  draft: Draft;
  prompts: Prompts;
  protection: Protection;
  traffic: Traffic;
}

export const AppContext = createContext<App | undefined>(undefined);

export function useApp(): App {
  const app = useContext(AppContext);
  if (app === undefined) throw new Error("the component is outside of the application");
  return app;
}
