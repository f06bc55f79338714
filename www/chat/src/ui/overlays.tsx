// Notices and questions, over everything else.

import { useEffect, useRef, useState } from "preact/hooks";
import { X } from "lucide";
import { t } from "../i18n";
import { useApp } from "../state/app";
import type { Question } from "../state/ui";
import { Button, IconButton } from "./button";
import { Dialog } from "./dialog";
import { Field } from "./field";

export function Overlays() {
  const { ui } = useApp();
  const question = ui.question.value;
  const dialog = ui.dialog.value;
  return (
    <>
      {dialog?.(() => (ui.dialog.value = undefined))}
      {question && <Ask key={question.title} question={question} close={() => (ui.question.value = undefined)} />}
      <Notices />
    </>
  );
}

/** Read out as they come. They lie in the page's top layer, over dialogs, as a popover. */
function Notices() {
  const { ui } = useApp();
  const box = useRef<HTMLDivElement>(null);
  const notices = ui.notices.value;
  useEffect(() => {
    const element = box.current!;
    // Again, to be above a dialog that was opened later.
    if (element.matches(":popover-open")) element.hidePopover();
    if (notices.length > 0) element.showPopover();
  }, [notices]);
  return (
    <div ref={box} class="notices" popover="manual">
      <div role="status">{notices.filter(({ tone }) => tone === "info").map(Row)}</div>
      <div role="alert">{notices.filter(({ tone }) => tone === "alarm").map(Row)}</div>
    </div>
  );

  function Row(notice: (typeof notices)[number]) {
    const end = () => (ui.notices.value = ui.notices.value.filter(({ id }) => id !== notice.id));
    return (
      <div key={notice.id} class={`notice ${notice.tone}`}>
        <p>{notice.text}</p>
        {notice.action && (
          <Button
            tone="plain"
            onClick={() => {
              end();
              notice.action!.run();
            }}
          >
            {notice.action.label}
          </Button>
        )}
        <IconButton icon={X} size={16} label={t.value.common.dismiss} onClick={end} />
      </div>
    );
  }
}

function Ask({ question, close }: { question: Question; close(): void }) {
  const [value, setValue] = useState(question.kind === "text" ? question.value : "");
  const end = (yes: boolean) => {
    close();
    if (question.kind === "confirm") question.answer(yes);
    else question.answer(yes ? value : undefined);
  };
  return (
    <Dialog title={question.title} onClose={() => end(false)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          end(true);
        }}
      >
        {question.kind === "confirm" ? (
          <p>{question.text}</p>
        ) : (
          <Field label={question.label}>
            {(tied) => (
              <input
                {...tied}
                type="text"
                autofocus
                value={value}
                onInput={(event) => setValue(event.currentTarget.value)}
              />
            )}
          </Field>
        )}
        <div class="row end">
          <Button onClick={() => end(false)}>{t.value.common.cancel}</Button>
          <Button type="submit" tone={question.kind === "confirm" && question.danger ? "danger" : "main"}>
            {question.kind === "confirm" ? question.yes : t.value.common.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
