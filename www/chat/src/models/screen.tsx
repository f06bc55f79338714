// The screen of models. What it shows comes when it is first opened: who has a model need not load it.

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "../i18n";
import { Button } from "../ui/button";

const content = signal<ComponentType | "failed" | undefined>(undefined);

async function fetchContent(): Promise<void> {
  content.value = await import("./browse").then(
    ({ Browse }) => Browse,
    () => "failed" as const,
  );
}

export function ModelsScreen() {
  useEffect(() => {
    if (typeof content.peek() !== "function") void fetchContent();
  }, []);
  const Content = content.value;
  return (
    <div class="page">
      <h1 tabIndex={-1}>{t.value.models.title}</h1>
      {typeof Content === "function" ? (
        <Content />
      ) : Content === "failed" ? (
        <div role="alert">
          <p>{t.value.errors.engine["network"]}</p>
          <Button onClick={() => location.reload()}>{t.value.common.reload}</Button>
        </div>
      ) : (
        <p role="status">{t.value.common.loading}</p>
      )}
    </div>
  );
}
