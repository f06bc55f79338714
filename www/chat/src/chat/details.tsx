// The figures of an answer.

import type { Message } from "../data/types";
import { format, t } from "../i18n";
import { Dialog } from "../ui/dialog";

export function Details({ message, onClose }: { message: Message; onClose(): void }) {
  const words = t.value.chat;
  const { detail } = words;
  const { number, duration, dateTime } = format.value;
  const { stats, finish, model, created, reasoningMs } = message;
  const rows: [string, string | undefined][] = [
    [detail.model, model],
    [detail.created, dateTime(created)],
    [detail.finish, finish && words.finish[finish]],
    [detail.promptTokens, stats && number(stats.promptTokens)],
    [detail.cached, stats?.cachedTokens === undefined ? undefined : number(stats.cachedTokens)],
    [detail.tokens, stats && number(stats.tokens)],
    [detail.reasoning, stats?.reasoningTokens ? number(stats.reasoningTokens) : undefined],
    [detail.first, stats && duration(stats.firstTokenMs)],
    [detail.rate, stats && number(stats.tokensPerSecond, 1)],
    [detail.thought, reasoningMs === undefined ? undefined : duration(reasoningMs)],
  ];
  return (
    <Dialog title={detail.title} onClose={onClose}>
      <table class="facts">
        <tbody>
          {rows.map(
            ([name, value]) =>
              value !== undefined && (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>{value}</td>
                </tr>
              ),
          )}
        </tbody>
      </table>
      {stats === undefined && <p class="hint">{detail.none}</p>}
    </Dialog>
  );
}
