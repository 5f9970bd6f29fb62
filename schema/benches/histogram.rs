//! What one recorded delivery and one merged worker cost.

use std::hint::black_box;

use c2m_schema::histogram::Recorder;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Latencies as a broadcast gives them: spread over two seconds, none equal to its neighbour.
fn samples() -> Vec<u64> {
    (0..10_000u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 2_000_000_000).collect()
}

fn histogram(c: &mut Criterion) {
    let samples = samples();
    let mut group = c.benchmark_group("histogram");
    group.throughput(Throughput::Elements(samples.len() as u64));
    let mut recorder = Recorder::new();
    group.bench_function("record", |b| {
        b.iter(|| {
            for &ns in &samples {
                recorder.record(black_box(ns));
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut total = Recorder::new();
    group.bench_function("merge", |b| b.iter(|| total.merge(black_box(&recorder))));
    group.bench_function("wire", |b| b.iter(|| black_box(&recorder).to_wire().to_recorder()));
    group.finish();
}

criterion_group!(benches, histogram);
criterion_main!(benches);
