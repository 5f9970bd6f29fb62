//! Frames: decode and encode, masked as a client sends and plain as a server sends.

use c2m_protocol::frame::{Data, Event, Limits, OpCode, Role, decode, encode};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, ops::ControlFlow};

const TEXT: OpCode = OpCode::Data(Data::Text);
const SIZES_BYTES: [usize; 3] = [64, 1024, 16 * 1024];
const KEY: [u8; 4] = [0x6d, 0xb6, 0xb2, 0x80];

fn sides() -> [(&'static str, Role, Option<[u8; 4]>); 2] {
    [("masked", Role::Server, Some(KEY)), ("plain", Role::Client, None)]
}

fn decode_all(role: Role, chunks: &mut [Vec<u8>]) -> usize {
    let (mut partial, mut text_bytes) = (None, 0);
    for chunk in chunks {
        decode(role, Limits::default(), &mut partial, chunk, &mut |event: Event<'_>| {
            if let Event::Text(text) = event {
                text_bytes += text.len();
            }
            ControlFlow::Continue(())
        })
        .expect("the frame is right");
    }
    text_bytes
}

fn decoding(c: &mut Criterion) {
    for (side, role, mask) in sides() {
        let mut group = c.benchmark_group(format!("frame_decode_{side}"));
        for payload_bytes in SIZES_BYTES {
            let mut frame = Vec::new();
            encode(&mut frame, TEXT, &vec![b'a'; payload_bytes], mask);
            group.throughput(Throughput::Bytes(payload_bytes as u64));
            // Decoding unmasks in place, so every iteration gets its own copy, made outside the measured time.
            group.bench_with_input(BenchmarkId::new("whole", payload_bytes), &frame, |b, frame| {
                b.iter_batched_ref(|| [frame.clone()], |chunks| decode_all(role, chunks), BatchSize::SmallInput);
            });
            let (front, back) = frame.split_at(frame.len() / 2);
            group.bench_function(BenchmarkId::new("cut_in_two", payload_bytes), |b| {
                let chunks = || [front.to_vec(), back.to_vec()];
                b.iter_batched_ref(chunks, |chunks| decode_all(role, chunks), BatchSize::SmallInput);
            });
        }
        group.finish();
    }
}

fn encoding(c: &mut Criterion) {
    for (side, _, mask) in sides() {
        let mut group = c.benchmark_group(format!("frame_encode_{side}"));
        for payload_bytes in SIZES_BYTES {
            let payload = vec![b'a'; payload_bytes];
            let mut out = Vec::new();
            group.throughput(Throughput::Bytes(payload_bytes as u64));
            group.bench_with_input(BenchmarkId::from_parameter(payload_bytes), &payload, |b, payload| {
                b.iter(|| {
                    out.clear();
                    encode(&mut out, TEXT, black_box(payload), mask);
                    out.len()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decoding, encoding);
criterion_main!(benches);
