//! A media playlist as text (4.4).

use std::fmt::Write;
use std::time::Duration;

use super::Settings;
use super::rendition::{Head, Part, Rendition};

/// What a playlist says of another rendition (4.4.5.4).
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) slug: &'a str,
    pub(super) last: (u64, usize),
}

/// Renders the playlist of a rendition, or what a player does not have that asked to skip the rest. `expected`
/// is how long the segment that is being made is expected to be; `ended` says that there will be no more.
pub(super) fn render(
    rendition: &Rendition,
    settings: &Settings,
    reports: &[Report<'_>],
    expected: Duration,
    ended: bool,
    skip: bool,
) -> String {
    let parts = rendition.has_parts(settings);
    // The longest playlist is 8 segments and 16 parts of some 100 bytes each.
    let mut text = String::with_capacity(4_096);
    head(&mut text, rendition, settings, parts);
    segments(&mut text, rendition, settings, parts, skip);
    if ended {
        text.push_str("#EXT-X-ENDLIST\n");
    } else if parts {
        future(&mut text, rendition, settings, reports, expected);
    }
    text
}

fn head(text: &mut String, rendition: &Rendition, settings: &Settings, parts: bool) {
    let target = settings.target_duration.as_secs();
    // EXT-X-SKIP needs 9, EXT-X-MAP 6 (8).
    let version = if parts { 9 } else { 6 };
    say(text, format_args!("#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target}\n"));
    if parts {
        let part = settings.part_target();
        let (skip, hold) = (seconds(settings.skip_until()), seconds(part * 3));
        say(
            text,
            format_args!(
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={skip},PART-HOLD-BACK={hold}\n\
                 #EXT-X-PART-INF:PART-TARGET={}\n",
                seconds(part)
            ),
        );
    }
    let mut heads = rendition.listed(settings).map(|segment| &segment.head);
    let first = heads.next().or_else(|| rendition.open().map(|open| &open.head));
    if let Some(first) = first {
        let discontinuities = first.discontinuities - u64::from(first.discontinuity);
        say(text, format_args!("#EXT-X-MEDIA-SEQUENCE:{}\n", first.msn));
        if discontinuities > 0 {
            say(text, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}\n"));
        }
    }
}

fn segments(text: &mut String, rendition: &Rendition, settings: &Settings, parts: bool, skip: bool) {
    let open = rendition.open().filter(|_| parts);
    let mut from_end: Duration = rendition.listed(settings).map(|segment| segment.duration).sum::<Duration>()
        + open.map_or(Duration::ZERO, |open| open.duration());
    let mut init = None;
    let mut skipped = 0;
    for segment in rendition.listed(settings) {
        let after = from_end.saturating_sub(segment.duration);
        let is_old = after > settings.skip_until();
        if skip && parts && is_old {
            skipped += 1;
            init = Some(segment.head.init.id);
            from_end = after;
            continue;
        }
        if skipped > 0 {
            say(text, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n"));
            skipped = 0;
        }
        before_segment(text, &segment.head, &mut init);
        if segment.objects.is_none() {
            text.push_str("#EXT-X-GAP\n");
        }
        // Parts further than 3 target durations from the end are not listed (6.2.2).
        if parts && from_end <= settings.target_duration * 3 {
            self::parts(text, segment.head.msn, &segment.parts);
        }
        let msn = segment.head.msn;
        say(text, format_args!("#EXTINF:{},\n{msn}.m4s\n", seconds(segment.duration)));
        from_end = after;
    }
    if let Some(open) = open
        && !open.parts.is_empty()
    {
        before_segment(text, &open.head, &mut init);
        self::parts(text, open.head.msn, &open.parts);
    }
}

/// What has to be said before the first part of a segment (4.4.4.9).
fn before_segment(text: &mut String, head: &Head, init: &mut Option<u64>) {
    if head.discontinuity {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if init.replace(head.init.id) != Some(head.init.id) {
        say(text, format_args!("#EXT-X-MAP:URI=\"init-{:016x}.mp4\"\n", head.init.id));
    }
    text.push_str("#EXT-X-PROGRAM-DATE-TIME:");
    date_time(text, head.wall);
    text.push('\n');
}

fn parts(text: &mut String, msn: u64, parts: &[Part]) {
    for (index, part) in parts.iter().enumerate() {
        let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
        let duration = seconds(part.duration);
        say(text, format_args!("#EXT-X-PART:DURATION={duration},URI=\"{msn}.{index}.m4s\"{independent}\n"));
    }
}

/// What comes next, and where the other renditions are.
fn future(
    text: &mut String,
    rendition: &Rendition,
    settings: &Settings,
    reports: &[Report<'_>],
    expected: Duration,
) {
    if let Some((msn, part)) = hint(rendition, settings, expected) {
        say(text, format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{msn}.{part}.m4s\"\n"));
    }
    for Report { slug, last: (msn, part) } in reports {
        say(
            text,
            format_args!(
                "#EXT-X-RENDITION-REPORT:URI=\"../{slug}/index.m3u8\",LAST-MSN={msn},LAST-PART={part}\n"
            ),
        );
    }
}

/// The part that is expected next: of this segment, or the first of the next.
fn hint(rendition: &Rendition, settings: &Settings, expected: Duration) -> Option<(u64, usize)> {
    let Some(open) = rendition.open() else { return rendition.next_msn().map(|msn| (msn, 0)) };
    let is_full = open.duration() + settings.part / 2 > expected;
    Some(if is_full { (open.head.msn + 1, 0) } else { (open.head.msn, open.parts.len()) })
}

/// Five digits: a player adds up the segments of an hour and is 9 ms off at most.
fn seconds(duration: Duration) -> String {
    format!("{:.5}", duration.as_secs_f64())
}

/// A time since the Unix epoch as ISO 8601 writes it, in UTC.
fn date_time(text: &mut String, since_epoch: Duration) {
    let (days, second) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let (year, month, day) = date(days);
    let millis = since_epoch.subsec_millis();
    say(text, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"));
}

/// The Gregorian date so many days after 1 January 1970. Years are counted from 1 March, so that the day that
/// is sometimes there is the last.
fn date(days: u64) -> (u64, u64, u64) {
    const CYCLE_DAYS: u64 = 146_097; // 400 years
    let days = days + 719_468; // since 1 March of the year 0
    let (cycle, day) = (days / CYCLE_DAYS, days % CYCLE_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March; 153 days are 5 months
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + u64::from(month <= 2), month, day)
}

fn say(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, expected) in table {
            let mut text = String::new();
            date_time(&mut text, Duration::from_millis(millis));
            assert_eq!(text, expected);
        }
    }
}
