//! The MSF catalog (draft-ietf-moq-msf): which tracks an event has, and what a player needs for each.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The track that carries the catalog.
pub const TRACK: &str = "catalog";

/// The version that is written: draft-ietf-moq-msf-00.
const VERSION: u32 = 1;

/// How its chunks are packaged: CMAF.
const CMAF: &str = "cmaf";

/// A catalog.
///
/// Fields of both drafts are written: initialization data inline (-00), and as a list that tracks refer to
/// (-01).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    /// The format's version; a number in one draft, a text in another.
    pub version: serde_json::Value,
    /// The tracks.
    pub tracks: Vec<CatalogTrack>,
    /// Initialization data that tracks refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_data_list: Vec<InitData>,
}

/// Initialization data by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitData {
    /// What tracks call it.
    pub id: String,
    /// What it is: `inline`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Base64.
    pub data: String,
}

/// One track.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogTrack {
    /// The track's name; its namespace is the catalog's.
    pub name: String,
    /// `cmaf`, or what this reader does not know.
    pub packaging: String,
    /// Whether objects are still to come.
    pub is_live: bool,
    /// What it is for: `video`, `audio`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The codec as RFC 6381 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Pixels across.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u16>,
    /// Pixels down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u16>,
    /// Pictures a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framerate: Option<f64>,
    /// Samples a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samplerate: Option<u32>,
    /// Channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_config: Option<String>,
    /// Bits a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    /// Ticks a second of the track's times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timescale: Option<u32>,
    /// Tracks of one group are shown together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub render_group: Option<u32>,
    /// Of tracks of one group one is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alt_group: Option<u32>,
    /// Milliseconds between capture and display to aim at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_latency: Option<u64>,
    /// Initialization data, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_data: Option<String>,
    /// The name of initialization data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_ref: Option<String>,
}

/// Why a catalog cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Not the JSON that it should be.
    #[error("the catalog cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A track has no initialization data that can be found and read.
    #[error("the catalog has no initialization data for track {0}")]
    Init(String),
}

impl Catalog {
    /// A catalog of these tracks, each with its initialization segment.
    pub fn new(tracks: impl IntoIterator<Item = (CatalogTrack, Bytes)>) -> Self {
        let (mut listed, mut init_data_list) = (Vec::new(), Vec::new());
        for (track, init) in tracks {
            let data = STANDARD.encode(&init);
            init_data_list.push(InitData {
                id: track.name.clone(),
                kind: "inline".into(),
                data: data.clone(),
            });
            let (init_data, init_ref) = (Some(data), Some(track.name.clone()));
            listed.push(CatalogTrack { packaging: CMAF.into(), is_live: true, init_data, init_ref, ..track });
        }
        Self { version: VERSION.into(), tracks: listed, init_data_list }
    }

    /// Reads a catalog, of either draft.
    ///
    /// # Errors
    /// [`CatalogError::Json`].
    pub fn read(json: &[u8]) -> Result<Self, CatalogError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// The catalog as JSON.
    ///
    /// # Errors
    /// If a number in it is none.
    pub fn write(&self) -> Result<Bytes, CatalogError> {
        Ok(serde_json::to_vec(self)?.into())
    }

    /// The tracks that are packaged as CMAF.
    pub fn cmaf_tracks(&self) -> impl Iterator<Item = &CatalogTrack> {
        self.tracks.iter().filter(|track| track.packaging == CMAF)
    }

    /// A track's initialization segment.
    ///
    /// # Errors
    /// [`CatalogError::Init`].
    pub fn init(&self, track: &CatalogTrack) -> Result<Bytes, CatalogError> {
        let by_name =
            |name: &String| self.init_data_list.iter().find(|init| init.id == *name).map(|it| &it.data);
        let data = track.init_data.as_ref().or_else(|| track.init_ref.as_ref().and_then(by_name));
        let bytes = data.and_then(|data| STANDARD.decode(data).ok());
        bytes.map(Bytes::from).ok_or_else(|| CatalogError::Init(track.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_by_either_draft() {
        let track =
            CatalogTrack { name: "video/source".into(), role: Some("video".into()), ..Default::default() };
        let catalog = Catalog::new([(track, Bytes::from_static(b"init"))]);
        let json = catalog.write().unwrap();
        let mut read = Catalog::read(&json).unwrap();
        assert_eq!(read, catalog);
        assert_eq!(read.init(&read.tracks[0]).unwrap(), "init");
        read.tracks[0].init_data = None;
        assert_eq!(read.init(&read.tracks[0]).unwrap(), "init", "by reference");
        read.init_data_list.clear();
        assert!(matches!(read.init(&read.tracks[0]), Err(CatalogError::Init(_))));
    }

    #[test]
    fn tracks_that_nobody_here_knows_are_passed_over() {
        let json = br#"{"version":"1","new":true,"tracks":[
            {"name":"chat","packaging":"eventtimeline","isLive":true,"mimeType":"application/json"},
            {"name":"v","packaging":"cmaf","isLive":true,"codec":"avc1.64001f"}]}"#;
        let catalog = Catalog::read(json).unwrap();
        assert_eq!(catalog.cmaf_tracks().map(|track| track.name.as_str()).collect::<Vec<_>>(), ["v"]);
        assert!(Catalog::read(b"{").is_err());
    }
}
