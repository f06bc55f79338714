import { t } from "../i18n";

export function ModelsScreen() {
  return <h1 tabIndex={-1}>{t.value.models.title}</h1>;
}
