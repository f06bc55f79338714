// What is shown while the store is locked.

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { LockKeyhole } from "lucide";
import { isDataError } from "../data/errors";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Button } from "../ui/button";
import { explain } from "../ui/explain";
import { Icon } from "../ui/icon";
import { EraseDialog } from "./erase";
import { toFirstError } from "./entry";
import { Passphrase, UserName } from "./passphrase";

export function LockScreen() {
  const { protection, ui } = useApp();
  const words = t.value.settings.lock;
  const passphrase = useSignal("");
  const error = useSignal<string | undefined>(undefined);
  const busy = useSignal(false);
  const form = useRef<HTMLFormElement>(null);

  const unlock = async () => {
    if (busy.peek()) return;
    error.value = passphrase.peek() === "" ? words.needed : undefined;
    if (error.peek() === undefined) {
      busy.value = true;
      try {
        await protection.unlock(passphrase.peek());
        // The screens are drawn next.
        requestAnimationFrame(() => document.querySelector<HTMLElement>("#message, main h1")?.focus());
        return;
      } catch (failure) {
        error.value = explain(failure).text;
        if (isDataError(failure, "passphrase")) passphrase.value = "";
      } finally {
        busy.value = false;
      }
    }
    toFirstError(form.current!);
  };

  return (
    <main class="lock">
      <form
        ref={form}
        class="card"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void unlock();
        }}
      >
        <Icon of={LockKeyhole} size={32} />
        <h1 tabIndex={-1}>{words.locked}</h1>
        <p>{words.lockedText}</p>
        <UserName />
        <Passphrase first label={words.passphrase} value={passphrase} error={error.value} />
        <p class="visually-hidden" role="alert">
          {error.value}
        </p>
        <div class="row">
          <Button type="submit" tone="main" disabled={busy.value}>
            {busy.value ? words.unlocking : words.unlock}
          </Button>
          <Button tone="plain" onClick={() => ui.open((close) => <EraseDialog lost onClose={close} />)}>
            {words.forgot}
          </Button>
        </div>
      </form>
    </main>
  );
}
