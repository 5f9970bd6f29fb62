//! The programs that tests start.

use std::path::{Path, PathBuf};

/// A program of the workspace, built beside the harness by `make test`.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_c2m")).with_file_name(name);
    assert!(path.exists(), "{} is not built: run `make test`", path.display());
    path
}
