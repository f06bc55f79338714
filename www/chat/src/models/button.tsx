// The model in the bar: which it is, how far its loading is, or which one to load.

import { Box, Cpu, List, TriangleAlert, X } from "lucide";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { Button, IconButton } from "../ui/button";
import { Icon } from "../ui/icon";
import { stageWords } from "./words";

export function ModelButton() {
  const { models, ui } = useApp();
  const words = t.value.models;
  const state = models.state.value;
  const go = () => ui.go("models");
  const here = ui.screen.value === "models" ? ("page" as const) : undefined;
  if (state.kind === "loading") {
    const { name, progress } = state;
    const share = progress && progress.total > 0 ? progress.loaded / progress.total : undefined;
    const text = progress ? stageWords(progress) : words.opening;
    return (
      <div class="model-bar">
        <button
          type="button"
          class="button plain model-button"
          title={`${words.loading(name)} – ${text}`}
          aria-current={here}
          onClick={go}
        >
          <span class="model-name">{words.loading(name)}</span>
          {share !== undefined && <span class="model-share">{format.value.percent(share)}</span>}
          <progress aria-label={words.loading(name)} {...(share !== undefined && { value: share })} />
        </button>
        <IconButton icon={X} label={words.cancelLoad} onClick={() => void models.unload()} />
      </div>
    );
  }
  if (state.kind === "ready") {
    const { kind } = state.model.info.device;
    const label = kind === "cpu" ? words.onProcessor(state.name) : words.present(state.name);
    return (
      <button
        type="button"
        class="button plain model-button"
        title={label}
        aria-label={label}
        aria-current={here}
        onClick={go}
      >
        <Icon of={kind === "cpu" ? Cpu : Box} size={18} />
        <span class="model-name">{state.name}</span>
      </button>
    );
  }
  const again = state.choice ?? models.last.value;
  const failed = state.error !== undefined;
  const label = failed ? words.noneLoaded : again ? words.others : words.choose;
  return (
    <div class="model-bar">
      {again && !failed && (
        <Button icon={Box} class="model-button" onClick={() => void models.use(again)}>
          {words.loadName(again.name)}
        </Button>
      )}
      <button
        type="button"
        class={`button plain model-button${again && !failed ? " to-models" : ""}`}
        aria-label={label}
        title={label}
        aria-current={here}
        onClick={go}
      >
        <Icon of={failed ? TriangleAlert : again ? List : Box} size={18} />
        <span class="model-name">{label}</span>
      </button>
    </div>
  );
}
