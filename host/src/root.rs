//! Where `/proc` and `/sys` are read. Immutable, any thread.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The directory that holds `proc` and `sys`: `/`, or a copy that speaks for another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoot(PathBuf);

impl Default for ProcRoot {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl ProcRoot {
    /// A root at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Path of `relative` under `proc`.
    pub fn proc(&self, relative: &str) -> PathBuf {
        self.0.join("proc").join(relative)
    }

    /// Path of `relative` under `sys`.
    pub fn sys(&self, relative: &str) -> PathBuf {
        self.0.join("sys").join(relative)
    }

    /// Value of a sysctl by its dotted name, white space made single spaces; none where the host has no such setting
    /// or does not let it be read.
    pub fn read_sysctl(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.sysctl_path(name)).ok()?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Value of a sysctl that is one whole number; none also where it is not.
    pub fn read_sysctl_u64(&self, name: &str) -> Option<u64> {
        self.read_sysctl(name)?.parse().ok()
    }

    /// Sets a sysctl that exists by its dotted name. Errors: the name is none, there is no such setting, or the kernel
    /// refuses.
    pub fn write_sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.contains("..") || !name.chars().all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no name of a setting")));
        }
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(self.sysctl_path(name))?;
        // One write, as the kernel takes each for a whole value.
        file.write_all(format!("{value}\n").as_bytes())
    }

    /// File of a sysctl by its dotted name.
    pub(crate) fn sysctl_path(&self, name: &str) -> PathBuf {
        self.proc("sys").join(name.replace('.', "/"))
    }

    /// An absolute path of the machine, seen under this root.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Text of a file under `proc`.
    pub(crate) fn read_proc(&self, relative: &str) -> Option<String> {
        fs::read_to_string(self.proc(relative)).ok()
    }
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// A temporary root with the given files, paths relative to it.
    pub(crate) fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, ProcRoot) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = ProcRoot::new(dir.path());
        (dir, root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_is_found_by_its_dotted_name_and_an_absent_one_is_none() {
        let (_dir, root) = fake::root(&[
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("proc/sys/net/netfilter/nf_conntrack_max", "262144\n"),
        ]);
        assert_eq!(root.read_sysctl("net.ipv4.ip_local_port_range").as_deref(), Some("32768 60999"));
        assert_eq!(root.read_sysctl_u64("net.netfilter.nf_conntrack_max"), Some(262_144));
        assert_eq!(root.read_sysctl("net.netfilter.nf_conntrack_count"), None);
    }

    #[test]
    fn only_a_setting_that_exists_is_written() {
        let (dir, root) = fake::root(&[("proc/sys/fs/nr_open", "1048576\n"), ("secret", "kept")]);
        root.write_sysctl("fs.nr_open", "2097152").unwrap();
        assert_eq!(root.read_sysctl_u64("fs.nr_open"), Some(2_097_152));
        for name in ["fs.nr_openn", "fs/nr_open", "../../secret", "fs..nr_open", ""] {
            assert!(root.write_sysctl(name, "1").is_err(), "{name}");
        }
        assert_eq!(root.read_sysctl_u64("fs.nr_open"), Some(2_097_152));
        assert_eq!(fs::read_to_string(dir.path().join("secret")).unwrap(), "kept");
    }
}
