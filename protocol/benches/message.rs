//! Phoenix messages and stamps, in the sizes of a heartbeat, a join and a measured broadcast.

use c2m_protocol::{
    phoenix::{
        Ref,
        Serializer::{self, V1, V2},
        decode_binary, decode_text, encode_binary_client, encode_broadcast, encode_client, encode_reply,
    },
    stamp::Stamp,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const TOPIC: &str = "rooms:lobby";
const EVENT: &str = "new:msg";
const STAMP: Stamp = Stamp { sequence: 7, due_ns: 1_234_567_890_123, sent_ns: 1_234_567_890_456 };
const FORMS: [(&str, Serializer); 2] = [("v1", V1), ("v2", V2)];

fn payload(payload_bytes: usize) -> String {
    let mut out = Vec::new();
    STAMP.encode(&mut out, payload_bytes);
    String::from_utf8(out).expect("a stamp is ASCII")
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("message_decode");
    let (join_ref, reference) = (Ref::string("1"), Ref::string("42"));
    for (form, serializer) in FORMS {
        let heartbeat = ("phoenix", "heartbeat", "{}".to_owned());
        for (what, (topic, event, payload)) in [("heartbeat", heartbeat), ("push", (TOPIC, EVENT, payload(64)))] {
            let mut out = Vec::new();
            encode_client(&mut out, serializer, &join_ref, &reference, topic, event, &payload);
            let text = String::from_utf8(out).expect("messages are text");
            group.bench_with_input(BenchmarkId::new(what, form), &*text, |b, text| {
                b.iter(|| decode_text(serializer, black_box(text)).expect("the message is right"));
            });
        }
    }
    let mut binary = Vec::new();
    encode_binary_client(&mut binary, &join_ref, &reference, TOPIC, EVENT, &[0; 64]).expect("short fields");
    group.bench_function("push/v2_binary", |b| {
        b.iter(|| decode_binary(black_box(&binary)).expect("the message is right"));
    });
    group.finish();
}

fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("message_encode");
    let (join_ref, reference) = (Ref::string("1"), Ref::string("42"));
    let mut out = Vec::new();
    for (form, serializer) in FORMS {
        group.bench_function(BenchmarkId::new("reply", form), |b| {
            b.iter(|| {
                out.clear();
                encode_reply(&mut out, serializer, black_box(&join_ref), &reference, TOPIC, "ok", "{}");
                out.len()
            });
        });
        let payload = payload(64);
        group.bench_function(BenchmarkId::new("broadcast", form), |b| {
            b.iter(|| {
                out.clear();
                encode_broadcast(&mut out, serializer, TOPIC, EVENT, black_box(&payload));
                out.len()
            });
        });
    }
    group.finish();
}

fn stamping(c: &mut Criterion) {
    let mut group = c.benchmark_group("stamp");
    let mut out = Vec::new();
    for payload_bytes in [64, 1024] {
        group.bench_function(BenchmarkId::new("encode", payload_bytes), |b| {
            b.iter(|| {
                out.clear();
                black_box(STAMP).encode(&mut out, payload_bytes);
                out.len()
            });
        });
        let usual = payload(payload_bytes);
        let body = usual.split('"').nth(3).expect("the stamp is in the body");
        let reordered = format!("{{\"user\":\"\",\"body\":\"{body}\"}}");
        for (what, text) in [("find", &usual), ("find_reordered", &reordered)] {
            group.bench_with_input(BenchmarkId::new(what, payload_bytes), &**text, |b, text| {
                b.iter(|| Stamp::find(black_box(text)).expect("the stamp is there"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decoding, encoding, stamping);
criterion_main!(benches);
