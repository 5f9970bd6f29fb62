//! Charts of made-up run directories.

mod draw_support;

use c2m::draw;
use c2m::rundir::RunDir;
use draw_support::Made;

/// Draws into the directory that the environment names, for looking at.
#[test]
fn the_same_run_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    draw_support::write(dir.path(), &Made::default());
    let run = RunDir::load(dir.path()).unwrap();
    let drawings = draw::all(&run).unwrap();
    let out = std::env::var_os("C2M_TEST_PLOTS").map_or_else(|| dir.path().join("plots"), Into::into);
    draw::save(&drawings, &out).unwrap();
    draw_support::write(&out, &Made::default());
}
