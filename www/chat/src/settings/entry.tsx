// A labelled control that says what is wrong with what is in it.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface Tied {
  id: string;
  "aria-describedby"?: string;
  "aria-invalid"?: true;
}

export function Entry({
  label,
  hint,
  error,
  class: more = "",
  children,
}: {
  label: string;
  hint?: ComponentChildren;
  error?: string | undefined;
  class?: string;
  children(tied: Tied): ComponentChildren;
}) {
  const id = useId();
  const described = [error !== undefined && `${id}-error`, hint !== undefined && `${id}-hint`]
    .filter(Boolean)
    .join(" ");
  return (
    <div class={`field ${more}`}>
      <label for={id}>{label}</label>
      {children({
        id,
        ...(described && { "aria-describedby": described }),
        ...(error !== undefined && { "aria-invalid": true as const }),
      })}
      {error !== undefined && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
      {hint !== undefined && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

/** Moves to the first field of a form that is not right; after the next drawing, which marks it. */
export function toFirstError(form: HTMLFormElement): void {
  requestAnimationFrame(() => form.querySelector<HTMLElement>("[aria-invalid]")?.focus());
}
