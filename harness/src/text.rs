//! Numbers as people read them.

/// `n` with its digits in groups of three: `1 048 576`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest binary unit that leaves at least one whole.
pub fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_and_bytes_get_a_unit() {
        assert_eq!([count(0), count(999), count(48_576), count(1_048_576)], ["0", "999", "48 576", "1 048 576"]);
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(24 << 30)], ["0 B", "1023 B", "1.5 KiB", "24.0 GiB"]);
    }
}
