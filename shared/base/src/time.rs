//! Timestamps in RFC 3339, UTC: `2026-01-31T09:05:00Z`.

use std::time::SystemTime;

/// `time` to the second; a time that no calendar has becomes the start of 1970.
pub fn rfc3339(time: SystemTime) -> String {
    format!("{:.0}", jiff::Timestamp::try_from(time).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn timestamps_follow_the_calendar_and_cut_fractions_of_a_second() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_769_850_300_500, "2026-01-31T09:05:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(milliseconds);
            assert_eq!(rfc3339(time), text);
        }
    }
}
