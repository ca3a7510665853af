//! Any objects come out of streams and datagrams as they went in, however their bytes are cut.

use bytes::{Buf, Bytes, BytesMut};
use common::model::{GroupOrder, ObjectStatus};
use common::wire::data::*;
use common::wire::datagram::{Datagram, ObjectDatagram};
use common::wire::properties::{Properties, Value};
use proptest::prelude::*;

use crate::arbitrary::*;

/// More than any payload here.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

proptest! {
    #[test]
    fn a_subgroup_comes_out_of_its_stream_as_it_went_in(
        (header, objects) in subgroup(),
        cuts in cuts(),
    ) {
        let bytes = subgroup_stream(&header, &objects);
        let mut stream = Incoming::default();
        for piece in pieces(&bytes, &cuts) {
            stream.take(piece);
        }
        prop_assert_eq!(stream.header, Some(StreamHeader::Subgroup(header)));
        prop_assert_eq!(stream.objects, objects);
        prop_assert!(stream.buffer.is_empty());
    }

    #[test]
    fn the_answer_to_a_fetch_comes_out_of_its_stream_as_it_went_in(
        request_id in number(),
        (order, entries) in answer(),
        cuts in cuts(),
    ) {
        let bytes = fetch_stream(request_id, order, &entries);
        let mut stream = Incoming { context: FetchContext::new(order), ..Incoming::default() };
        for piece in pieces(&bytes, &cuts) {
            stream.take(piece);
        }
        prop_assert_eq!(stream.header, Some(StreamHeader::Fetch(request_id)));
        prop_assert_eq!(stream.entries, entries);
        prop_assert!(stream.buffer.is_empty());
    }

    #[test]
    fn a_head_waits_for_its_last_byte((header, objects) in subgroup(), (order, entries) in answer()) {
        let mut bytes = BytesMut::new();
        header.encode(&mut bytes);
        for len in 0..bytes.len() {
            prop_assert_eq!(StreamHeader::decode(&bytes[..len]), Ok(None));
        }
        for (object, _) in objects {
            let mut bytes = BytesMut::new();
            encode_object(None, &object, header.has_properties, &mut bytes);
            for len in 0..bytes.len() {
                let head = ObjectHead::decode(&bytes[..len], header.has_properties, None, PAYLOAD_BYTES_MAX);
                prop_assert_eq!(head, Ok(None));
            }
        }
        let (mut out, mut back) = (FetchContext::new(order), FetchContext::new(order));
        for (entry, _) in entries {
            let mut bytes = BytesMut::new();
            out.encode(&entry, &mut bytes);
            for len in 0..bytes.len() {
                prop_assert_eq!(back.decode(&bytes[..len], PAYLOAD_BYTES_MAX), Ok(None));
            }
            prop_assert_eq!(back.decode(&bytes, PAYLOAD_BYTES_MAX), Ok(Some((entry, bytes.len()))));
        }
    }

    #[test]
    fn a_datagram_comes_out_as_it_went_in(datagram in object_datagram()) {
        prop_assert_eq!(Datagram::decode(datagram.encode()), Ok(Datagram::Object(datagram)));
    }

    #[test]
    fn one_more_property_is_the_only_difference(properties in object_properties(), kind in number(), value in number()) {
        let kind = kind & !1;
        let pair = (kind, Value::Number(value));
        let more = properties.with(kind, &pair.1).unwrap();
        let mut expected: Vec<_> = properties.iter().chain([pair]).collect();
        expected.sort_by_key(|(kind, _)| *kind);
        prop_assert_eq!(more.iter().collect::<Vec<_>>(), expected);
        prop_assert!(Properties::decode(more.bytes().clone()).is_ok());
    }

    #[test]
    fn a_datagram_that_is_cut_is_not_the_same(datagram in object_datagram()) {
        let bytes = datagram.encode();
        for len in 0..bytes.len() {
            prop_assert_ne!(Datagram::decode(bytes.slice(..len)), Ok(Datagram::Object(datagram.clone())));
        }
    }
}

/// The second example of the draft (11.6), with the lengths that its properties really have.
#[test]
fn a_group_on_a_stream_whose_first_object_has_properties() {
    let properties = Properties::new([
        (4, Value::Number(2_186_796_243)),
        (77, Value::Bytes(Bytes::from_static(b"traceID:123456"))),
    ])
    .unwrap();
    let bytes = [
        &[0x35, 2, 0, 0][..], // type, alias, group, subgroup; the priority is the track's
        &[0, 22, 4, 0xf0, 0x82, 0x57, 0xdc, 0xd3, 73, 14],
        b"traceID:123456",
        &[4],
        b"abcd",
        &[0, 0, 4],
        b"efgh",
    ]
    .concat();
    let mut stream = Incoming::default();
    stream.take(&bytes);
    let Some(StreamHeader::Subgroup(header)) = stream.header else { panic!("{:?}", stream.header) };
    assert_eq!((header.alias, header.group, header.subgroup, header.priority), (2, 0, Some(0), None));
    let head = |id, properties| ObjectHead { id, properties, payload_len: 4, status: ObjectStatus::Normal };
    let first = (head(0, properties), Bytes::from_static(b"abcd"));
    let second = (head(1, Properties::default()), Bytes::from_static(b"efgh"));
    assert_eq!(stream.objects, [first, second]);
}

