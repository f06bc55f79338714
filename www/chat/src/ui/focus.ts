// Keeps the focus in the page: when what had it is gone, it goes to what comes next.

const CONTROLS = "button, a, input, textarea, select, summary, [tabindex]";

/** What was focused last, with where it was. */
interface Place {
  element: HTMLElement;
  /** The message that it was in, counted from the first. */
  message: number;
}

/** Watches `root`. Whoever takes the focus somewhere within a frame comes first. */
export function keepFocus(root: HTMLElement): void {
  let last: Place | undefined;
  let frame = 0;
  const lost = () =>
    last !== undefined && !last.element.isConnected && (document.activeElement ?? document.body) === document.body;
  document.addEventListener("focusin", ({ target }) => {
    if (target instanceof HTMLElement) last = { element: target, message: messageOf(target) };
  });
  // Who points at the empty page wants nothing to be focused.
  document.addEventListener("pointerdown", ({ target }) => {
    if (target instanceof Element && target.closest(CONTROLS) === null) last = undefined;
  });
  new MutationObserver(() => {
    if (frame !== 0 || !lost()) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      if (!lost()) return;
      const next = successor(last!);
      last = undefined;
      next?.focus({ preventScroll: true });
    });
  }).observe(root, { childList: true, subtree: true });
}

const items = () => [...document.querySelectorAll<HTMLElement>(".message-list > li")];
const messageOf = (element: HTMLElement): number => items().findIndex((item) => item.contains(element));

function successor({ element, message }: Place): HTMLElement | null {
  // From version to version: the same button of the one that is shown now, or the other one where it was the last.
  if (element.matches(".version-step")) {
    const steps = [...(items()[message]?.querySelectorAll<HTMLButtonElement>(".version-step") ?? [])].filter(
      ({ disabled }) => !disabled,
    );
    const same =
      steps.find((step) => step.getAttribute("aria-label") === element.getAttribute("aria-label")) ?? steps[0];
    if (same) return same;
  }
  // A finger that touches no field wants no keyboard on the screen.
  const field =
    matchMedia("(pointer: coarse)").matches && !element.matches("textarea, input")
      ? null
      : document.querySelector<HTMLElement>("#message");
  return (
    field ?? document.querySelector<HTMLElement>("#screen h1") ?? document.querySelector<HTMLElement>("h1[tabindex]")
  );
}
