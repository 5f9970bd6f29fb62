//! Numbers for people: thousands separators, short forms, bytes, durations. Pure functions.

/// A count with thousands separators: `1,999,984`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three significant digits without trailing zeros, thousands separators where they are due: `0.05`, `43.6`, `1,234`.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "—".to_owned();
    }
    let magnitude = value.abs();
    if magnitude < 5e-10 {
        return "0".to_owned();
    }
    let decimals = (2 - magnitude.log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{magnitude:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    let fraction = fraction.trim_end_matches('0');
    let sign = if value < 0.0 { "−" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn scaled(value: f64, steps: &[(f64, &str)]) -> String {
    // 999,600 is "1M" and not "1,000k": the step is chosen after rounding to three digits.
    let rounded = value.abs() * 1.0005;
    let (divisor, unit) = steps.iter().rev().find(|(divisor, _)| rounded >= *divisor).unwrap_or(&steps[0]);
    format!("{}{unit}", significant(value / divisor))
}

/// A count in short: `950`, `128k`, `2.28M`.
pub fn short(value: f64) -> String {
    scaled(value, &[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")])
}

/// Bytes with a decimal unit: `252 B`, `7.74 kB`, `83.8 GB`.
pub fn bytes(value: f64) -> String {
    scaled(value, &[(1.0, " B"), (1e3, " kB"), (1e6, " MB"), (1e9, " GB"), (1e12, " TB")])
}

/// A duration given in nanoseconds: `850 ns`, `12.3 µs`, `4.56 ms`, `19.4 s`.
pub fn duration(ns: f64) -> String {
    if ns == 0.0 {
        return "0 s".to_owned();
    }
    scaled(ns, &[(1.0, " ns"), (1e3, " µs"), (1e6, " ms"), (1e9, " s")])
}

/// A share from 0 to 1 as per cent. A share below 1 never reads 100 %.
pub fn percent(share: f64) -> String {
    let text = if share < 1.0 && share > 0.995 { (share * 1e5).floor() / 1e3 } else { share * 100.0 };
    let digits = format!("{text:.3}");
    let trimmed = digits.trim_end_matches('0').trim_end_matches('.');
    if share > 0.995 { format!("{trimmed} %") } else { format!("{} %", significant(share * 100.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shortened() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_999_984), "1,999,984");
        assert_eq!(short(128_000.0), "128k");
        assert_eq!(short(2_280_000.0), "2.28M");
        assert_eq!(short(999_990.0), "1M");
        assert_eq!(short(0.0), "0");
        assert_eq!(bytes(83_765_000_000.0), "83.8 GB");
        assert_eq!(bytes(-12.5), "−12.5 B");
        assert_eq!(duration(12_300.0), "12.3 µs");
        assert_eq!(duration(19_400_000_000.0), "19.4 s");
        assert_eq!(significant(f64::NAN), "—");
    }

    #[test]
    fn a_share_short_of_all_never_reads_as_all() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.999_999_9), "99.999 %");
        assert_eq!(percent(0.5), "50 %");
        assert_eq!(percent(0.0), "0 %");
    }
}
