// What is shown where the application cannot start.

import { t } from "../i18n";
import { Button } from "./button";
import { explain } from "./explain";

export function Failed({ error }: { error: unknown }) {
  const { text, technical, code } = explain(error);
  const goOn = () => {
    const address = new URL(location.href);
    address.searchParams.set("store", "none");
    location.assign(address);
  };
  return (
    <main class="failed">
      <h1>{t.value.errors.title}</h1>
      <p>{text}</p>
      {technical && <p class="hint">{technical}</p>}
      <div class="row">
        <Button tone="main" onClick={() => location.reload()}>
          {t.value.common.reload}
        </Button>
        {code === "unavailable" && <Button onClick={goOn}>{t.value.errors.withoutStoring}</Button>}
      </div>
    </main>
  );
}
