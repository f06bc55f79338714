import { t } from "../i18n";

export function PrivacyScreen() {
  return <h1 tabIndex={-1}>{t.value.settings.title}</h1>;
}
