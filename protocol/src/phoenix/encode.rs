//! Writing text messages: each function appends the text of one message, in the key order and spacing of Phoenix 1.8.
//! Stateless. `*_json` arguments are the text of one JSON value and are written as they are.

use super::{Ref, Serializer, event};

/// One message about to be written.
struct Parts<'a> {
    join_ref: &'a str,
    reference: &'a str,
    topic: &'a str,
    event: &'a str,
}

const NULL: &str = "null";

impl Parts<'_> {
    /// Appends the message; `payload` appends the payload.
    fn write(&self, out: &mut Vec<u8>, serializer: Serializer, payload: impl FnOnce(&mut Vec<u8>)) {
        match serializer {
            Serializer::V1 => {
                push(out, "{\"event\":");
                push_string(out, self.event);
                push(out, ",\"payload\":");
                payload(out);
                push(out, ",\"ref\":");
                push(out, self.reference);
                push(out, ",\"topic\":");
                push_string(out, self.topic);
                push(out, "}");
            }
            Serializer::V2 => {
                push(out, "[");
                push(out, self.join_ref);
                push(out, ",");
                push(out, self.reference);
                push(out, ",");
                push_string(out, self.topic);
                push(out, ",");
                push_string(out, self.event);
                push(out, ",");
                payload(out);
                push(out, "]");
            }
        }
    }
}

#[inline]
fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends `text` as a JSON string.
fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON and writing to a Vec does not fail");
}

/// Appends a `phx_reply` with `status` and a response.
pub fn encode_reply(
    out: &mut Vec<u8>,
    serializer: Serializer,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    status: &str,
    response_json: &str,
) {
    let (join_ref, reference) = (join_ref.as_json(), reference.as_json());
    Parts { join_ref, reference, topic, event: event::REPLY }.write(out, serializer, |out| {
        push(out, "{\"response\":");
        push(out, response_json);
        push(out, ",\"status\":");
        push_string(out, status);
        push(out, "}");
    });
}

/// Appends a message from the server to one joined client.
pub fn encode_push(
    out: &mut Vec<u8>,
    serializer: Serializer,
    join_ref: &Ref,
    topic: &str,
    event: &str,
    payload_json: &str,
) {
    Parts { join_ref: join_ref.as_json(), reference: NULL, topic, event }
        .write(out, serializer, |out| push(out, payload_json));
}

/// Appends a message to everyone on the topic: the same bytes for each, hence no refs.
pub fn encode_broadcast(out: &mut Vec<u8>, serializer: Serializer, topic: &str, event: &str, payload_json: &str) {
    Parts { join_ref: NULL, reference: NULL, topic, event }.write(out, serializer, |out| push(out, payload_json));
}

/// Appends a `phx_close`: the join that `join_ref` names has ended in order.
pub fn encode_close(out: &mut Vec<u8>, serializer: Serializer, join_ref: &Ref, topic: &str) {
    let join_ref = join_ref.as_json();
    Parts { join_ref, reference: join_ref, topic, event: event::CLOSE }.write(out, serializer, |out| push(out, "{}"));
}

/// Appends a `phx_error`: the channel of the join that `join_ref` names has crashed.
pub fn encode_error(out: &mut Vec<u8>, serializer: Serializer, join_ref: &Ref, topic: &str, payload_json: &str) {
    let join_ref = join_ref.as_json();
    Parts { join_ref, reference: join_ref, topic, event: event::ERROR }
        .write(out, serializer, |out| push(out, payload_json));
}

/// Appends a message from a client. Version 1 carries `join_ref` only when there is one, as `phoenix.js` did.
pub fn encode_client(
    out: &mut Vec<u8>,
    serializer: Serializer,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    event: &str,
    payload_json: &str,
) {
    let parts = Parts { join_ref: join_ref.as_json(), reference: reference.as_json(), topic, event };
    parts.write(out, serializer, |out| push(out, payload_json));
    if serializer == Serializer::V1 && !join_ref.is_null() {
        out.pop();
        push(out, ",\"join_ref\":");
        push(out, join_ref.as_json());
        push(out, "}");
    }
}
