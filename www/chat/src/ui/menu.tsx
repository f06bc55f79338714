// A button with a menu of actions.

import { useSignal } from "@preact/signals";
import { useId, useRef } from "preact/hooks";
import type { IconNode } from "lucide";
import { Check } from "lucide";
import { Icon } from "./icon";

export interface MenuItem {
  label: string;
  icon?: IconNode;
  /** Whether it is switched on, for one that is a choice. */
  checked?: boolean;
  danger?: boolean;
  disabled?: boolean;
  run(): void;
}

/** `label` names the button for screen readers and as a hint; `text` is shown beside the icon. */
export function Menu({
  label,
  icon,
  items,
  text,
  class: more = "",
}: {
  label: string;
  icon: IconNode;
  items: readonly (MenuItem | false)[];
  text?: string;
  class?: string;
}) {
  const id = useId();
  // Its items are drawn while it is open: a page has hundreds of menus.
  const open = useSignal(false);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const all = () => [...list.current!.querySelectorAll<HTMLElement>("[role^=menuitem]:not([disabled])")];

  const place = () => {
    const [box, around] = [list.current!, button.current!.getBoundingClientRect()];
    const { offsetWidth: width, offsetHeight: height } = box;
    const rtl = getComputedStyle(box).direction === "rtl";
    const left = Math.max(8, Math.min(rtl ? around.left : around.right - width, innerWidth - width - 8));
    const below = around.bottom + 4;
    const top = below + height <= innerHeight - 8 ? below : Math.max(8, around.top - height - 4);
    box.style.setProperty("left", `${left}px`);
    box.style.setProperty("top", `${top}px`);
    all()[0]?.focus();
  };

  const onKey = (event: KeyboardEvent) => {
    const entries = all();
    const at = entries.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      entries.at(next % entries.length)?.focus();
    } else if (event.key === "Tab") list.current!.hidePopover();
    else if (event.key === "Escape") event.stopPropagation(); // it closes the menu, and stops no answer
  };

  return (
    <>
      <button
        ref={button}
        type="button"
        class={text === undefined ? `icon-button ${more}` : `button plain ${more}`}
        aria-label={text === undefined ? label : undefined}
        title={label}
        aria-haspopup="menu"
        popoverTarget={id}
      >
        <Icon of={icon} />
        {text !== undefined && <span>{text}</span>}
      </button>
      <div
        ref={list}
        id={id}
        class="menu"
        role="menu"
        aria-label={label}
        popover="auto"
        onBeforeToggle={(event) => (open.value = (event as unknown as ToggleEvent).newState === "open")}
        onToggle={(event) => (event as unknown as ToggleEvent).newState === "open" && place()}
        onKeyDown={onKey}
      >
        {open.value &&
          items.map(
            (item) =>
              item && (
                <button
                  key={item.label}
                  type="button"
                  role={item.checked === undefined ? "menuitem" : "menuitemcheckbox"}
                  aria-checked={item.checked}
                  tabIndex={-1}
                  disabled={item.disabled}
                  class={item.danger ? "menu-item danger" : "menu-item"}
                  onClick={() => {
                    list.current!.hidePopover();
                    item.run();
                  }}
                >
                  {item.icon && <Icon of={item.icon} size={18} />}
                  <span>{item.label}</span>
                  {item.checked && <Icon of={Check} size={16} />}
                </button>
              ),
          )}
      </div>
    </>
  );
}
