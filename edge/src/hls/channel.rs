//! One event as HLS: objects go in, answers to players come out. It has no clock, no socket and no task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::chunk::ChunkError;
use super::page::Page;
use super::playlist::{self, Report};
use super::rendition::{Arrival, Rendition};
use super::request::{Reload, Request};
use super::schedule::Schedule;
use super::{Settings, multivariant};

/// Renditions of one event: 8 of the picture, and 8 languages. Of 17 segments of 4 s, 2.5 Mb/s each would be
/// 340 MB; a ladder from 2.5 Mb/s down and 8 sounds are 120 MB.
pub(super) const RENDITIONS_MAX: usize = 16;

/// How long an initialization segment may be cached, in seconds: its name is made of its bytes.
const INIT_SECONDS: u64 = 3_600;

/// A track that is offered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Track {
    /// Its name in the event.
    pub name: String,
    /// Picture or sound.
    pub role: Role,
    /// The initialization segment.
    pub init: Bytes,
    /// The codec as RFC 6381 writes it.
    pub codec: Option<String>,
    /// Pixels across.
    pub width: Option<u16>,
    /// Pixels down.
    pub height: Option<u16>,
    /// Pictures a second.
    pub frame_rate: Option<f64>,
    /// Bits a second.
    pub bitrate: Option<u64>,
    /// The language as RFC 5646 writes it.
    pub language: Option<String>,
    /// How many channels of sound.
    pub channels: Option<String>,
}

/// What a track is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// To be seen.
    #[default]
    Video,
    /// To be heard.
    Audio,
}

impl Role {
    fn media_type(self) -> &'static str {
        match self {
            Self::Video => "video/mp4",
            Self::Audio => "audio/mp4",
        }
    }
}

/// What a channel is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The event has these tracks, and no others.
    Tracks(Vec<Track>),
    /// The next object of a track.
    Object {
        /// The track's name.
        track: String,
        /// Whether it is the first of its group.
        starts_group: bool,
        /// Whether something was lost before it.
        lost: bool,
        /// When it was captured, or came: since the Unix epoch.
        wall: Duration,
        /// A CMAF chunk.
        payload: Bytes,
    },
    /// The event is over.
    End,
}

/// What whoever waits for an answer has to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// The tracks, or whether they can be played.
    Event,
    /// The rendition of this name in URLs has another part or segment.
    Rendition(String),
}

/// What a player is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This.
    Found {
        /// The bytes.
        body: Body,
        /// The same compressed with gzip, where that is worth it.
        gzip: Option<Bytes>,
        /// Their media type.
        content_type: &'static str,
        /// For how many seconds a cache may answer with it.
        max_age: u64,
    },
    /// Ask again after this.
    Wait(Output),
    /// There is no such thing, or not any more: 404.
    Missing,
    /// It lies too far in the future, or makes no sense: 400.
    Bad,
}

/// One event.
#[derive(Debug)]
pub struct Channel {
    settings: Settings,
    schedule: Schedule,
    renditions: Vec<Rendition>,
    /// Decoders have to be set up anew with the next group.
    is_renewed: bool,
    is_over: bool,
    multivariant: Page,
    outputs: VecDeque<Output>,
}

