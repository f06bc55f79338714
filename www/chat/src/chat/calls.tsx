// Calls of tools with their results, folded.

import { Wrench } from "lucide";
import type { ToolCall } from "../data/types";
import { t } from "../i18n";
import { Icon } from "../ui/icon";

export function Calls({ calls }: { calls: readonly ToolCall[] }) {
  const words = t.value.chat;
  return (
    <>
      {calls.map(({ id, name, input, output, failed }) => (
        <details class="call" key={id}>
          <summary>
            <Icon of={Wrench} size={16} />
            <span>{failed ? words.callFailed(name) : words.call(name)}</span>
          </summary>
          <p class="hint">{words.input}</p>
          <pre tabIndex={0}>{input}</pre>
          {output !== undefined && (
            <>
              <p class="hint">{words.output}</p>
              <pre tabIndex={0}>{output}</pre>
            </>
          )}
        </details>
      ))}
    </>
  );
}
