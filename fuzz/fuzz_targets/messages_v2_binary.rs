//! Input: one binary message of a client, serializer 2.0.0.
//!
//! - It is read exactly when its kind, its lengths and its text say so, and written again it is the same bytes.
//! - What a server makes of its fields has the layout of `V2.JSONSerializer`; a field over 255 bytes is refused, and
//!   nothing is written.

#![no_main]

use c2m_protocol::phoenix::{
    DecodeError, FieldTooLong, Message, Payload, Ref, decode_binary, encode_binary_broadcast, encode_binary_client,
    encode_binary_push, encode_binary_reply,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));

fn check(data: &[u8]) {
    match decode_binary(data) {
        Ok(message) => {
            let (fields, rest) = split(data, 4).expect("kind and lengths are there");
            let [join_ref, reference] = [&message.join_ref, &message.reference].map(|kept| {
                let text: Option<String> = serde_json::from_str(kept.as_json()).expect("a string, or null for none");
                text.unwrap_or_default()
            });
            assert_eq!(
                fields,
                [join_ref.as_bytes(), reference.as_bytes(), message.topic.as_bytes(), message.event.as_bytes()]
            );
            assert_eq!((data[0], message.payload), (0, Payload::Binary(rest)));
            let Message { join_ref, reference, topic, event, .. } = &message;
            let mut again = Vec::new();
            encode_binary_client(&mut again, join_ref, reference, topic, event, rest)
                .expect("its fields were short enough");
            assert_eq!(again, data);
        }
        Err(DecodeError::Kind(kind)) => assert!(kind != 0 && kind == data[0]),
        Err(DecodeError::Truncated) => assert!(split(data, 4).is_none()),
        Err(DecodeError::Utf8) => {
            let mut fields = (0..4).filter_map(|n| field(data, 4, n));
            assert!(fields.any(|field| str::from_utf8(field).is_err()));
        }
        Err(error) => panic!("of a binary message: {error}"),
    }
    from_a_server(data);
}

/// Field number `n` of a message with `count` lengths behind its kind.
fn field(message: &[u8], count: usize, n: usize) -> Option<&[u8]> {
    let lengths = message.get(1..=count)?;
    let start = 1 + count + lengths[..n].iter().map(|&length| usize::from(length)).sum::<usize>();
    message.get(start..start + usize::from(lengths[n]))
}

/// All its fields, and the data behind them.
fn split(message: &[u8], count: usize) -> Option<(Vec<&[u8]>, &[u8])> {
    let fields = (0..count).map(|n| field(message, count, n)).collect::<Option<Vec<_>>>()?;
    let start = 1 + count + fields.iter().map(|field| field.len()).sum::<usize>();
    Some((fields, &message[start..]))
}

/// The input as four fields, cut where its first four bytes say, each repeated by the fifth so that some are too long.
fn from_a_server(data: &[u8]) {
    let [cuts @ .., times] = data.first_chunk::<5>().copied().unwrap_or_default();
    let Ok(mut text) = str::from_utf8(data.get(5..).unwrap_or_default()) else { return };
    let fields = cuts.map(|cut| {
        let (field, after) = text.split_at(text.floor_char_boundary(usize::from(cut)));
        text = after;
        field.repeat(usize::from(times % 32))
    });
    let [join_ref, reference, topic, event] = fields.each_ref().map(String::as_str);
    let (join, own) = (Ref::string(join_ref), Ref::string(reference));
    let write: [(u8, &[&str], &Write<'_>); 3] = [
        (0, &[join_ref, topic, event], &|out| encode_binary_push(out, &join, topic, event, data)),
        (1, &[join_ref, reference, topic, event], &|out| encode_binary_reply(out, &join, &own, topic, event, data)),
        (2, &[topic, event], &|out| encode_binary_broadcast(out, topic, event, data)),
    ];
    for (kind, fields, write) in write {
        let mut out = b"before".to_vec();
        match write(&mut out) {
            Ok(()) => {
                let written = out.strip_prefix(b"before").expect("it appends");
                let (read, rest) = split(written, fields.len()).expect("a whole message");
                assert!(read.into_iter().eq(fields.iter().map(|field| field.as_bytes())));
                assert_eq!((written[0], rest), (kind, data));
            }
            Err(FieldTooLong { bytes, .. }) => {
                assert_eq!(out, b"before");
                assert_eq!(fields.iter().map(|field| field.len()).find(|&length| length > 255), Some(bytes));
            }
        }
    }
}

type Write<'a> = dyn Fn(&mut Vec<u8>) -> Result<(), FieldTooLong> + 'a;
