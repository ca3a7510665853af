//! Any datagram: what was read can be written and read again, also with one more property.
#![no_main]

use bytes::Bytes;
use common::model::{ObjectStatus, PROPERTY_CAPTURE_TIME};
use common::wire::datagram::{Datagram, ObjectDatagram};
use common::wire::properties::{OBJECT_PROPERTIES_BYTES_MAX, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Datagram::Object(object)) = Datagram::decode(Bytes::copy_from_slice(bytes)) else { return };
    check(&object);
    if matches!(object.status, None | Some(ObjectStatus::Normal)) {
        check(&probed(object));
    }
});

fn check(object: &ObjectDatagram) {
    assert_eq!(Datagram::decode(object.encode()), Ok(Datagram::Object(object.clone())));
}

fn probed(object: ObjectDatagram) -> ObjectDatagram {
    let properties = object.properties.with(PROPERTY_CAPTURE_TIME, &Value::Number(7)).expect("a number");
    let all = properties.iter().count();
    assert_eq!(all, object.properties.iter().count() + 1);
    if properties.bytes().len() > OBJECT_PROPERTIES_BYTES_MAX {
        return object;
    }
    ObjectDatagram { properties, ..object }
}
