// Icons of Lucide, drawn inline.

import { h } from "preact";
import type { IconNode } from "lucide";

/** An icon beside words, or on a button that has a label: it is hidden from screen readers. */
export function Icon({ of: nodes, size = 20 }: { of: IconNode; size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {nodes.map(([tag, attributes]) => h(tag, attributes as Record<string, string>))}
    </svg>
  );
}
