//! The multivariant playlist as text (4.4.6).

use std::fmt::Write;

use super::Role;
use super::rendition::Rendition;

/// Renders the playlist of these renditions. `independent` says that every segment begins with a key frame.
pub(super) fn render(renditions: &[Rendition], independent: bool) -> String {
    let of = |role| renditions.iter().filter(move |rendition| rendition.track.role == role);
    let sounds: Vec<&Rendition> = of(Role::Audio).collect();
    let mut text = "#EXTM3U\n#EXT-X-VERSION:9\n".to_owned();
    if independent {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    if of(Role::Video).next().is_none() {
        sounds.iter().for_each(|sound| variant(&mut text, sound, &[]));
        return text;
    }
    for (index, sound) in sounds.iter().enumerate() {
        media(&mut text, sound, index == 0);
    }
    of(Role::Video).for_each(|video| variant(&mut text, video, &sounds));
    text
}

fn media(text: &mut String, sound: &Rendition, is_default: bool) {
    // Names in a group differ (4.4.6.1.1), as tracks' names do.
    let name = sound.track.name.strip_prefix("audio/").unwrap_or(&sound.track.name);
    let default = if is_default { "YES" } else { "NO" };
    text.push_str("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\"");
    attribute(text, "NAME", Some(name));
    attribute(text, "LANGUAGE", sound.track.language.as_deref());
    attribute(text, "CHANNELS", sound.track.channels.as_deref());
    let _ = writeln!(text, ",DEFAULT={default},AUTOSELECT=YES,URI=\"{}/index.m3u8\"", sound.slug);
}

fn variant(text: &mut String, rendition: &Rendition, sounds: &[&Rendition]) {
    let sound = sounds.iter().map(|sound| sound.bandwidth()).max().unwrap_or(0);
    let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={}", rendition.bandwidth().saturating_add(sound));
    let mut codecs: Vec<&str> = Vec::new();
    let mut all_known = true;
    for track in std::iter::once(rendition).chain(sounds.iter().copied()).map(|it| &it.track) {
        match &track.codec {
            Some(codec) if codecs.contains(&codec.as_str()) => {}
            Some(codec) => codecs.push(codec),
            None => all_known = false,
        }
    }
    // A list that is not whole would be wrong.
    if all_known {
        attribute(text, "CODECS", Some(&codecs.join(",")));
    }
    if let (Some(width), Some(height)) = (rendition.track.width, rendition.track.height) {
        let _ = write!(text, ",RESOLUTION={width}x{height}");
    }
    if let Some(rate) = rendition.track.frame_rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
        let _ = write!(text, ",FRAME-RATE={rate:.3}");
    }
    if !sounds.is_empty() {
        text.push_str(",AUDIO=\"audio\"");
    }
    let _ = writeln!(text, "\n{}/index.m3u8", rendition.slug);
}

/// A quoted string cannot hold quotes or line breaks (4.2), whatever a host says.
fn attribute(text: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    let value: String = value.chars().filter(|c| *c != '"' && !c.is_control()).collect();
    let _ = write!(text, ",{name}=\"{value}\"");
}
