// Parts of the page whose scripts are loaded when they are first shown: a conversation needs none of them.

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "../i18n";
import { Button } from "./button";

/** A component that comes when it is first drawn; `Instead` stands in its place, with a way to try again if it does not come. */
export function lazy<P extends object>(
  load: () => Promise<ComponentType<P>>,
  Instead: ComponentType<P & { retry?: () => void }>,
): ComponentType<P> {
  const state = signal<{ Loaded?: ComponentType<P>; failed?: true }>({});
  const get = () => {
    state.value = {};
    load().then(
      (Loaded) => (state.value = { Loaded }),
      () => (state.value = { failed: true }),
    );
  };
  return (props) => {
    const { Loaded, failed } = state.value;
    useEffect(() => {
      if (state.peek().Loaded === undefined) get();
    }, []);
    useEffect(() => {
      // The heading that was focused went with what stood here.
      if (Loaded && document.activeElement === document.body) document.querySelector<HTMLElement>("main h1")?.focus();
    }, [Loaded]);
    return Loaded ? <Loaded {...props} /> : <Instead {...props} {...(failed && { retry: get })} />;
  };
}

/** A screen that comes when it is first shown; its heading is there from the first. */
export const lazyScreen = (title: () => string, load: () => Promise<ComponentType>) =>
  lazy(load, ({ retry }) => (
    <div class="page">
      <h1 tabIndex={-1}>{title()}</h1>
      <Waiting retry={retry} />
    </div>
  ));

export function Waiting({ retry }: { retry?: (() => void) | undefined }) {
  if (!retry) return <p role="status">{t.value.common.loading}</p>;
  return (
    <div role="alert">
      <p>{t.value.common.notLoaded}</p>
      <Button onClick={retry}>{t.value.errors.tryAgain}</Button>
    </div>
  );
}
