// Buttons.

import type { ComponentChildren, JSX } from "preact";
import type { IconNode } from "lucide";
import { Icon } from "./icon";

type Native = Omit<JSX.IntrinsicElements["button"], "icon" | "label">;

/** A button with words. `tone`: what it means; quiet by default. */
export function Button({
  icon,
  tone = "quiet",
  children,
  class: more = "",
  ...native
}: Native & {
  icon?: IconNode;
  tone?: "main" | "quiet" | "danger" | "plain";
  children: ComponentChildren;
  class?: string;
}) {
  return (
    <button type="button" class={`button ${tone} ${more}`} {...native}>
      {icon && <Icon of={icon} size={18} />}
      <span>{children}</span>
    </button>
  );
}

/** A button that is an icon; its label is read out, and shown as a hint. */
export function IconButton({
  icon,
  label,
  size,
  class: more = "",
  ...native
}: Native & { icon: IconNode; label: string; size?: number; class?: string }) {
  return (
    <button type="button" class={`icon-button ${more}`} aria-label={label} title={label} {...native}>
      <Icon of={icon} {...(size !== undefined && { size })} />
    </button>
  );
}
