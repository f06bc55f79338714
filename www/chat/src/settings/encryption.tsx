// Encryption on, off, or with another passphrase; the lock.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";
import { LockKeyhole } from "lucide";
import { isDataError } from "../data/errors";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { SHORTEST, strength } from "../state/protection";
import { Button } from "../ui/button";
import { explain } from "../ui/explain";
import { toFirstError } from "./entry";
import { Passphrase, UserName } from "./passphrase";
import { LockAfter } from "./lock-after";

type Which = "on" | "change" | "off";

export function EncryptionSection() {
  const { protection, library, ui } = useApp();
  const words = t.value.settings.lock;
  const open = useSignal<Which | undefined>(undefined);
  const kind = protection.kind.value;
  const converting = protection.converting.value;
  // What had the focus is gone.
  const close = () => {
    open.value = undefined;
    requestAnimationFrame(() => document.getElementById("encryption")?.focus());
  };
  const lock = async () => {
    if (library.ghosts.peek().length > 0 && !(await ui.confirm(words.ghostsTitle, words.ghostsText, words.now, true)))
      return;
    await protection.lock();
  };
  const toggle = (which: Which, label: string) => (
    <Button
      aria-expanded={open.value === which}
      onClick={() => (open.value = open.peek() === which ? undefined : which)}
    >
      {label}
    </Button>
  );
  return (
    <section>
      <h2 id="encryption" tabIndex={-1}>
        {words.title}
      </h2>
      <p>{kind === "none" ? words.off : kind === "encrypted" ? words.on : words.changing}</p>
      {converting ? (
        <div class="card">
          <p role="status" class="visually-hidden">
            {words.changing}
          </p>
          <p>
            {(converting.to === "none" ? words.decrypting : words.encrypting)(
              format.value.number(converting.done),
              format.value.number(converting.total),
            )}
          </p>
          <progress value={converting.done} max={Math.max(1, converting.total)} aria-label={words.title} />
        </div>
      ) : (
        <>
          {kind !== "none" && <LockAfter />}
          <div class="row">
            {kind === "none" ? (
              isSecureContext ? (
                toggle("on", words.turnOn)
              ) : (
                <p>{words.insecure}</p>
              )
            ) : (
              <>
                <Button icon={LockKeyhole} tone="main" onClick={() => void lock()}>
                  {words.now}
                </Button>
                {toggle("change", words.change)}
                {toggle("off", words.turnOff)}
              </>
            )}
          </div>
        </>
      )}
      {/* It stays while it works, so that what was typed is there if that fails. */}
      <div class="opened" hidden={converting !== undefined}>
        {open.value && <Form key={open.value} which={open.value} done={close} />}
      </div>
      {kind !== "none" && <p class="hint">{words.tabs}</p>}
    </section>
  );
}

/** What is wrong with a form, by field. */
type Problems = { [K in "current" | "fresh" | "repeat" | "lost" | "all"]?: string };

function Form({ which, done }: { which: Which; done(): void }) {
  const { protection, ui } = useApp();
  const words = t.value.settings.lock;
  const form = useRef<HTMLFormElement>(null);
  const [current, fresh, repeat] = [useSignal(""), useSignal(""), useSignal("")];
  const lost = useSignal(false);
  const busy = useSignal(false);
  const problems = useSignal<Problems>({});
  const found = problems.value;
  const makes = which !== "off";

  const check = (): Problems => ({
    ...(which !== "on" && current.peek() === "" && { current: words.needed }),
    ...(makes && [...fresh.peek()].length < SHORTEST && { fresh: words.short(SHORTEST) }),
    ...(makes && fresh.peek() !== repeat.peek() && { repeat: words.differs }),
    ...(makes && !lost.peek() && { lost: words.needLost }),
  });
  const submit = async () => {
    if (busy.peek()) return;
    problems.value = check();
    if (Object.keys(problems.peek()).length === 0) {
      busy.value = true;
      try {
        if (which === "on") await protection.encrypt(fresh.peek());
        else if (which === "change") await protection.changePassphrase(current.peek(), fresh.peek());
        else await protection.decrypt(current.peek());
        ui.notify({ on: words.encrypted, change: words.changed, off: words.decrypted }[which]);
        done();
        return;
      } catch (error) {
        problems.value = {
          [isDataError(error, "passphrase") && which !== "on" ? "current" : "all"]: explain(error).text,
        };
      } finally {
        busy.value = false;
      }
    }
    toFirstError(form.current!);
  };

  return (
    <form
      ref={form}
      class="card"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <UserName />
      {which === "off" && <p>{words.decryptText}</p>}
      {which !== "on" && <Passphrase first label={words.current} value={current} error={found.current} />}
      {makes && (
        <>
          <Passphrase
            isNew
            first={which === "on"}
            label={words.fresh}
            value={fresh}
            hint={words.advice}
            error={found.fresh}
          />
          <Strength of={fresh.value} />
          <Passphrase isNew label={words.repeat} value={repeat} error={found.repeat} />
          <Understood checked={lost.value} error={found.lost} onChange={(is) => (lost.value = is)}>
            {words.lost}
          </Understood>
        </>
      )}
      <p class="alarm-text" role="alert">
        {found.all}
      </p>
      <div class="row end">
        <Button onClick={done}>{t.value.common.cancel}</Button>
        <Button type="submit" tone={which === "off" ? "danger" : "main"} disabled={busy.value}>
          {{ on: words.encrypt, change: words.changeYes, off: words.decrypt }[which]}
        </Button>
      </div>
    </form>
  );
}

function Strength({ of: passphrase }: { of: string }) {
  const words = t.value.settings.lock;
  const at = strength(passphrase);
  const id = useId();
  return (
    <div class="strength">
      <span id={id}>{words.strength}</span>
      <meter aria-labelledby={id} min={0} low={2} high={3} optimum={4} max={4} value={passphrase === "" ? 0 : at + 1} />
      <span role="status">{passphrase === "" ? "" : words.strengths[at]}</span>
    </div>
  );
}

/** A checkbox that must be checked. */
function Understood({
  checked,
  error,
  onChange,
  children,
}: {
  checked: boolean;
  error?: string | undefined;
  onChange(checked: boolean): void;
  children: ComponentChildren;
}) {
  const id = useId();
  return (
    <div class="check">
      <input
        type="checkbox"
        id={id}
        checked={checked}
        aria-invalid={error !== undefined || undefined}
        aria-describedby={error === undefined ? undefined : `${id}-error`}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
      <div>
        <label for={id}>{children}</label>
        {error !== undefined && (
          <p class="field-error" id={`${id}-error`}>
            {error}
          </p>
        )}
      </div>
    </div>
  );
}
