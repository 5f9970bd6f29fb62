//! `c2m-manual DIR`: writes DIR/man and DIR/completions.

use std::path::PathBuf;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).context("usage: c2m-manual DIR")?;
    c2m_manual::write(&dir).with_context(|| format!("writing man pages and completions into {}", dir.display()))?;
    println!("{}\n{}", dir.join("man").display(), dir.join("completions").display());
    Ok(())
}
