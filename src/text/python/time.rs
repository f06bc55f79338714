//! Python's `datetime.strftime`, with the behaviour of glibc.

use std::fmt::Write as _;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Python's `strftime` for `seconds` since 1970-01-01 of the local clock, whose zone is not known: `%z` and `%Z` are
/// empty, as for Python's naive times. Unknown directives are kept as they are.
pub(crate) fn strftime(format: &str, seconds: i64) -> String {
    // The clock is clamped to about thirty thousand years either way, to avoid overflow.
    let seconds = seconds.clamp(-1_000_000_000_000, 1_000_000_000_000);
    let time = Time::of(seconds);
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let pad = chars.next_if(|c| matches!(c, '-' | '_' | '0' | '^' | '#'));
        let Some(directive) = chars.next() else {
            out.push('%');
            out.extend(pad);
            break;
        };
        if time.write(&mut out, directive, pad).is_none() {
            out.push('%');
            out.extend(pad);
            out.push(directive);
        }
    }
    out
}

struct Time {
    seconds: i64,
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// Day of the week, counted from Sunday.
    weekday: i64,
    /// Day of the year, counted from 1.
    year_day: i64,
}

impl Time {
    fn of(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let second = seconds.rem_euclid(86_400);
        let (year, month, day) = civil(days);
        Self {
            seconds,
            year,
            month,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            weekday: (days + 4).rem_euclid(7),
            year_day: days - days_before_year(year) + 1,
        }
    }

    /// ISO 8601 year and week: a week belongs to the year of its Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let monday = (self.weekday + 6) % 7;
        let thursday = self.seconds.div_euclid(86_400) - monday + 3;
        let (year, ..) = civil(thursday);
        (year, (thursday - days_before_year(year)) / 7 + 1)
    }

    /// Writes the expansion of a directive; `None` if it is unknown.
    fn write(&self, out: &mut String, directive: char, pad: Option<char>) -> Option<()> {
        let number = |out: &mut String, value: i64, width: usize, fill: char| {
            let _ = match (pad, fill) {
                (Some('-'), _) => write!(out, "{value}"),
                (Some('_'), _) | (None, ' ') => write!(out, "{value:width$}"),
                _ => write!(out, "{value:0width$}"),
            };
        };
        let name = |out: &mut String, name: &str| match pad {
            Some('^' | '#') => out.push_str(&name.to_uppercase()),
            _ => out.push_str(name),
        };
        let hour12 = (self.hour + 11) % 12 + 1;
        let (month, weekday) = (MONTHS[(self.month - 1) as usize], DAYS[self.weekday as usize]);
        match directive {
            'Y' => number(out, self.year, 4, '0'),
            'C' => number(out, self.year.div_euclid(100), 2, '0'),
            'y' => number(out, self.year.rem_euclid(100), 2, '0'),
            'G' => number(out, self.iso_week().0, 4, '0'),
            'g' => number(out, self.iso_week().0.rem_euclid(100), 2, '0'),
            'V' => number(out, self.iso_week().1, 2, '0'),
            'U' => number(out, (self.year_day + 6 - self.weekday) / 7, 2, '0'),
            'W' => number(out, (self.year_day + 6 - (self.weekday + 6) % 7) / 7, 2, '0'),
            'm' => number(out, self.month, 2, '0'),
            'd' => number(out, self.day, 2, '0'),
            'e' => number(out, self.day, 2, ' '),
            'j' => number(out, self.year_day, 3, '0'),
            'H' => number(out, self.hour, 2, '0'),
            'k' => number(out, self.hour, 2, ' '),
            'I' => number(out, hour12, 2, '0'),
            'l' => number(out, hour12, 2, ' '),
            'M' => number(out, self.minute, 2, '0'),
            'S' => number(out, self.second, 2, '0'),
            'f' => out.push_str("000000"),
            's' => number(out, self.seconds, 1, '0'),
            'u' => number(out, (self.weekday + 6) % 7 + 1, 1, '0'),
            'w' => number(out, self.weekday, 1, '0'),
            'p' if pad == Some('#') => out.push_str(if self.hour < 12 { "am" } else { "pm" }),
            'p' => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            'P' => out.push_str(if self.hour < 12 { "am" } else { "pm" }),
            'B' => name(out, month),
            'b' | 'h' => name(out, &month[..3]),
            'A' => name(out, weekday),
            'a' => name(out, &weekday[..3]),
            'F' => out.push_str(&strftime("%Y-%m-%d", self.seconds)),
            'T' | 'X' => out.push_str(&strftime("%H:%M:%S", self.seconds)),
            'R' => out.push_str(&strftime("%H:%M", self.seconds)),
            'r' => out.push_str(&strftime("%I:%M:%S %p", self.seconds)),
            'D' | 'x' => out.push_str(&strftime("%m/%d/%y", self.seconds)),
            'c' => out.push_str(&strftime("%a %b %e %H:%M:%S %Y", self.seconds)),
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'z' | 'Z' => {}
            '%' => out.push('%'),
            _ => return None,
        }
        Some(())
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - days_before_year(year);
    let leap = days_before_year(year + 1) - days_before_year(year) == 366;
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

/// Days from 1970-01-01 to January 1 of `year`.
fn days_before_year(year: i64) -> i64 {
    let y = year - 1;
    365 * (year - 1970) + (y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400)) - 477
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        // Values from Python's datetime.
        assert_eq!(strftime("%d %b %Y %H:%M:%S %A %j", 1_721_908_799), "25 Jul 2024 11:59:59 Thursday 207");
        assert_eq!(strftime("%-d %B %y, %I %p %%", 951_782_400), "29 February 00, 12 AM %");
        assert_eq!(strftime("%Y-%m-%d", -1), "1969-12-31");
        assert_eq!(strftime("%F", 4_107_542_400), "2100-03-01");
        assert_eq!(strftime("%Q%", 0), "%Q%");
        assert_eq!(
            strftime("%e|%G-W%V|%u|%x|%c|%D|%R|%Z|%z", 1_796_004_650),
            "30|2026-W49|1|11/30/26|Mon Nov 30 02:10:50 2026|11/30/26|02:10||"
        );
        assert_eq!(
            strftime("%C %g %U %W %k|%l|%P %s %r %f", 1_735_689_600),
            "20 25 00 00  0|12|am 1735689600 12:00:00 AM 000000"
        );
        assert_eq!(strftime("%^a %_d %-m %0e", 951_782_400), "TUE 29 2 29");
    }
}
