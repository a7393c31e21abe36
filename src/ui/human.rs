//! Numbers as people say them: sizes, ages, waits.

use std::time::Duration;

/// Units of sizes, each 1024 times the one before.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A wait as people say it.
pub fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        // Nothing is tried again in no time at all.
        short if short < 10.0 => format!("{:.1} s", short.max(0.1)),
        long => format!("{long:.0} s"),
    }
}

/// A number of bytes: two or three digits are enough.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scale = 1_u128;
    for unit in UNITS {
        scale *= 1024;
        let tenths = (u128::from(bytes) * 10 + scale / 2) / scale;
        if tenths < 100 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        let whole = (u128::from(bytes) + scale / 2) / scale;
        if whole < 1024 {
            return format!("{whole} {unit}");
        }
    }
    "a lot".to_owned()
}

/// How long something has been so, in the largest unit that fits.
pub fn age(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match duration.as_secs() {
        seconds @ ..MINUTE => format!("{seconds} s"),
        seconds @ MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        seconds @ HOUR..DAY => format!("{} h", seconds / HOUR),
        seconds => format!("{} d", seconds / DAY),
    }
}

/// A number of things, with the word for one of them.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits_and_never_1024_of_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_188, "9.9 KiB"),
            (10_189, "10 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_064, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn ages_are_in_the_largest_unit_that_fits() {
        for (secs, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (86_399, "23 h"),
            (86_400, "1 d"),
            (8_640_000, "100 d"),
        ] {
            assert_eq!(age(Duration::from_secs(secs)), text);
        }
    }

    #[test]
    fn waits_are_never_nothing() {
        assert_eq!(seconds(Duration::ZERO), "0.1 s");
        assert_eq!(seconds(Duration::from_millis(1_230)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(600)), "600 s");
    }
}
