//! Two ends of a session, and the streams between them.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::model::{FullTrackName, Namespace};
use common::session::{
    Carrier, Config, Event, Input, Limits, Output, Role, Session, SessionError, SetupOptions, StreamKey,
};
use common::wire::Version;
use common::wire::message::{Decoder, Message};

pub(crate) const V: Version = Version::Draft18;

pub(crate) fn namespace(id: &str) -> Namespace {
    Namespace::event(id).unwrap()
}

pub(crate) fn track(name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace("event"), name).unwrap()
}

pub(crate) fn config(role: Role) -> Config {
    Config {
        role,
        carrier: Carrier::Quic,
        version: V,
        setup: SetupOptions { path: Some("/event".into()), ..SetupOptions::default() },
        limits: Limits::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin, and only differences count")]
fn epoch() -> Instant {
    Instant::now()
}

/// A small generator of numbers that are the same for the same seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }
}

/// One end, with what it has sent and not yet handed over.
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) events: VecDeque<Event>,
    /// Our streams as the peer calls them.
    theirs: HashMap<StreamKey, StreamKey>,
    sent: VecDeque<Output>,
}

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: End,
    pub(crate) server: End,
    dice: Dice,
}

impl End {
    fn new(now: Instant, config: Config) -> Self {
        let session = Session::new(now, config).unwrap();
        Self { session, events: VecDeque::new(), theirs: HashMap::new(), sent: VecDeque::new() }
    }

    fn collect(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Event(event) => self.events.push_back(event),
                other => self.sent.push_back(other),
            }
        }
    }

    /// The next event, which has to be there.
    pub(crate) fn event(&mut self) -> Event {
        self.collect();
        self.events.pop_front().expect("an event")
    }
}

impl Pair {
    /// Two ends that have exchanged SETUP.
    pub(crate) fn new() -> Self {
        Self::with(config(Role::Client), config(Role::Server))
    }

    pub(crate) fn with(client: Config, server: Config) -> Self {
        let mut pair = Self::silent(client, server);
        pair.drive();
        assert!(matches!(pair.client.event(), Event::Ready(_)));
        assert!(matches!(pair.server.event(), Event::Ready(_)));
        pair
    }

    /// Two ends that have not heard of each other.
    pub(crate) fn silent(client: Config, server: Config) -> Self {
        let now = epoch();
        Self { now, client: End::new(now, client), server: End::new(now, server), dice: Dice(7) }
    }

    /// Hands everything over, in pieces, until both are silent.
    pub(crate) fn drive(&mut self) {
        self.try_drive().unwrap();
    }

    pub(crate) fn try_drive(&mut self) -> Result<(), SessionError> {
        loop {
            self.client.collect();
            self.server.collect();
            let there = deliver(self.now, &mut self.client, &mut self.server, &mut self.dice)?;
            let back = deliver(self.now, &mut self.server, &mut self.client, &mut self.dice)?;
            if !there && !back {
                return Ok(());
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.session.handle(self.now, Input::Timeout).unwrap();
        self.server.session.handle(self.now, Input::Timeout).unwrap();
        self.drive();
    }
}

/// Hands one output over, if there is one.
fn deliver(now: Instant, from: &mut End, to: &mut End, dice: &mut Dice) -> Result<bool, SessionError> {
    let Some(output) = from.sent.pop_front() else { return Ok(false) };
    match output {
        Output::Control(bytes) => {
            for piece in pieces(bytes, dice) {
                to.session.handle(now, Input::ControlBytes(piece))?;
            }
        }
        Output::Open { key } => {
            let theirs = to.session.accept_stream();
            from.theirs.insert(key, theirs);
            to.theirs.insert(theirs, key);
        }
        Output::Send { key, bytes, fin } => {
            let key = from.theirs[&key];
            for piece in pieces(bytes, dice) {
                to.session.handle(now, Input::StreamBytes { key, bytes: piece, fin: false })?;
            }
            if fin {
                to.session.handle(now, Input::StreamBytes { key, bytes: Bytes::new(), fin })?;
            }
        }
        Output::Reset { key, code } => {
            to.session.handle(now, Input::StreamReset { key: from.theirs[&key], code })?;
        }
        Output::Stop { key, code } => {
            to.session.handle(now, Input::StreamStopped { key: from.theirs[&key], code })?;
        }
        Output::Event(_) => unreachable!("events stay where they are"),
    }
    Ok(true)
}

fn pieces(mut bytes: Bytes, dice: &mut Dice) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let len = 1 + dice.roll(bytes.len());
        pieces.push(bytes.split_to(len));
    }
    pieces
}

/// One end, and a peer that says whatever the test wants.
pub(crate) struct Alone {
    pub(crate) now: Instant,
    pub(crate) session: Session,
}

impl Alone {
    /// After the peer's SETUP.
    pub(crate) fn new(role: Role) -> Self {
        let mut alone = Self::silent(config(role));
        let path = (role == Role::Server).then(|| "/event".to_owned());
        let setup = common::wire::message::Setup { path, ..Default::default() };
        alone.control(&Message::Setup(setup)).unwrap();
        alone.outputs();
        alone
    }

    pub(crate) fn silent(config: Config) -> Self {
        let now = epoch();
        Self { now, session: Session::new(now, config).unwrap() }
    }

    pub(crate) fn control(&mut self, message: &Message) -> Result<(), SessionError> {
        self.session.handle(self.now, Input::ControlBytes(message.encode(V).unwrap()))
    }

    /// A new stream of the peer's that begins with this.
    pub(crate) fn request(&mut self, message: &Message) -> Result<StreamKey, SessionError> {
        let key = self.session.accept_stream();
        self.say(key, message).map(|()| key)
    }

    pub(crate) fn say(&mut self, key: StreamKey, message: &Message) -> Result<(), SessionError> {
        self.bytes(key, message.encode(V).unwrap(), false)
    }

    pub(crate) fn bytes(&mut self, key: StreamKey, bytes: Bytes, fin: bool) -> Result<(), SessionError> {
        self.session.handle(self.now, Input::StreamBytes { key, bytes, fin })
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll()).collect()
    }

    /// The messages that were sent on a stream, and the events.
    pub(crate) fn heard(&mut self, stream: StreamKey) -> (Vec<Message>, Vec<Event>) {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        for output in self.outputs() {
            match output {
                Output::Send { key, bytes, .. } if key == stream => decoder.push(&bytes),
                Output::Event(event) => events.push(event),
                _ => {}
            }
        }
        (std::iter::from_fn(|| decoder.next(V).unwrap()).collect(), events)
    }
}
