// What a search found.

import type { SearchResult, Snippet } from "../data/search/types";
import { t } from "../i18n";
import { Row } from "./row";

export function Results({ found }: { found: SearchResult }) {
  const words = t.value.sidebar;
  return (
    <>
      <p class="hint" role="status">
        {found.total === 0 ? words.noneFound : words.found(found.total)} {!found.complete && words.searching}
      </p>
      <ul class="rows">
        {found.hits.map(({ conversation, title, snippet }) => (
          <li key={conversation.id}>
            <Row
              conversation={conversation}
              title={title.marks.length > 0 ? <Marked of={title} /> : undefined}
              below={<Marked of={snippet} />}
            />
          </li>
        ))}
      </ul>
    </>
  );
}

function Marked({ of: { text, marks } }: { of: Snippet }) {
  let at = 0;
  const parts = marks.flatMap(([start, end]) => {
    const before = text.slice(at, start);
    at = end;
    return [before, <mark key={start}>{text.slice(start, end)}</mark>];
  });
  return (
    <>
      {parts}
      {text.slice(at)}
    </>
  );
}
