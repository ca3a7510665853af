//! What a player asks for: a path below the event, and the delivery directives of its query (6.2.5).

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `index.m3u8`.
    Multivariant,
    /// `RENDITION/index.m3u8`.
    Media {
        /// The rendition.
        rendition: String,
        /// What the answer is to wait for.
        reload: Reload,
    },
    /// `RENDITION/init-ID.mp4`.
    Init {
        /// The rendition.
        rendition: String,
        /// Which initialization segment.
        id: u64,
    },
    /// `RENDITION/MSN.m4s`.
    Segment {
        /// The rendition.
        rendition: String,
        /// The media sequence number.
        msn: u64,
    },
    /// `RENDITION/MSN.PART.m4s`.
    Part {
        /// The rendition.
        rendition: String,
        /// The media sequence number of its segment.
        msn: u64,
        /// Which part of it.
        part: u64,
    },
}

/// The delivery directives of a request for a media playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reload {
    /// `_HLS_msn`.
    pub msn: Option<u64>,
    /// `_HLS_part`.
    pub part: Option<u64>,
    /// Whether `_HLS_skip` asks for a delta.
    pub skip: bool,
}

/// Why a request cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no such path.
    #[error("there is nothing of this name")]
    Path,
    /// A directive is no number.
    #[error("a delivery directive is not as it should be")]
    Directive,
}

impl Request {
    /// Reads a path below the event, without a leading slash, and a query. Other parameters are passed over.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, RequestError> {
        let Some((rendition, file)) = path.split_once('/') else {
            return if path == "index.m3u8" { Ok(Self::Multivariant) } else { Err(RequestError::Path) };
        };
        let rendition = rendition.to_owned();
        if file == "index.m3u8" {
            return Ok(Self::Media { rendition, reload: Reload::parse(query.unwrap_or(""))? });
        }
        let init = file.strip_prefix("init-").and_then(|file| file.strip_suffix(".mp4"));
        if let Some(id) = init.and_then(|id| u64::from_str_radix(id, 16).ok()) {
            return Ok(Self::Init { rendition, id });
        }
        let number = |text: &str| text.parse().map_err(|_| RequestError::Path);
        let media = file.strip_suffix(".m4s").ok_or(RequestError::Path)?;
        match media.split_once('.') {
            Some((msn, part)) => Ok(Self::Part { rendition, msn: number(msn)?, part: number(part)? }),
            None => Ok(Self::Segment { rendition, msn: number(media)? }),
        }
    }
}

impl Reload {
    fn parse(query: &str) -> Result<Self, RequestError> {
        let mut reload = Self::default();
        let number = |value: &str| value.parse().map(Some).map_err(|_| RequestError::Directive);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "_HLS_msn" => reload.msn = number(value)?,
                "_HLS_part" => reload.part = number(value)?,
                "_HLS_skip" => reload.skip = matches!(value, "YES" | "v2"),
                _ => {}
            }
        }
        Ok(reload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_playlists_list() {
        let rendition = || "video-720p".to_owned();
        let table = [
            ("index.m3u8", Ok(Request::Multivariant)),
            ("video-720p/7.m4s", Ok(Request::Segment { rendition: rendition(), msn: 7 })),
            ("video-720p/7.2.m4s", Ok(Request::Part { rendition: rendition(), msn: 7, part: 2 })),
            ("video-720p/init-00ff.mp4", Ok(Request::Init { rendition: rendition(), id: 255 })),
        ];
        for (path, expected) in table {
            assert_eq!(Request::parse(path, None), expected, "{path}");
        }
        for path in ["", "x", "v/", "v/7", "v/7.m4", "v/-1.m4s", "v/7.1.2.m4s", "v/init-.mp4", "a/b/7.m4s"] {
            assert_eq!(Request::parse(path, None), Err(RequestError::Path), "{path}");
        }
    }

    #[test]
    fn directives_are_read_among_other_parameters() {
        let parse = |query| match Request::parse("v/index.m3u8", Some(query)) {
            Ok(Request::Media { reload, .. }) => Some(reload),
            _ => None,
        };
        let reload = Reload { msn: Some(7), part: Some(2), skip: true };
        assert_eq!(parse("t=x&_HLS_msn=7&_HLS_part=2&_HLS_skip=YES"), Some(reload));
        assert_eq!(parse("_HLS_skip=v2&_HLS_report=1"), Some(Reload { skip: true, ..Reload::default() }));
        assert_eq!(parse("_HLS_msn=soon"), None);
        assert_eq!(parse("_HLS_msn=18446744073709551616"), None);
    }
}
