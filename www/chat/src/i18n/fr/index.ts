// Français.

import type { Strings } from "../en";
import { chat } from "./chat";
import { common } from "./common";
import { errors } from "./errors";
import { models } from "./models";
import { settings } from "./settings";
import { sidebar } from "./sidebar";

export const fr: Strings = { common, sidebar, chat, errors, models, settings };
