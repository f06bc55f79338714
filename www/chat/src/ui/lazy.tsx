// Parts of the page whose code comes when they are first shown.

import { signal } from "@preact/signals";
import type { ComponentType, FunctionComponent } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { Button } from "./button";

/** A component that `load` brings, once. Until then it says that it is coming, and if it cannot, that it cannot. */
export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): FunctionComponent<P> {
  const state = signal<{ made?: ComponentType<P>; failed?: true }>({});
  const begin = async () => {
    state.value = await load().then(
      (made) => ({ made }),
      () => ({ failed: true as const }),
    );
  };
  return function Lazy(props: P) {
    useEffect(() => {
      if (!state.peek().made) void begin();
    }, []);
    const { made: Made, failed } = state.value;
    if (Made) return <Made {...props} />;
    return (
      <div class="page" role={failed ? "alert" : "status"}>
        <p>{failed ? t.value.errors.engine["network"] : t.value.common.loading}</p>
        {failed && <Button onClick={() => location.reload()}>{t.value.common.reload}</Button>}
      </div>
    );
  };
}

/** A screen that is lazy; its heading gets the focus when it comes, as that of another screen does when it is shown. */
export function lazyScreen(load: () => Promise<ComponentType>): FunctionComponent {
  const Content = lazy(async () => {
    const Made = await load();
    return function Arrived() {
      const anchor = useRef<HTMLSpanElement>(null);
      useEffect(() => {
        if (document.activeElement === document.body || document.activeElement?.matches(".place"))
          anchor.current!.parentElement?.querySelector<HTMLElement>("h1")?.focus();
      }, []);
      return (
        <>
          <Made />
          <span ref={anchor} hidden />
        </>
      );
    };
  });
  return () => <Content />;
}
