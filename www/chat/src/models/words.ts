// Words for what the engine does while it loads a model.

import type { Progress } from "minke";
import { t } from "../i18n";

/** What the engine does, in words. */
export function stageWords({ stage, fromCache }: Progress): string {
  const words = t.value.models.stages;
  return stage === "download" && fromCache ? words.read : words[stage];
}
