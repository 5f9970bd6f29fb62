//! A private network namespace for everything that runs on this machine.
//!
//! The namespace belongs to the process that entered it and to its children, and ends with the last of them: there is
//! nothing to clean up. Call it early, from `main`, while the process has one thread.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use c2m_schema::run::Isolation;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::root::ProcRoot;
use crate::{netlink, sys};

const CHILD_EHASH: &str = "net.ipv4.tcp_child_ehash_entries";
const EHASH: &str = "net.ipv4.tcp_ehash_entries";

/// Settings that exist once for each network namespace; everything else would change the host.
const NAMESPACED: [&str; 3] = ["net.core.", "net.ipv4.", "net.ipv6."];

/// A sysctl to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Dotted name.
    pub name: String,
    /// Value as written.
    pub value: String,
}

impl Setting {
    /// A setting of `name` to `value`.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A setting that is not in force, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The setting.
    pub setting: Setting,
    /// One sentence.
    pub reason: String,
}

/// The namespace that was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Private {
    /// For the run record: mode `netns` and the settings in force.
    pub isolation: Isolation,
    /// Settings that are not.
    pub refused: Vec<Refused>,
}

/// Why there is no private namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Namespaces are entered by threads; others would stay behind.
    #[error("a network namespace can only be entered while the process has one thread; it has {threads}")]
    Threads {
        /// Threads of the process.
        threads: u64,
    },
    /// The kernel or the container's policy does not allow a namespace.
    #[error(
        "no network namespace: {source}; as root it needs CAP_SYS_ADMIN, otherwise unprivileged user namespaces \
             (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
    )]
    Unshare {
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace could not be made usable.
    #[error("private network namespace: {step}: {source}")]
    Setup {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// Whether the process is back in the namespace it came from.
        returned: bool,
    },
}

impl NetnsError {
    /// Whether the process still has the host's network, so that a run there is possible. False only when a namespace
    /// was entered, proved unusable and could not be left again: then the process has no network at all.
    pub fn on_host(&self) -> bool {
        !matches!(self, Self::Setup { returned: false, .. })
    }
}

/// Moves this process into a new network namespace with `lo` up and `settings` applied.
///
/// Without the privilege for a network namespace a user namespace comes along, in which the process keeps its user and
/// group. With `child_ehash_entries` a first namespace exists only to hold `tcp_child_ehash_entries`: the kernel takes
/// the size of a new namespace's established table from its parent. Nothing on the host changes. A single setting that
/// can't be made is not an error but listed.
pub fn enter_private(settings: &[Setting], child_ehash_entries: Option<u64>) -> Result<Private, NetnsError> {
    let root = ProcRoot::default();
    let threads = thread_count(&root);
    if threads != 1 {
        return Err(NetnsError::Threads { threads });
    }
    let home = Home::remember().map_err(|source| NetnsError::Unshare { source })?;
    let with_user = unshare_with_fallback(&root)?;
    let mut private =
        Private { isolation: Isolation { mode: "netns".to_owned(), ..Isolation::default() }, refused: Vec::new() };
    let entered = (|| {
        if let Some(entries) = child_ehash_entries {
            enter_second(&root, entries, &mut private)?;
        }
        netlink::loopback_up().map_err(|error| ("bringing lo up", error))
    })();
    entered.map_err(|(step, source)| {
        // A user namespace can't be left, and with it not the right to go back.
        let returned = !with_user && home.go_back().is_ok();
        NetnsError::Setup { step, source, returned }
    })?;
    for setting in settings {
        apply(&root, setting, &mut private);
    }
    Ok(private)
}

/// The network namespace this process is in now, to come back to after [`enter_private`].
#[derive(Debug)]
pub struct Home(File);

impl Home {
    /// Remembers the namespace. Errors: `/proc` does not show it.
    pub fn remember() -> io::Result<Self> {
        File::open(ProcRoot::default().proc("self/ns/net")).map(Self)
    }

