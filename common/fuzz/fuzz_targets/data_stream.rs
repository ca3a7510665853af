//! Any bytes on a unidirectional stream: a head waits for just its last byte, and what was read can be
//! written and read again.
#![no_main]

use bytes::BytesMut;
use common::model::GroupOrder;
use common::wire::data::{
    FetchContext, FetchEntry, ObjectHead, StreamHeader, SubgroupHeader, encode_object_head,
};
use libfuzzer_sys::fuzz_target;

const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((header, len))) = StreamHeader::decode(bytes) else { return };
    match header {
        StreamHeader::Subgroup(header) => {
            assert_eq!(StreamHeader::decode(&bytes[..len - 1]), Ok(None));
            let mut again = BytesMut::new();
            header.encode(&mut again);
            let expected = (StreamHeader::Subgroup(header), again.len());
            assert_eq!(StreamHeader::decode(&again), Ok(Some(expected)));
            objects(&header, &bytes[len..]);
        }
        StreamHeader::Fetch(_) => {
            entries(GroupOrder::Ascending, &bytes[len..]);
            entries(GroupOrder::Descending, &bytes[len..]);
        }
        StreamHeader::Control | StreamHeader::Padding => {}
    }
});

fn objects(header: &SubgroupHeader, mut bytes: &[u8]) {
    let mut previous = None;
    let read = |bytes: &[u8], previous| {
        ObjectHead::decode(bytes, header.has_properties, previous, PAYLOAD_BYTES_MAX)
    };
    while let Ok(Some((head, len))) = read(bytes, previous) {
        assert_eq!(read(&bytes[..len - 1], previous), Ok(None));
        let (properties, mut again) = (head.properties.bytes(), BytesMut::new());
        let (id, has) = (head.id, header.has_properties);
        encode_object_head(previous, id, properties, has, head.payload_len, head.status, &mut again);
        assert_eq!(read(&again, previous), Ok(Some((head.clone(), again.len()))));
        previous = Some(id);
        bytes = bytes.get(len + head.payload_len as usize..).unwrap_or_default();
    }
}

fn entries(order: GroupOrder, mut bytes: &[u8]) {
    let new = || FetchContext::new(order);
    let (mut came, mut went, mut comes_again) = (new(), new(), new());
    loop {
        let before = came.clone();
        let Ok(Some((entry, len))) = came.decode(bytes, PAYLOAD_BYTES_MAX) else { return };
        assert_eq!(before.clone().decode(&bytes[..len - 1], PAYLOAD_BYTES_MAX), Ok(None));
        let mut again = BytesMut::new();
        went.encode(&entry, &mut again);
        let expected = (entry.clone(), again.len());
        assert_eq!(comes_again.decode(&again, PAYLOAD_BYTES_MAX), Ok(Some(expected)));
        let payload_len = match entry {
            FetchEntry::Object(head) => head.payload_len as usize,
            FetchEntry::NonExistent(_) | FetchEntry::Unknown(_) => 0,
        };
        bytes = bytes.get(len + payload_len..).unwrap_or_default();
    }
}
