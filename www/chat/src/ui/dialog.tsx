// A modal dialog: the browser keeps the focus in it, closes it on Escape and gives the focus back.

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { X } from "lucide";
import { t } from "../i18n";
import { IconButton } from "./button";

export function Dialog({
  title,
  onClose,
  children,
  wide = false,
}: {
  title: string;
  /** Called once, however it is closed. */
  onClose(): void;
  children: ComponentChildren;
  wide?: boolean;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useLayoutEffect(() => {
    const dialog = element.current!;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    <dialog
      ref={element}
      class={wide ? "dialog wide" : "dialog"}
      aria-labelledby={heading}
      onCancel={(event) => {
        if (event.target !== element.current) return; // of a file input in it
        event.preventDefault();
        onClose();
      }}
      onPointerDown={(event) => event.target === element.current && onClose()}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id={heading}>{title}</h2>
          <IconButton icon={X} label={t.value.common.close} onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}
