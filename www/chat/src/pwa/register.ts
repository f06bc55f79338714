// The service worker, which keeps the application for when there is no network.

import { t } from "../i18n";
import type { Ui } from "../state/ui";

/** Registers the worker once the page is at rest; tells the user when a new version is ready. Without one the page works, online. */
export function registerWorker(ui: Ui): void {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  const { serviceWorker } = navigator;
  // The first worker takes the page over; only a later one brings a new version.
  let controlled = serviceWorker.controller !== null;
  const register = async () => {
    const registration = await serviceWorker.register("sw.js", { updateViaCache: "none" }).catch(() => undefined);
    registration?.addEventListener("updatefound", () => {
      const found = registration.installing;
      found?.addEventListener("statechange", () => {
        if (found.state !== "installed" || !controlled) return;
        ui.notify(t.peek().common.newVersion, {
          action: { label: t.peek().common.reload, run: () => found.postMessage("take-over") },
        });
      });
    });
  };
  serviceWorker.addEventListener("controllerchange", () => {
    if (controlled) location.reload();
    controlled = true;
  });
  if (document.readyState === "complete") void register();
  else addEventListener("load", () => void register());
}