impl Channel {
    /// An event of which nothing is known.
    pub fn new(settings: Settings) -> Self {
        Self {
            schedule: Schedule::new(&settings),
            settings,
            renditions: Vec::new(),
            is_renewed: false,
            is_over: false,
            multivariant: Page::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes what comes.
    ///
    /// # Errors
    /// [`ChunkError`] for a track that cannot be read, and for an object, which is dropped. The channel goes
    /// on.
    pub fn handle(&mut self, input: Input) -> Result<(), ChunkError> {
        match input {
            Input::Tracks(tracks) => self.on_tracks(tracks),
            Input::Object { track, starts_group, lost, wall, payload } => {
                let Some(index) = self.renditions.iter().position(|known| known.track.name == track) else {
                    return Ok(());
                };
                let span = self.renditions[index].span(&payload, &self.settings)?;
                self.on_object(index, Arrival { span, starts_group, lost, payload }, wall);
                Ok(())
            }
            Input::End => {
                self.on_end();
                Ok(())
            }
        }
    }

    /// What has changed, for those who wait.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the event is over.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether there is something to play.
    pub fn is_ready(&self) -> bool {
        self.leader().is_some_and(|leader| self.renditions[leader].last_part().is_some())
    }
}

// What comes in.
impl Channel {
    fn on_tracks(&mut self, mut tracks: Vec<Track>) -> Result<(), ChunkError> {
        tracks.truncate(RENDITIONS_MAX);
        let mut outcome = Ok(());
        let mut changed = false;
        self.renditions.retain(|rendition| {
            let stays = tracks.iter().any(|track| track.name == rendition.track.name);
            if !stays {
                changed = true;
                self.outputs.push_back(Output::Rendition(rendition.slug.clone()));
            }
            stays
        });
        for track in tracks {
            let known = self.renditions.iter_mut().find(|known| known.track.name == track.name);
            let done = match known {
                Some(known) if known.track == track => continue,
                Some(known) => known.renew(track).map(|renewed| self.is_renewed |= renewed),
                None => {
                    let slug = self.slug(&track.name);
                    Rendition::new(track, slug).map(|rendition| self.renditions.push(rendition))
                }
            };
            changed = true;
            outcome = outcome.and(done);
        }
        if changed {
            self.list();
        }
        outcome
    }

    fn on_object(&mut self, index: usize, arrival: Arrival, wall: Duration) {
        if self.is_over {
            return;
        }
        let was_ready = self.is_ready();
        if self.leader() == Some(index) {
            self.schedule.lead(&arrival, wall, self.is_renewed);
            let begun = self.schedule.newest().is_some_and(|cut| cut.start == arrival.span.start);
            // What the catalog said comes into force where a group begins.
            self.is_renewed &= !(begun && arrival.starts_group);
            self.renditions[index].take_as_leader(arrival, &self.schedule);
        } else {
            self.renditions[index].take(arrival);
        }
        let (schedule, settings) = (&self.schedule, &self.settings);
        let settle = |rendition: &mut Rendition| rendition.settle(schedule, settings);
        let changed: Vec<bool> = self.renditions.iter_mut().map(settle).collect();
        for (index, _) in changed.into_iter().enumerate().filter(|(_, changed)| *changed) {
            self.render(index);
        }
        if !was_ready && self.is_ready() {
            self.list();
        }
    }

    fn on_end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.renditions.iter_mut().for_each(|rendition| rendition.finish(&self.settings));
            (0..self.renditions.len()).for_each(|index| self.render(index));
            self.list();
        }
    }

    /// The track whose groups decide where segments begin.
    fn leader(&self) -> Option<usize> {
        let of = |role| self.renditions.iter().position(move |rendition| rendition.track.role == role);
        of(Role::Video).or_else(|| of(Role::Audio))
    }

    /// A name of a path's one segment that no other track has.
    fn slug(&self, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let mut slug: String = name.chars().map(plain).collect();
        while slug.is_empty() || self.renditions.iter().any(|rendition| rendition.slug == slug) {
            slug.push('_');
        }
        slug
    }

    fn render(&mut self, index: usize) {
        let rendition = &self.renditions[index];
        let others = self.renditions.iter().filter(|other| other.slug != rendition.slug);
        let reports: Vec<Report<'_>> =
            others.filter_map(|it| Some(Report { slug: &it.slug, last: it.last_part()? })).collect();
        let expected = rendition.open().map_or(self.settings.target_duration, |open| {
            self.schedule.length(open.head.msn).unwrap_or_else(|| self.schedule.expected_length())
        });
        let page =
            |skip| playlist::render(rendition, &self.settings, &reports, expected, self.is_over, skip).into();
        let (full, delta) = (page(false), page(true));
        let rendition = &mut self.renditions[index];
        (rendition.full, rendition.delta) = (full, delta);
        self.outputs.push_back(Output::Rendition(rendition.slug.clone()));
    }

    fn list(&mut self) {
        self.multivariant = multivariant::render(&self.renditions, self.schedule.is_independent()).into();
        self.outputs.push_back(Output::Event);
    }
}

// What is asked.
impl Channel {
    /// What a player is answered now.
    pub fn ask(&self, request: &Request) -> Answer {
        if !self.is_ready() {
            return if self.is_over { Answer::Missing } else { Answer::Wait(Output::Event) };
        }
        let name = match request {
            Request::Multivariant => {
                return listed(&self.multivariant, self.settings.target_duration.as_secs());
            }
            Request::Media { rendition, .. }
            | Request::Init { rendition, .. }
            | Request::Segment { rendition, .. }
            | Request::Part { rendition, .. } => rendition,
        };
        let Some(rendition) = self.renditions.iter().find(|known| known.slug == *name) else {
            return Answer::Missing;
        };
        match *request {
            Request::Multivariant => Answer::Missing,
            Request::Media { reload, .. } => self.media(rendition, reload),
            Request::Init { id, .. } => match rendition.init(id) {
                Some(init) => found(init.clone(), rendition.track.role.media_type(), INIT_SECONDS),
                None => Answer::Missing,
            },
            Request::Segment { msn, .. } => {
                let objects = rendition.segment(msn).and_then(|segment| segment.objects.clone());
                objects.map_or(Answer::Missing, |objects| self.objects(rendition, objects))
            }
            Request::Part { msn, part, .. } => self.part(rendition, msn, part),
        }
    }

