//! A real NATS server. Tests of several crates have this file; each has a `wait_for` at its root.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::wait_for;

/// A NATS server on a port that it chose itself, and keeps over [`Nats::restart`].
pub(crate) struct Nats {
    dir: tempfile::TempDir,
    child: Child,
    pub(crate) url: String,
}

impl Nats {
    /// None, said aloud, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let Ok(child) = Self::spawn(dir.path(), "-1") else {
            println!("skipped: nats-server is not installed (make backplane installs it where it can)");
            return None;
        };
        let file = dir.path().join(format!("nats-server_{}.ports", child.id()));
        let url = wait_for("NATS says its port", || {
            let ports: Value = serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok()?;
            Some(ports["nats"][0].as_str()?.to_owned())
        });
        Some(Self { dir, child, url })
    }

    fn spawn(dir: &Path, port: &str) -> std::io::Result<Child> {
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir"]).arg(dir);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().expect("a child");
    }

    pub(crate) fn restart(&mut self) {
        let port = self.url.rsplit(':').next().expect("a port").to_owned();
        self.child = Self::spawn(self.dir.path(), &port).expect("it was there before");
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
