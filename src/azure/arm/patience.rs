//! How long ARM asks to be left alone. Pure.

use std::time::Duration;

use azure_core::http::headers::{HeaderName, Headers, RETRY_AFTER, RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS};
use azure_core::time::parse_rfc7231;

/// Nobody is waited for longer: a server that asks for a day is not one that anybody can rely on.
const LONGEST: Duration = Duration::from_secs(300);
/// When the answer was sent.
const DATE: HeaderName = HeaderName::from_static("date");

/// When ARM wants to be asked again, at most [`LONGEST`]; none where it does not say, or not so that it can be read.
pub(super) fn retry_after(headers: &Headers) -> Option<Duration> {
    let text = |name| headers.get_optional_str(&name).map(str::trim);
    let whole = |text: &str| text.parse::<u64>().ok();
    let milliseconds = [X_MS_RETRY_AFTER_MS, RETRY_AFTER_MS].into_iter().filter_map(text).find_map(whole);
    let asked = match (milliseconds, text(RETRY_AFTER)) {
        (Some(milliseconds), _) => Duration::from_millis(milliseconds),
        (None, Some(written)) => match whole(written) {
            Some(seconds) => Duration::from_secs(seconds),
            // A date is meant by the server's clock, which says itself what time it is.
            None => {
                let (until, now) = (parse_rfc7231(written).ok()?, parse_rfc7231(text(DATE)?).ok()?);
                Duration::try_from(until - now).unwrap_or_default()
            }
        },
        (None, None) => return None,
    };
    Some(asked.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let mut all = Headers::new();
        headers.iter().for_each(|(name, value)| all.insert(*name, *value));
        retry_after(&all)
    }

    #[test]
    fn every_form_is_read_and_none_waits_for_ever() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("retry-after", "7")]), seconds(7));
        assert_eq!(read(&[("retry-after", " 0 ")]), seconds(0));
        assert_eq!(read(&[("retry-after", "86400")]), seconds(300));
        assert_eq!(read(&[("retry-after", "18446744073709551615")]), seconds(300));
        assert_eq!(read(&[("retry-after", "-5")]), None);
        assert_eq!(read(&[("retry-after", "soon")]), None);
        assert_eq!(read(&[("retry-after-ms", "1500")]), Some(Duration::from_millis(1500)));
        assert_eq!(
            read(&[("x-ms-retry-after-ms", "20"), ("retry-after", "9")]),
            Some(Duration::from_millis(20))
        );
        let date = ("date", "Fri, 01 Jan 2021 00:00:00 GMT");
        assert_eq!(read(&[date, ("retry-after", "Fri, 01 Jan 2021 00:00:10 GMT")]), seconds(10));
        assert_eq!(read(&[date, ("retry-after", "Thu, 31 Dec 2020 00:00:00 GMT")]), seconds(0));
        assert_eq!(read(&[date, ("retry-after", "Sat, 01 Jan 2022 00:00:00 GMT")]), seconds(300));
        assert_eq!(read(&[("retry-after", "Fri, 01 Jan 2021 00:00:10 GMT")]), None, "by which clock?");
    }
}
