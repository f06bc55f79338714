// How likely the model found each token of an answer, as a heat map.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { activePath } from "../data/tree";
import type { Message, TokenLogprob } from "../data/types";
import { format, t } from "../i18n";
import { useApp } from "../state/app";
import { promptOf } from "../state/prompt";
import { explain } from "../ui/explain";

/** Alternatives that are scored with each token. */
const TOP = 3;

export function HeatMap({ message }: { message: Message }) {
  const { chat, models } = useApp();
  const words = t.value.chat;
  const tokens = useSignal<readonly TokenLogprob[] | undefined>(message.logprobs);
  const failed = useSignal<string | undefined>(undefined);
  const pointed = useSignal<number | undefined>(undefined);

  useEffect(() => {
    const model = models.model.peek();
    if (tokens.peek() !== undefined || model === undefined) return;
    let shown = true;
    const score = async () => {
      // The answer as the conversation's next turn would be read: what the model would say of it now.
      const before = promptOf(chat.system.peek(), activePath(chat.tree.peek(), message.parent));
      const prompt = await model.tokenizer.encodeMessages(before, { addGenerationPrompt: true });
      const answer = await model.tokenizer.encode(message.text, { addSpecialTokens: false });
      const ids = new Uint32Array(prompt.length + answer.length);
      ids.set(prompt);
      ids.set(answer, prompt.length);
      const scored = await model.score(ids, { top: TOP });
      if (shown) tokens.value = scored.slice(prompt.length - 1);
    };
    score().catch((error) => (failed.value = explain(error).text));
    return () => void (shown = false);
  }, [message]);

  if (failed.value !== undefined) return <p class="hint alarm-text">{failed.value}</p>;
  if (tokens.value === undefined)
    return (
      <p class="hint" role="status">
        {words.heatWorking}
      </p>
    );
  const at = pointed.value;
  return (
    <div class="heat">
      <p class="hint" aria-live="polite">
        {at === undefined ? words.heatText : describe(tokens.value[at]!)}
      </p>
      <div
        class="heat-text"
        dir="auto"
        tabIndex={0}
        role="group"
        aria-label={words.heat}
        onPointerOver={(event) => {
          const token = (event.target as HTMLElement).dataset["at"];
          if (token !== undefined) pointed.value = Number(token);
        }}
        onKeyDown={(event) => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (step === undefined) return;
          event.preventDefault();
          pointed.value = Math.max(
            0,
            Math.min(tokens.value!.length - 1, (pointed.peek() ?? (step === 1 ? -1 : 1)) + step),
          );
        }}
      >
        {tokens.value.map(({ token, logprob }, index) => (
          <span key={index} data-at={index} class={`heat-${level(logprob)}${index === at ? " pointed" : ""}`}>
            {token}
          </span>
        ))}
      </div>
    </div>
  );
}

/** Steps of the map: from as good as certain to a thousandth. */
function level(logprob: number): number {
  const share = Math.exp(logprob);
  return share > 0.9 ? 0 : share > 0.6 ? 1 : share > 0.3 ? 2 : share > 0.1 ? 3 : share > 0.01 ? 4 : 5;
}

function describe({ token, logprob, top = [] }: TokenLogprob): string {
  const share = (value: number) => {
    const number = Math.exp(value);
    return number < 0.005 ? `< ${format.value.percent(0.01)}` : format.value.percent(number);
  };
  const others = top
    .filter((other) => other.token !== token)
    .map((other) => `${quoted(other.token)} (${share(other.logprob)})`);
  return t.value.chat.heatToken(quoted(token), share(logprob), others.join(", "));
}

const quoted = (token: string): string => `“${token.replace(/\n/g, "⏎")}”`;