#[test]
fn other_streams_are_told_apart() {
    assert_eq!(StreamHeader::decode(&[0xaf, 0x00, 9, 9]), Ok(Some((StreamHeader::Control, 0))));
    let padding = [0xf0, 0x13, 0x2b, 0x3e, 0x28, 0, 0];
    assert_eq!(StreamHeader::decode(&padding), Ok(Some((StreamHeader::Padding, 5))));
    let padding = Bytes::from_static(&[0xf0, 0x13, 0x2b, 0x3e, 0x29, 0, 0]);
    assert_eq!(Datagram::decode(padding), Ok(Datagram::Padding));
}

/// A data stream being read as a driver would: heads from a buffer, payloads whole.
#[derive(Default)]
struct Incoming {
    buffer: BytesMut,
    header: Option<StreamHeader>,
    context: FetchContext,
    head: Option<Head>,
    objects: Vec<(ObjectHead, Bytes)>,
    entries: Vec<(FetchEntry, Bytes)>,
}

/// A head whose payload has not come yet.
enum Head {
    Object(ObjectHead),
    Entry(FetchEntry),
}

impl Incoming {
    fn take(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while self.advance() {}
    }

    /// Reads one thing; whether there was one.
    fn advance(&mut self) -> bool {
        match (self.header, self.head.take()) {
            (None, _) => match StreamHeader::decode(&self.buffer).unwrap() {
                Some((header, len)) => {
                    self.buffer.advance(len);
                    self.header = Some(header);
                    true
                }
                None => false,
            },
            (Some(header), None) => match self.read_head(header) {
                Some((head, len)) => {
                    self.buffer.advance(len);
                    self.head = Some(head);
                    true
                }
                None => false,
            },
            (_, Some(head)) => self.read_payload(head),
        }
    }

    fn read_head(&mut self, header: StreamHeader) -> Option<(Head, usize)> {
        if let StreamHeader::Subgroup(header) = header {
            let previous = self.objects.last().map(|(head, _)| head.id);
            let head = ObjectHead::decode(&self.buffer, header.has_properties, previous, PAYLOAD_BYTES_MAX);
            return head.unwrap().map(|(head, len)| (Head::Object(head), len));
        }
        let entry = self.context.decode(&self.buffer, PAYLOAD_BYTES_MAX);
        entry.unwrap().map(|(entry, len)| (Head::Entry(entry), len))
    }

    fn read_payload(&mut self, head: Head) -> bool {
        let len = match &head {
            Head::Object(head) => head.payload_len as usize,
            Head::Entry(FetchEntry::Object(head)) => head.payload_len as usize,
            Head::Entry(_) => 0,
        };
        if self.buffer.len() < len {
            self.head = Some(head);
            return false;
        }
        let payload = self.buffer.split_to(len).freeze();
        match head {
            Head::Object(head) => self.objects.push((head, payload)),
            Head::Entry(entry) => self.entries.push((entry, payload)),
        }
        true
    }
}

pub(crate) fn subgroup() -> impl Strategy<Value = (SubgroupHeader, Vec<(ObjectHead, Bytes)>)> {
    subgroup_header().prop_flat_map(|header| (Just(header), objects(header.has_properties)))
}

pub(crate) fn answer() -> impl Strategy<Value = (GroupOrder, Vec<(FetchEntry, Bytes)>)> {
    order().prop_flat_map(|order| (Just(order), fetch_entries(order)))
}

pub(crate) fn subgroup_stream(header: &SubgroupHeader, objects: &[(ObjectHead, Bytes)]) -> BytesMut {
    let mut out = BytesMut::new();
    header.encode(&mut out);
    let mut previous = None;
    for (head, payload) in objects {
        encode_object(previous, head, header.has_properties, &mut out);
        out.extend_from_slice(payload);
        previous = Some(head.id);
    }
    out
}

fn encode_object(previous: Option<u64>, head: &ObjectHead, has_properties: bool, out: &mut BytesMut) {
    let properties = head.properties.bytes();
    encode_object_head(previous, head.id, properties, has_properties, head.payload_len, head.status, out);
}

fn fetch_stream(request_id: u64, order: GroupOrder, entries: &[(FetchEntry, Bytes)]) -> BytesMut {
    let mut out = BytesMut::new();
    encode_fetch_header(request_id, &mut out);
    let mut context = FetchContext::new(order);
    for (entry, payload) in entries {
        context.encode(entry, &mut out);
        out.extend_from_slice(payload);
    }
    out
}

#[test]
fn empty_datagrams_of_an_object_keep_their_kind() {
    let empty = ObjectDatagram {
        alias: 1,
        group: 2,
        object: 0,
        priority: None,
        end_of_group: true,
        properties: Properties::default(),
        status: None,
        payload: Bytes::new(),
    };
    assert_eq!(&empty.encode()[..], [0x0e, 1, 2]);
    let marker = ObjectDatagram { end_of_group: false, status: Some(ObjectStatus::EndOfTrack), ..empty };
    assert_eq!(&marker.encode()[..], [0x2c, 1, 2, 4]);
}
