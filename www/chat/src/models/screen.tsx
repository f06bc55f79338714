// The screen of models. What it shows comes when it is first opened: who has a model need not load it.

import { t } from "../i18n";
import { lazy } from "../ui/lazy";

const Content = lazy(async () => (await import("./browse")).Browse);

export function ModelsScreen() {
  return (
    <div class="page">
      <h1 tabIndex={-1}>{t.value.models.title}</h1>
      <Content />
    </div>
  );
}
