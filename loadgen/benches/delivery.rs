//! What one delivery costs a worker beside its read: recognising the frame, and the ledger.

use std::hint::black_box;

use c2m_loadgen::frames::FrameCache;
use c2m_loadgen::ledger::{Ledger, Seen};
use c2m_protocol::frame::{self, Data, OpCode};
use c2m_protocol::phoenix::{self, Serializer};
use c2m_protocol::stamp::Stamp;
use c2m_schema::control::BroadcastPlan;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const CLIENTS: usize = 10_000;
const PAYLOAD_BYTES: usize = 64;

fn message(stamp: &Stamp) -> String {
    let (mut payload, mut text) = (Vec::new(), Vec::new());
    stamp.encode(&mut payload, PAYLOAD_BYTES);
    let payload = String::from_utf8(payload).expect("a stamp is ASCII");
    phoenix::encode_broadcast(&mut text, Serializer::V2, "rooms:lobby", "new:msg", &payload);
    String::from_utf8(text).expect("a message is JSON")
}

/// A ledger of joined clients to which one broadcast is due at 1.
fn ledger() -> (Ledger, Vec<Seen>) {
    let (mut ledger, mut seen) = (Ledger::new(), vec![Seen::default(); CLIENTS]);
    for seen in &mut seen {
        ledger.join(seen, 0, 0);
    }
    let plan = BroadcastPlan {
        first_due_ns: 1,
        count: 1,
        interval_ns: 1,
        payload_bytes: PAYLOAD_BYTES as u64,
        deadline_ns: u64::MAX,
        clock_offset_ns: 0,
    };
    ledger.begin(plan);
    (ledger, seen)
}

fn delivery(c: &mut Criterion) {
    let mut group = c.benchmark_group("delivery");
    let stamp = Stamp { sequence: 0, due_ns: 1, sent_ns: 1 };
    let text = message(&stamp);
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, OpCode::Data(Data::Text), text.as_bytes(), None);

    let mut cache = FrameCache::default();
    cache.remember(&text, &stamp);
    group.bench_function("recognise", |b| b.iter(|| cache.recognise(black_box(&bytes))));
    group.bench_function("parse", |b| b.iter(|| Stamp::find(black_box(&text[36..text.len() - 1]))));

    group.throughput(Throughput::Elements(CLIENTS as u64));
    group.bench_function("ledger", |b| {
        let deliver = |(mut ledger, mut seen): (Ledger, Vec<Seen>)| {
            for (seen, now) in seen.iter_mut().zip(1_000_000u64..) {
                ledger.deliver(seen, 0, 0, 1, black_box(now * 997));
            }
            ledger
        };
        b.iter_batched(ledger, deliver, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, delivery);
criterion_main!(benches);
