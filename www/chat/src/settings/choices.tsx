// One of a few things.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

/** One of a few, as radio buttons. */
export function Choices<T extends string>({
  legend,
  value,
  options,
  onChange,
}: {
  legend: string;
  value: T;
  options: readonly { value: T; label: ComponentChildren; hint?: string | undefined }[];
  onChange(value: T): void;
}) {
  const name = useId();
  return (
    <fieldset class="radios">
      {legend !== "" && <legend>{legend}</legend>}
      {options.map((option) => {
        const id = `${name}-${option.value}`;
        return (
          <div key={option.value} class="check">
            <input
              type="radio"
              id={id}
              name={name}
              checked={option.value === value}
              aria-describedby={option.hint === undefined ? undefined : `${id}-hint`}
              onChange={() => onChange(option.value)}
            />
            <div>
              <label for={id}>{option.label}</label>
              {option.hint !== undefined && (
                <p class="hint" id={`${id}-hint`}>
                  {option.hint}
                </p>
              )}
            </div>
          </div>
        );
      })}
    </fieldset>
  );
}
