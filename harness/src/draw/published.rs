//! Results that others published, for scale: `results/published/experiments.csv`, compiled in.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

const TEXT: &str = include_str!("../../../results/published/experiments.csv");

/// One published result. Empty cells were not published.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Published {
    /// What was measured.
    pub system: String,
    /// Year of publication.
    pub year: u32,
    /// Clients held.
    pub clients: u64,
    /// Memory in use with the clients held.
    pub used_memory_bytes: Option<u64>,
    /// What that memory is: `system`, `rss`, `kernel`, `all-in`.
    pub memory_kind: String,
    /// Clients arriving per second.
    pub arrival_per_s: Option<f64>,
    /// Longest time of a message to all, milliseconds.
    pub broadcast_ms_max: Option<f64>,
    /// Price of the server for a month.
    pub monthly_usd: Option<f64>,
    /// Where it was published.
    pub source: String,
}

/// Every published result.
///
/// # Panics
/// Never: the table is compiled in, and a test reads it.
pub fn all() -> &'static [Published] {
    static ALL: LazyLock<Vec<Published>> = LazyLock::new(|| {
        let mut reader = csv::Reader::from_reader(TEXT.as_bytes());
        reader.deserialize().collect::<Result<_, _>>().expect("the compiled-in table is sound")
    });
    &ALL
}

/// The results in a table of the same form. Errors: the file can't be read, or a line or cell of it.
pub fn read(path: &Path) -> Result<Vec<Published>, csv::Error> {
    csv::Reader::from_path(path)?.deserialize().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_table_reads_and_names_its_sources() {
        assert!(super::all().iter().any(|p| p.clients == 1_999_984 && p.used_memory_bytes == Some(83_765_000_000)));
        assert!(super::all().iter().all(|p| !p.source.is_empty()));
    }
}
