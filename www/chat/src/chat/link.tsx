// Links in answers: shown in full, and followed only if the user says so.

import { t } from "../i18n";
import type { Preferences } from "../state/preferences";
import type { Ui } from "../state/ui";
import type { Link } from "../text/links";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";

export function openLink(ui: Ui, preferences: Preferences, link: Link): void {
  const follow = () => window.open(link.href, "_blank", "noopener,noreferrer");
  // Those that call for care are always shown.
  if (!preferences.settings.peek().confirmLinks && link.warnings.length === 0) follow();
  else ui.open((close) => <LinkDialog link={link} onClose={close} follow={follow} />);
}

function LinkDialog({ link, onClose, follow }: { link: Link; onClose(): void; follow(): void }) {
  const words = t.value.chat.link;
  const { href, host, unicodeHost, warnings } = link;
  return (
    <Dialog title={words.title} onClose={onClose}>
      <p>{words.text}</p>
      <p class="address" dir="ltr">
        {href}
      </p>
      <p>
        {words.host}: <strong dir="ltr">{host}</strong>
        {unicodeHost !== undefined && <bdi> ({unicodeHost})</bdi>}
      </p>
      {warnings.length > 0 && (
        <ul class="card alarm">
          {warnings.map((warning) => (
            <li key={warning}>{words.warnings[warning]}</li>
          ))}
        </ul>
      )}
      <div class="row end">
        <Button autofocus onClick={onClose}>
          {t.value.common.cancel}
        </Button>
        <Button
          tone={warnings.length > 0 ? "danger" : "main"}
          onClick={() => {
            onClose();
            follow();
          }}
        >
          {words.open}
        </Button>
      </div>
    </Dialog>
  );
}
