// English.

import { chat } from "./chat";
import { common } from "./common";
import { errors } from "./errors";
import { models } from "./models";
import { settings } from "./settings";
import { sidebar } from "./sidebar";

export const en = { common, sidebar, chat, errors, models, settings };
/** The words that every language has. */
export type Strings = typeof en;