    /// Moves this process, which must have one thread, back. Errors: it lacks the privilege, as it does when a user
    /// namespace came along.
    pub fn go_back(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

/// Adds `address/prefix` to `lo` of the current namespace, for source addresses outside 127.0.0.0/8 (which needs none).
/// On `lo` every address of the prefix becomes local, not just the one.
/// Needs the privilege over the namespace, which [`enter_private`] leaves to this process.
pub fn add_loopback_address(address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    netlink::add_loopback_address(address, prefix)
}

fn thread_count(root: &ProcRoot) -> u64 {
    let status = root.read_proc("self/status").unwrap_or_default();
    // A process that can't be looked at is not known to have one thread.
    status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok()).unwrap_or(0)
}

/// Enters a network namespace; says whether a user namespace had to come along.
fn unshare_with_fallback(root: &ProcRoot) -> Result<bool, NetnsError> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if sys::unshare_network(false).is_ok() {
        return Ok(false);
    }
    sys::unshare_network(true).map_err(|source| NetnsError::Unshare { source })?;
    let write = |file: &str, text: &str| fs::write(root.proc("self").join(file), text);
    write("setgroups", "deny")
        .and_then(|()| write("uid_map", &format!("{user} {user} 1")))
        .and_then(|()| write("gid_map", &format!("{group} {group} 1")))
        .map_err(|source| NetnsError::Setup { step: "mapping user and group", source, returned: false })?;
    Ok(true)
}

/// Sets the size of the next namespace's established table and enters that namespace.
fn enter_second(root: &ProcRoot, entries: u64, private: &mut Private) -> Result<(), (&'static str, io::Error)> {
    let setting = Setting::new(CHILD_EHASH, entries.to_string());
    if let Err(error) = root.write_sysctl(&setting.name, &setting.value) {
        private.refused.push(Refused { setting, reason: error.to_string() });
        return Ok(());
    }
    sys::unshare_network(false).map_err(|error| ("entering the second namespace", error))?;
    // A namespace that got no table of its own shows the shared one's size, negated.
    match root.read_sysctl(EHASH).and_then(|size| size.parse::<i64>().ok()) {
        Some(size) if size < 0 => private.refused.push(Refused {
            setting,
            reason: format!("no memory for a table of its own; the namespace shares one of {} entries", -size),
        }),
        _ => private.isolation.sysctls.push((setting.name, setting.value)),
    }
    Ok(())
}

fn apply(root: &ProcRoot, setting: &Setting, private: &mut Private) {
    let outcome = if NAMESPACED.iter().any(|prefix| setting.name.starts_with(prefix)) && !setting.name.contains('/') {
        root.write_sysctl(&setting.name, &setting.value).map_err(|error| error.to_string())
    } else {
        Err("not a setting of the network namespace; it would change the host".to_owned())
    };
    match outcome {
        Ok(()) => private.isolation.sysctls.push((setting.name.clone(), setting.value.clone())),
        Err(reason) => private.refused.push(Refused { setting: setting.clone(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_is_not_moved() {
        // The test harness itself has more than one thread.
        let before = fs::read_link("/proc/self/ns/net").unwrap();
        let error = std::thread::spawn(|| enter_private(&[], None)).join().unwrap().unwrap_err();
        assert!(matches!(error, NetnsError::Threads { threads } if threads > 1), "{error}");
        assert!(error.on_host());
        assert_eq!(fs::read_link("/proc/self/ns/net").unwrap(), before);
    }

    #[test]
    fn a_setting_of_the_whole_host_is_refused_without_being_written() {
        let (_dir, root) =
            crate::root::fake::root(&[("proc/sys/fs/nr_open", "1048576"), ("proc/sys/net/core/somaxconn", "4096")]);
        let mut private = Private { isolation: Isolation::default(), refused: Vec::new() };
        for name in ["fs.nr_open", "net.netfilter.nf_conntrack_max", "net.core.../../fs/nr_open"] {
            apply(&root, &Setting::new(name, "5"), &mut private);
        }
        apply(&root, &Setting::new("net.core.somaxconn", "65535"), &mut private);
        assert_eq!(private.refused.len(), 3);
        assert_eq!(root.read_sysctl("fs.nr_open").as_deref(), Some("1048576"));
        assert_eq!(root.read_sysctl("net.core.somaxconn").as_deref(), Some("65535"));
        assert_eq!(private.isolation.sysctls, [("net.core.somaxconn".to_owned(), "65535".to_owned())]);
    }
}
