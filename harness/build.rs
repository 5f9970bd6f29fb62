//! Tells the harness which revision of the source it was built from, for run directories and `run.json`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let git = |args: &[&str]| -> Option<String> {
        let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // Said by who builds where the repository is not: in a container, say.
    println!("cargo::rerun-if-env-changed=C2M_GIT");
    if let Some(given) = std::env::var("C2M_GIT").ok().filter(|given| !given.is_empty()) {
        assert!(given.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "C2M_GIT: {given:?} is no revision");
        println!("cargo::rustc-env=C2M_GIT={given}");
        return;
    }
    let Some(sha) = git(&["rev-parse", "--short=9", "HEAD"]) else {
        println!("cargo::rustc-env=C2M_GIT=unknown");
        return;
    };
    // Sources decide what is built; results and documents don't.
    let sources = [
        "../Cargo.toml",
        "../Cargo.lock",
        "../protocol",
        "../schema",
        "../host",
        "../server",
        "../loadgen",
        "../harness",
    ];
    let mut status = vec!["--no-optional-locks", "status", "--porcelain", "--"];
    status.extend(sources);
    let dirty = git(&status).is_none_or(|changes| !changes.is_empty());
    println!("cargo::rustc-env=C2M_GIT={sha}{}", if dirty { "-dirty" } else { "" });
    for path in git(&["rev-parse", "--git-path", "HEAD", "--git-path", "logs/HEAD"])
        .iter()
        .flat_map(|paths| paths.lines())
        .chain(sources)
    {
        if std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}
