//! Memory and CPU of one repetition: each part over its own baseline, per client held. Pure.

use c2m_schema::rows::PointRow;

use crate::run::raw::{Raw, Reading};

/// Fills the columns of memory and CPU, as far as they were measured.
pub(super) fn fill(row: &mut PointRow, raw: &Raw) {
    if let Some(base) = &raw.baseline {
        row.server_baseline_rss_bytes = base.server_rss_bytes;
        row.agent_baseline_rss_bytes = base.agent_rss_bytes;
    }
    let (Some(base), Some(held)) = (&raw.baseline, &raw.held) else { return };
    row.server_rss_bytes = held.server_rss_bytes;
    row.agent_rss_bytes = held.agent_rss_bytes;
    let per_client = |low: Option<u64>, high: Option<u64>| -> Option<f64> {
        let (low, high) = (low?, high?);
        (raw.held_clients > 0).then(|| (high as f64 - low as f64) / raw.held_clients as f64)
    };
    row.server_user_bytes_per_client = per_client(base.server_rss_bytes, held.server_rss_bytes);
    row.agent_user_bytes_per_client = per_client(base.agent_rss_bytes, held.agent_rss_bytes);
    let (source, base_kernel, held_kernel) = kernel(base, held);
    row.kernel_bytes_per_client = per_client(base_kernel, held_kernel);
    if row.kernel_bytes_per_client.is_some() {
        source.clone_into(&mut row.kernel_source);
    }
    row.all_in_bytes_per_client =
        match (row.server_user_bytes_per_client, row.agent_user_bytes_per_client, row.kernel_bytes_per_client) {
            (Some(server), Some(agent), Some(kernel)) => Some(server + agent + kernel),
            _ => None,
        };
    if let Some(end) = &raw.measured {
        row.server_cpu_ns = since(base.server_cpu_ns, end.server_cpu_ns);
        row.agent_cpu_ns = since(base.agent_cpu_ns, end.agent_cpu_ns);
        row.server_measure_cpu_ns = since(held.server_cpu_ns, end.server_cpu_ns);
        row.agent_measure_cpu_ns = since(held.agent_cpu_ns, end.agent_cpu_ns);
    } else if raw.broadcasts.is_none() {
        // Nothing was to be measured, so the measurement ended when the clients were held.
        row.server_cpu_ns = since(base.server_cpu_ns, held.server_cpu_ns);
        row.agent_cpu_ns = since(base.agent_cpu_ns, held.agent_cpu_ns);
    }
}

/// Kernel memory of sockets at both moments, by the better source that both have.
fn kernel(base: &Reading, held: &Reading) -> (&'static str, Option<u64>, Option<u64>) {
    let sum = |slab: Option<u64>, r: &Reading| Some(slab? + r.tcp_memory_bytes.unwrap_or(0));
    if base.slab_socket_bytes.is_some() && held.slab_socket_bytes.is_some() {
        ("slabinfo", sum(base.slab_socket_bytes, base), sum(held.slab_socket_bytes, held))
    } else {
        ("sunreclaim", sum(base.slab_unreclaimable_bytes, base), sum(held.slab_unreclaimable_bytes, held))
    }
}

fn since(from: Option<u64>, to: Option<u64>) -> Option<u64> {
    to?.checked_sub(from?)
}
