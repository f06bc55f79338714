// The screen of models, whose script comes when it is first opened: who has a model need not load it.

import { t } from "../i18n";
import { Waiting, lazy } from "../ui/lazy";

const Content = lazy(async () => (await import("./browse")).Browse, Waiting);

export function ModelsScreen() {
  return (
    <div class="page">
      <h1 tabIndex={-1}>{t.value.models.title}</h1>
      <Content />
    </div>
  );
}
