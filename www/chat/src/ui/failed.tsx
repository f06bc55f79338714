// What is shown where the application cannot start.

import { t } from "../i18n";
import { Button } from "./button";
import { explain } from "./explain";

export function Failed({ error }: { error: unknown }) {
  const { text, technical } = explain(error);
  return (
    <main class="failed">
      <h1>{t.value.errors.title}</h1>
      <p>{text}</p>
      {technical && <p class="hint">{technical}</p>}
      <Button tone="main" onClick={() => location.reload()}>
        {t.value.common.reload}
      </Button>
    </main>
  );
}
