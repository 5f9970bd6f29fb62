//! Text messages of either serializer, held against `serde_json`'s own reading and against themselves.

use c2m_protocol::phoenix::{
    self, Message, Payload, Ref,
    Serializer::{self, V1, V2},
};
use c2m_protocol::stamp::Stamp;
use serde_json::Value;

/// Reads `data` as a message and holds the result to what it must be:
/// - what has the shape of a message, by `serde_json`'s reading, is one, with those fields; what has not is none;
/// - written again it reads the same, and from then on the bytes stay;
/// - what a server would make of it reads as what was put in.
pub fn check(serializer: Serializer, data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let message = phoenix::decode_text(serializer, text);
    // Fails also on what is JSON: deep nesting, numbers beyond f64, lone surrogates. Then there is nothing to compare to.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        match (fields(serializer, &value), &message) {
            (Some(fields), Ok(message)) => agree(fields, message),
            (None, Err(_)) => {}
            (expected, found) => panic!("{text:?} is {expected:?} by its shape, read as {found:?}"),
        }
    }
    if let Ok(message) = message {
        round_trip(serializer, &message);
        from_a_server(serializer, &message);
    }
}

type Fields<'a> = (&'a Value, &'a Value, &'a str, &'a str, &'a Value);

fn fields(serializer: Serializer, value: &Value) -> Option<Fields<'_>> {
    match serializer {
        V1 => {
            let topic = value.get("topic")?.as_str()?;
            let event = value.get("event")?.as_str()?;
            let join_ref = value.get("join_ref").unwrap_or(&Value::Null);
            Some((join_ref, value.get("ref")?, topic, event, value.get("payload")?))
        }
        V2 => match value.as_array()?.as_slice() {
            [join_ref, reference, Value::String(topic), Value::String(event), payload, ..] => {
                Some((join_ref, reference, topic, event, payload))
            }
            _ => None,
        },
    }
}

fn agree((join_ref, reference, topic, event, payload): Fields<'_>, message: &Message<'_>) {
    let value = |json: &str| serde_json::from_str::<Value>(json).expect("a part of JSON is JSON");
    assert_eq!((&*message.topic, &*message.event), (topic, event));
    assert_eq!((&value(message.join_ref.as_json()), &value(message.reference.as_json())), (join_ref, reference));
    assert_eq!(message.join_ref.is_null(), join_ref.is_null());
    assert_eq!(&value(json_of(message)), payload);
}

fn json_of<'a>(message: &Message<'a>) -> &'a str {
    match message.payload {
        Payload::Json(json) => json,
        Payload::Binary(_) => panic!("a text message has a text payload"),
    }
}

fn round_trip(serializer: Serializer, message: &Message<'_>) {
    let write = |message: &Message<'_>| {
        let Message { join_ref, reference, topic, event, .. } = message;
        let mut out = Vec::new();
        phoenix::encode_client(&mut out, serializer, join_ref, reference, topic, event, json_of(message));
        String::from_utf8(out).expect("text makes text")
    };
    let once = write(message);
    let again = phoenix::decode_text(serializer, &once).expect("what was written is read");
    assert_eq!(&again, message);
    assert_eq!(write(&again), once);
}

fn from_a_server(serializer: Serializer, message: &Message<'_>) {
    let Message { join_ref, reference, topic, event, .. } = message;
    let json = json_of(message);
    let read = |out: Vec<u8>, expected: (&Ref, &Ref, &str)| {
        let text = String::from_utf8(out).expect("text makes text");
        let message = phoenix::decode_server_text(serializer, &text).expect("what was written is read");
        let null = Ref::null();
        // Version 1 says no join ref.
        let join_ref = if serializer == V1 { &null } else { expected.0 };
        assert_eq!((&message.join_ref, &message.reference, &*message.event), (join_ref, expected.1, expected.2));
        assert_eq!(message.topic, *topic);
        json_of(&message).to_owned()
    };
    let null = Ref::null();
    let mut out = Vec::new();
    phoenix::encode_broadcast(&mut out, serializer, topic, event, json);
    assert_eq!(read(out, (&null, &null, event)), json);

    let mut out = Vec::new();
    phoenix::encode_push(&mut out, serializer, join_ref, topic, event, json);
    assert_eq!(read(out, (join_ref, &null, event)), json);

    let mut out = Vec::new();
    phoenix::encode_reply(&mut out, serializer, join_ref, reference, topic, event, json);
    let payload = read(out, (join_ref, reference, phoenix::event::REPLY));
    let reply = phoenix::parse_reply(&payload).expect("a reply");
    assert_eq!((&*reply.status, reply.response, reply.ok), (&**event, json, event == "ok"));

    let mut out = Vec::new();
    phoenix::encode_close(&mut out, serializer, join_ref, topic);
    assert_eq!(read(out, (join_ref, join_ref, phoenix::event::CLOSE)), "{}");

    let mut out = Vec::new();
    phoenix::encode_error(&mut out, serializer, join_ref, topic, json);
    assert_eq!(read(out, (join_ref, join_ref, phoenix::event::ERROR)), json);

    if let Some(stamp) = Stamp::find(json) {
        let mut out = Vec::new();
        stamp.encode(&mut out, c2m_protocol::stamp::MIN_PAYLOAD_BYTES);
        assert_eq!(Stamp::find(str::from_utf8(&out).expect("text")), Some(stamp));
    }
}
