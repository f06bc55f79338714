// Numbers, sizes and times for people.

/** Formats for a language. */
export interface Format {
  number(value: number, digits?: number): string;
  /** "1.2 GB" */
  bytes(count: number): string;
  /** "0.8 s", "2 min 5 s" */
  duration(ms: number): string;
  percent(share: number): string;
  /** The time of today, the day of this year, or the date. */
  when(time: number): string;
  dateTime(time: number): string;
  list(items: readonly string[]): string;
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function formatFor(language: string): Format {
  const number = (value: number, digits = 0) =>
    value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const unit = (value: number, unit: string, digits = 0) =>
    value.toLocaleString(language, {
      style: "unit",
      unit,
      unitDisplay: unit === "byte" ? "long" : "short",
      maximumFractionDigits: digits,
    });
  return {
    number,
    bytes(count) {
      let at = 0;
      let value = count;
      while (value >= 999.5 && at < UNITS.length - 1) {
        value /= 1000;
        at++;
      }
      return unit(value, UNITS[at]!, value >= 99.5 || at === 0 ? 0 : 1);
    },
    duration(ms) {
      const seconds = ms / 1000;
      if (seconds < 59.5) return unit(seconds, "second", seconds < 9.95 ? 1 : 0);
      const minutes = Math.floor(seconds / 60);
      if (minutes < 60) return `${unit(minutes, "minute")} ${unit(Math.floor(seconds % 60), "second")}`;
      return `${unit(Math.floor(minutes / 60), "hour")} ${unit(minutes % 60, "minute")}`;
    },
    percent: (share) => share.toLocaleString(language, { style: "percent", maximumFractionDigits: 0 }),
    when(time) {
      const date = new Date(time);
      const now = new Date();
      if (date.toDateString() === now.toDateString())
        return date.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
      return date.getFullYear() === now.getFullYear()
        ? date.toLocaleDateString(language, { day: "numeric", month: "short" })
        : date.toLocaleDateString(language);
    },
    dateTime: (time) => new Date(time).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" }),
    list: (items) => new Intl.ListFormat(language, { type: "conjunction" }).format(items),
  };
}