    fn media(&self, rendition: &Rendition, Reload { msn, part, skip }: Reload) -> Answer {
        let page = if skip { &rendition.delta } else { &rendition.full };
        let Some(next) = rendition.next_msn() else { return self.wait(rendition) };
        if self.is_over || !rendition.has_parts(&self.settings) {
            let max_age = (self.settings.target_duration / 2).as_secs().max(1);
            // A player that begins with less than it takes until the next segment stalls at once.
            let length: Duration = rendition.listed(&self.settings).map(|segment| segment.duration).sum();
            return if self.is_over || length > self.settings.target_duration {
                listed(&rendition.full, max_age)
            } else {
                self.wait(rendition)
            };
        }
        match (msn, part) {
            (None, Some(_)) => Answer::Bad,
            // Players take a playlist without a complete segment for an error.
            (None, None) if rendition.listed(&self.settings).next().is_none() => self.wait(rendition),
            (None, None) => listed(page, self.settings.part.as_secs().max(1)),
            (Some(msn), part) if self.is_too_far(rendition, next, msn, part) => Answer::Bad,
            (Some(msn), part) if has(rendition, next, msn, part) => listed(page, self.media_seconds()),
            (Some(_), _) => self.wait(rendition),
        }
    }

    /// More than two segments after the last that is complete, or more parts ahead than may be (6.2.5.2).
    fn is_too_far(&self, rendition: &Rendition, next: u64, msn: u64, part: Option<u64>) -> bool {
        let there = rendition.parts(next).map_or(0, |(parts, _)| parts.len() as u64);
        let advance = self.settings.advance_parts();
        match msn.checked_sub(next) {
            None => false,
            Some(0) => part.is_some_and(|part| part >= there + advance),
            Some(1) => part.is_some_and(|part| part >= advance),
            Some(_) => true,
        }
    }

    fn part(&self, rendition: &Rendition, msn: u64, part: u64) -> Answer {
        let Some(next) = rendition.next_msn() else { return Answer::Missing };
        let is_next = match rendition.parts(msn) {
            Some((parts, is_complete)) => match usize::try_from(part).ok().and_then(|part| parts.get(part)) {
                Some(part) => return self.objects(rendition, part.objects.clone()),
                None => !is_complete && part == parts.len() as u64,
            },
            None => part == 0 && (msn == next || msn == next + 1),
        };
        // It is the one that is hinted at, or may be.
        if is_next && !self.is_over { self.wait(rendition) } else { Answer::Missing }
    }

    fn objects(&self, rendition: &Rendition, objects: Arc<[Bytes]>) -> Answer {
        found(objects, rendition.track.role.media_type(), self.media_seconds())
    }

    fn wait(&self, rendition: &Rendition) -> Answer {
        if self.is_over { Answer::Missing } else { Answer::Wait(Output::Rendition(rendition.slug.clone())) }
    }

    /// How long media and answers to blocking requests may be cached: they do not change.
    fn media_seconds(&self) -> u64 {
        self.settings.skip_until().as_secs()
    }
}

fn listed(page: &Page, max_age: u64) -> Answer {
    let body = page.text.clone().into();
    Answer::Found { body, gzip: page.gzip.clone(), content_type: PLAYLIST, max_age }
}

fn found(body: impl Into<Body>, content_type: &'static str, max_age: u64) -> Answer {
    Answer::Found { body: body.into(), gzip: None, content_type, max_age }
}

/// Whether the playlist has this segment, or this part of it. A part after a segment's last is the first of
/// the next segment (6.2.5.2).
fn has(rendition: &Rendition, next: u64, msn: u64, part: Option<u64>) -> bool {
    let Some(part) = part else { return msn < next };
    match rendition.parts(msn) {
        Some((parts, _)) if part < parts.len() as u64 => true,
        Some((_, true)) => rendition.parts(msn + 1).is_some_and(|(parts, done)| done || !parts.is_empty()),
        Some((_, false)) => false,
        None => msn < next,
    }
}

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
