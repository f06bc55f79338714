// The sheet of keyboard shortcuts.

import { t } from "../i18n";
import { MAC, SHORTCUTS } from "../shortcuts";
import { Dialog } from "../ui/dialog";

export function ShortcutSheet({ onClose }: { onClose(): void }) {
  const words = t.value.settings.keys;
  return (
    <Dialog title={t.value.sidebar.shortcuts} onClose={onClose}>
      <table class="keys-table">
        <tbody>
          {SHORTCUTS.map(({ name, keys }) => (
            <tr key={name}>
              <th scope="row">{words[name]}</th>
              <td>
                {keys.map((key) => (
                  <kbd key={key}>
                    {key === "Mod"
                      ? MAC
                        ? "⌘"
                        : "Ctrl"
                      : key === "Shift" && MAC
                        ? "⇧"
                        : key === "Alt" && MAC
                          ? "⌥"
                          : key}
                  </kbd>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="hint">{t.value.settings.sheetText}</p>
    </Dialog>
  );
}
