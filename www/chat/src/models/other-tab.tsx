// Another tab has a model loaded, which needs its memory as well.

import { format, t } from "../i18n";
import type { Ui } from "../state/ui";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";

/** Asks what to do. Resolves to undefined if nothing is to be loaded. */
export function askOtherTab(ui: Ui, names: readonly string[]): Promise<"free" | "too" | undefined> {
  return new Promise((answer) =>
    ui.open((close) => {
      const words = t.value.models.otherTab;
      const end = (how?: "free" | "too") => {
        close();
        answer(how);
      };
      return (
        <Dialog title={words.title} onClose={() => end()}>
          <p>{words.text(format.value.list(names))}</p>
          <div class="row end">
            <Button onClick={() => end("too")}>{words.too}</Button>
            <Button tone="main" onClick={() => end("free")}>
              {words.free}
            </Button>
          </div>
        </Dialog>
      );
    }),
  );
}
