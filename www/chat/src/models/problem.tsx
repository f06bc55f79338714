// What went wrong with a model, in words, with a button that helps.

import { EngineError } from "minke";
import { t } from "../i18n";
import { useApp } from "../state/app";
import { Button } from "../ui/button";
import { explain } from "../ui/explain";
import type { Choice } from "./choice";
import { isLocal } from "./choice";

/** The place on the screen that helps. */
export type Place = "choose" | "storage" | "own";

/** Goes to a part of the screen: its heading gets the focus. */
export function goTo(place: Place): void {
  const heading = document.getElementById(`models-${place}`);
  heading?.scrollIntoView({ block: "start" });
  heading?.focus({ preventScroll: true });
}

/** Words for an error, for a model in particular where those for errors in general say too little. */
export function wordsFor(error: unknown, choice?: Choice): { text: string; technical?: string; code?: string } {
  const said = explain(error);
  const words = t.value.models.problems;
  if (!(error instanceof EngineError)) return said;
  const { status, policy } = error.detail as { status?: number | null; policy?: boolean };
  if (policy) return { ...said, text: words.elsewhere };
  if (error.code === "device-lost") return { ...said, text: words.lost };
  if (error.code === "network" && (status === 401 || status === 403)) return { ...said, text: words.refused };
  if (error.code === "network" && status === 404) return { ...said, text: words.missing };
  if (error.code === "network" && !navigator.onLine) return { ...said, text: words.offline };
  if (error.code === "format" && choice && isLocal(choice)) return { ...said, text: words.wrongFile };
  if (error.code === "invalid-argument") return { ...said, text: words.address };
  return said;
}

/**
 * A card that says why a model was not loaded, or is not there any more. `again`: what to try once more, in place of
 * loading it.
 */
export function Problem({
  error,
  choice,
  again,
  lonely = true,
}: {
  error: unknown;
  choice?: Choice | undefined;
  again?: () => void;
  lonely?: boolean;
}) {
  const { models } = useApp();
  const words = t.value.models;
  const { text, technical, code } = wordsFor(error, choice);
  const status = error instanceof EngineError ? (error.detail as { status?: number | null }).status : undefined;
  const retry = again ?? (choice && (() => void models.use(choice)));
  const reload = (label: string) => retry && <Button onClick={retry}>{label}</Button>;
  const other = <Button onClick={() => goTo("choose")}>{t.value.errors.chooseAnother}</Button>;
  const own = (
    <Button onClick={() => goTo("own")}>{choice && isLocal(choice) ? words.otherFile : words.otherAddress}</Button>
  );
  const help = () => {
    switch (code) {
      case "network":
        return status === 401 || status === 403 || status === 404
          ? own
          : reload(choice && models.stored.of(choice.id) ? words.resume : t.value.errors.tryAgain);
      case "storage":
        return (
          <>
            <Button onClick={() => goTo("storage")}>{words.freeSpace}</Button>
            {reload(t.value.errors.tryAgain)}
          </>
        );
      case "integrity":
        return reload(words.fetchAgain);
      case "device-lost":
      case "internal":
        return reload(t.value.errors.loadAgain);
      case "no-webgpu":
        return choice ? <Button onClick={() => void models.use(choice, "cpu")}>{words.onCpu}</Button> : other;
      case "memory":
        return (
          <>
            <Button onClick={() => goTo("choose")}>{words.smaller}</Button>
            {reload(t.value.errors.tryAgain)}
          </>
        );
      case "format":
      case "invalid-argument":
        return own;
      case "architecture":
      case "dtype":
      case "buffer-limit":
      case "feature":
        return other;
      default:
        return reload(t.value.errors.tryAgain);
    }
  };
  return (
    <div class={lonely ? "card alarm present" : "problem"} role="alert">
      {choice && lonely && <h2>{choice.name}</h2>}
      <p>{text}</p>
      {technical && (
        <details>
          <summary>{t.value.errors.technical}</summary>
          <p>{technical}</p>
        </details>
      )}
      <div class="row">{help()}</div>
    </div>
  );
}
