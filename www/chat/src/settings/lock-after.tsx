import { t } from "../i18n";
import { useApp } from "../state/app";
import { LOCK_AFTER } from "../state/protection";
import { Field } from "../ui/field";

/** After how long without use the store is locked. */
export function LockAfter() {
  const { preferences, protection } = useApp();
  const words = t.value.settings.lock;
  const off = protection.kind.value === "none";
  return (
    <Field label={words.after} hint={off ? words.afterOff : words.afterHint}>
      {(tied) => (
        <select
          {...tied}
          value={String(preferences.settings.value.lockAfter)}
          onChange={({ currentTarget: { value } }) => preferences.change({ lockAfter: Number(value) })}
        >
          {LOCK_AFTER.map((minutes) => (
            <option key={minutes} value={String(minutes)}>
              {words.afterMinutes(minutes)}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
