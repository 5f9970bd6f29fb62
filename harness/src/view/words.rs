//! Numbers as they fit into few cells. Pure.

use crate::text::count;

/// A count in at most five characters: `999`, `12.3k`, `2.00M`.
pub fn short(n: u64) -> String {
    if n < 1_000 {
        return n.to_string();
    }
    let units = ["k", "M", "G", "T", "P", "E"];
    let (mut value, mut unit) = (n as f64 / 1e3, 0);
    // What would be rounded up to four digits goes to the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1e3;
        unit += 1;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{}", units[unit])
}

/// A count in full where it has room, else short.
pub fn fitting(n: u64, cells: usize) -> String {
    let full = count(n);
    if full.len() <= cells { full } else { short(n) }
}

/// A duration in nanoseconds: `0.4 ms`, `41 ms`, `12.1 s`.
pub fn span(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

/// Seconds as a clock: `0:42`, `1:02:03`.
pub fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

/// Bytes as htop writes them: `208M`, `16.2G`.
pub fn bytes(n: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 99.95);
    format!("{value:.decimals$}{}", units[unit])
}

/// Text in one line without control characters, which would tear the screen.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_width_and_their_unit() {
        let counts = [0, 999, 1_000, 9_994, 9_995, 99_949, 99_950, 999_499, 999_500, 2_000_000, u64::MAX];
        let told: Vec<String> = counts.into_iter().map(short).collect();
        assert_eq!(told, ["0", "999", "1.00k", "9.99k", "10.0k", "99.9k", "100k", "999k", "1.00M", "2.00M", "18.4E"]);
        assert!(told.iter().all(|t| t.len() <= 5));
        assert_eq!([fitting(1_234_567, 9), fitting(1_234_567, 8)], ["1 234 567", "1.23M"]);
        assert_eq!([400_000, 41_000_000, 12_090_000_000].map(span), ["0.4 ms", "41 ms", "12.1 s"]);
        assert_eq!([0.0, 62.9, 3_723.0].map(clock), ["0:00", "1:02", "1:02:03"]);
        assert_eq!([0, 208 << 20, 16_600 << 20, 1023].map(bytes), ["0B", "208M", "16.2G", "1.0K"]);
    }

    #[test]
    fn control_characters_of_a_log_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\tc"), "a [2Jb c");
    }
}
