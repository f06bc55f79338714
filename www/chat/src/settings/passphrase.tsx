// A field for a passphrase, which can be shown.

import { useSignal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Eye, EyeOff } from "lucide";
import { t } from "../i18n";
import { IconButton } from "../ui/button";
import { Entry } from "./entry";

export function Passphrase({
  label,
  value,
  hint,
  error,
  isNew = false,
  first = false,
}: {
  label: string;
  value: Signal<string>;
  hint?: string;
  error?: string | undefined;
  isNew?: boolean;
  /** Whether it gets the focus when it appears. */
  first?: boolean;
}) {
  const words = t.value.settings.lock;
  const shown = useSignal(false);
  const field = useRef<HTMLInputElement>(null);
  // At once: whoever types blindly types into it.
  useLayoutEffect(() => {
    if (first) field.current!.focus();
  }, []);
  return (
    <Entry label={label} error={error} {...(hint !== undefined && { hint })}>
      {(tied) => (
        <div class="reveal">
          <input
            {...tied}
            ref={field}
            type={(shown.value ? "text" : "password") as "password"}
            autocomplete={isNew ? "new-password" : "current-password"}
            autocapitalize="off"
            spellcheck={false}
            value={value.value}
            onInput={(event) => (value.value = event.currentTarget.value)}
          />
          <IconButton
            icon={shown.value ? EyeOff : Eye}
            label={shown.value ? words.conceal : words.reveal}
            aria-pressed={shown.value}
            onClick={() => (shown.value = !shown.value)}
          />
        </div>
      )}
    </Entry>
  );
}

/** Password managers file passphrases by a user's name; there is one for the page. */
export function UserName() {
  return <input type="text" name="username" autocomplete="username" value="Minke" readOnly hidden />;
}
