//! Numbers, times and commands for people. Rounding happens here and nowhere else.

use std::time::Duration;

/// How many letters differ, to find what a typo meant; two that changed places are one.
pub use strsim::osa_distance as edit_distance;

/// `1.5 MiB`; bytes below 1 KiB as they are.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `48,000`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`: two figures a reader can act on.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

/// `duration` of a number of nanoseconds.
pub fn nanoseconds(ns: u64) -> String {
    duration(Duration::from_nanos(ns))
}

/// A number with `places` decimals; what is not a number says so.
pub fn fixed(value: f64, places: usize) -> String {
    if value.is_nan() {
        "not a number".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+∞".to_owned() } else { "−∞".to_owned() }
    } else {
        let text = format!("{value:.places$}");
        match text.strip_prefix('-') {
            // What is rounded to 0 has no sign.
            Some(digits) if !digits.bytes().any(|digit| digit.is_ascii_digit() && digit != b'0') => {
                digits.to_owned()
            }
            // A minus sign, so that columns of differences line up with their plus signs.
            Some(digits) => format!("−{digits}"),
            None => text,
        }
    }
}

/// `+0.0012` or `−0.0012`.
pub fn signed(value: f64, places: usize) -> String {
    let text = fixed(value, places);
    if value.is_finite() && !text.starts_with('−') { format!("+{text}") } else { text }
}

/// `mean ± sd`, or the mean alone when there is no spread to speak of.
pub fn mean_sd(mean: f64, sd: Option<f64>, places: usize) -> String {
    match sd {
        Some(sd) => format!("{} ± {}", fixed(mean, places), fixed(sd, places)),
        None => fixed(mean, places),
    }
}

/// `1 run`, `2 runs`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", self::count(count as u64), if count == 1 { "" } else { "s" })
}

/// With its first letter a capital.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

/// A word as a POSIX shell reads it back.
pub fn shell_word(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_./:=+,@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_with_the_unit_a_reader_expects() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(48_000), "48,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "run"), "1 run");
        assert_eq!(plural(1500, "run"), "1,500 runs");
    }

    #[test]
    fn durations_never_show_sixty_seconds() {
        let text = |seconds: f64| duration(Duration::from_secs_f64(seconds));
        assert_eq!(text(0.0), "0 ms");
        assert_eq!(text(0.85), "850 ms");
        assert_eq!(text(0.9999), "1.0 s");
        assert_eq!(text(12.34), "12.3 s");
        assert_eq!(text(59.96), "1 min 00 s");
        assert_eq!(text(245.0), "4 min 05 s");
        assert_eq!(text(3599.6), "1 h 00 min");
        assert_eq!(text(7385.0), "2 h 03 min");
    }

    #[test]
    fn what_is_not_a_number_says_so() {
        assert_eq!(fixed(f64::NAN, 2), "not a number");
        assert_eq!(fixed(f64::INFINITY, 2), "+∞");
        assert_eq!(fixed(-0.5, 1), "−0.5");
        assert_eq!(signed(0.5, 1), "+0.5");
        assert_eq!(signed(-0.5, 1), "−0.5");
        assert_eq!(mean_sd(0.5, Some(0.25), 2), "0.50 ± 0.25");
        assert_eq!(mean_sd(0.5, None, 2), "0.50");
    }

    #[test]
    fn words_a_shell_would_split_are_quoted() {
        assert_eq!(shell_word("--profile"), "--profile");
        assert_eq!(shell_word("my run's"), r"'my run'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
