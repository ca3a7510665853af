//! The MSF catalog (draft-ietf-moq-msf) as far as HLS needs it: which tracks there are, and how each begins.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::channel::{RENDITIONS_MAX, Role, Track};

/// The track that carries the catalog.
pub(super) const TRACK: &str = "catalog";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Catalog {
    tracks: Vec<Entry>,
    #[serde(default)]
    init_data_list: Vec<InitData>,
}

#[derive(Deserialize)]
struct InitData {
    id: String,
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    #[serde(default)]
    packaging: String,
    role: Option<String>,
    codec: Option<String>,
    width: Option<u16>,
    height: Option<u16>,
    framerate: Option<f64>,
    samplerate: Option<u32>,
    channel_config: Option<String>,
    bitrate: Option<u64>,
    lang: Option<String>,
    init_data: Option<String>,
    init_ref: Option<String>,
}

/// The tracks of a catalog that can be listed: CMAF, picture or sound, and with an initialization segment.
///
/// # Errors
/// If it is not the JSON that it should be.
pub(super) fn read(json: &[u8]) -> Result<Vec<Track>, serde_json::Error> {
    let Catalog { tracks, init_data_list } = serde_json::from_slice(json)?;
    Ok(tracks.into_iter().filter_map(|entry| track(entry, &init_data_list)).take(RENDITIONS_MAX).collect())
}

fn track(entry: Entry, inits: &[InitData]) -> Option<Track> {
    let role = match entry.role.as_deref() {
        Some("video") => Role::Video,
        Some("audio") => Role::Audio,
        // It need not be said.
        None if entry.width.is_some() => Role::Video,
        None if entry.samplerate.is_some() => Role::Audio,
        _ => return None,
    };
    let by_name =
        || inits.iter().find(|init| Some(&init.id) == entry.init_ref.as_ref()).map(|init| &init.data);
    let init = entry.init_data.as_ref().or_else(by_name).and_then(|data| STANDARD.decode(data).ok())?;
    (entry.packaging == "cmaf").then(|| Track {
        name: entry.name,
        role,
        init: init.into(),
        codec: entry.codec,
        width: entry.width,
        height: entry.height,
        frame_rate: entry.framerate,
        bitrate: entry.bitrate,
        language: entry.lang,
        channels: entry.channel_config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_found_with_their_beginning_wherever_it_is() {
        let json = br#"{"version":"1","new":true,"initDataList":[{"id":"i","type":"inline","data":"aW5pdA=="}],
            "tracks":[
            {"name":"video/source","packaging":"cmaf","isLive":true,"role":"video","initData":"aW5pdA==","width":640},
            {"name":"audio/de","packaging":"cmaf","isLive":true,"role":"audio","initRef":"i","lang":"de"},
            {"name":"audio/en","packaging":"cmaf","isLive":true,"samplerate":48000,"initRef":"i"},
            {"name":"audio/fr","packaging":"cmaf","isLive":true,"role":"audio","initRef":"j"},
            {"name":"audio/it","packaging":"loc","isLive":true,"role":"audio","initRef":"i"},
            {"name":"chat","packaging":"eventtimeline","mimeType":"application/json"}]}"#;
        let tracks = read(json).unwrap();
        assert_eq!(
            tracks.iter().map(|track| track.name.as_str()).collect::<Vec<_>>(),
            ["video/source", "audio/de", "audio/en"]
        );
        assert!(tracks.iter().all(|track| track.init == "init"));
        assert_eq!((tracks[0].width, tracks[1].language.as_deref()), (Some(640), Some("de")));
        assert!(read(b"{").is_err());
    }
}
