//! Drawing made-up run directories.

use std::path::Path;

use c2m::draw::{self, Drawing};
use c2m::rundir::RunDir;

use super::draw_support::{self, Made};

pub(crate) fn made(made: &Made) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    draw_support::write(dir.path(), made);
    dir
}

pub(crate) fn small() -> Made {
    Made { counts: vec![1_000, 5_000], repetitions: 2, broadcasts: 3, ..Made::default() }
}

pub(crate) fn drawn(dir: &Path) -> Vec<Drawing> {
    draw::all(&RunDir::load(dir).unwrap()).unwrap()
}

pub(crate) fn chart(drawings: &[Drawing], name: &str) -> Drawing {
    drawings.iter().find(|d| d.name == name).unwrap().clone()
}

/// The words of an SVG, as a reader has them: lines that were broken are whole.
pub(crate) fn words(svg: &str) -> String {
    let texts = svg.split('<').filter_map(|element| element.split_once('>')).map(|(_, text)| text.trim());
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}
