//! Entering a private network namespace, each case in a process of its own with one thread: this program starts itself
//! once for each case. A case that this machine does not allow says so and counts neither way.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use c2m_host::netns::{self, NetnsError, Private, Setting};
use c2m_host::ports;
use c2m_host::root::ProcRoot;

/// Exit status of a case that could not be tried.
const SKIPPED: u8 = 77;
/// Names the case to the process that runs it.
const CASE: &str = "C2M_NETNS_CASE";
const NOBODY: u32 = 65534;

type Case = (&'static str, fn() -> Result<(), NetnsError>);

const CASES: [Case; 5] = [
    ("settings_apply_inside_and_the_host_keeps_its_own", settings_apply_inside),
    ("children_share_the_namespace", children_share_the_namespace),
    ("the_established_table_has_the_size_asked_for", established_table),
    ("more_source_addresses_can_be_added", source_addresses),
    ("without_privilege_a_user_namespace_keeps_the_user", without_privilege),
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        let (_, case) = CASES.iter().find(|(case, _)| *case == name).expect("a known case");
        return match case() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                assert!(!matches!(error, NetnsError::Threads { .. }), "the case has more than one thread: {error}");
                println!("{error}");
                ExitCode::from(SKIPPED)
            }
        };
    }
    let failed = CASES.iter().filter(|(name, _)| !run(name)).count();
    if failed > 0 {
        println!("{failed} cases failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs a case in a process of its own, and checks what must hold on the outside.
fn run(name: &str) -> bool {
    let before = host_state();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CASE, name);
    if name.starts_with("without_privilege") && rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!("skipped: {name}: another user can't run this program: {error}");
            return true;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(i32::from(SKIPPED)) {
        eprintln!("skipped: {name}: {}", said.trim());
    } else if !output.status.success() {
        println!("test {name} ... FAILED ({})\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        return false;
    } else {
        println!("test {name} ... ok");
    }
    let after = host_state();
    if before != after {
        println!("test {name} ... FAILED: the host changed from {before:?} to {after:?}");
    }
    before == after
}

/// Namespace and settings of this process, which no case may change.
fn host_state() -> Vec<Option<String>> {
    let root = ProcRoot::default();
    let names = ["net.ipv4.ip_local_port_range", "net.core.somaxconn", "net.ipv4.tcp_child_ehash_entries"];
    let settings = names.iter().map(|name| root.read_sysctl(name));
    settings.chain([Some(namespace()), fs::read_to_string("/proc/sys/fs/nr_open").ok()]).collect()
}

fn namespace() -> String {
    fs::read_link("/proc/self/ns/net").unwrap().into_os_string().into_string().unwrap()
}

fn enter(settings: &[(&str, &str)], child_ehash_entries: Option<u64>) -> Result<Private, NetnsError> {
    let settings: Vec<Setting> = settings.iter().map(|(name, value)| Setting::new(*name, *value)).collect();
    netns::enter_private(&settings, child_ehash_entries)
}

/// Connects to a listener at `address`, loopback if not given, and returns the address the server saw.
fn connect(address: Option<Ipv4Addr>) -> io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind((address.unwrap_or(Ipv4Addr::LOCALHOST), 0))?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    Ok(listener.accept()?.1)
}

fn settings_apply_inside() -> Result<(), NetnsError> {
    let outside = namespace();
    let wanted = [
        ("net.ipv4.ip_local_port_range", "40000 40063"),
        ("net.core.somaxconn", "12345"),
        ("net.ipv4.no_such_setting", "1"),
        ("fs.nr_open", "1048575"),
    ];
    let private = enter(&wanted, None)?;
    assert_ne!(namespace(), outside);
    assert_eq!(private.isolation.mode, "netns");
    assert_eq!(private.isolation.fallback_reason, None);
    let applied: Vec<(&str, &str)> =
        private.isolation.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(applied, wanted[..2]);
    let refused: Vec<&str> = private.refused.iter().map(|refused| refused.setting.name.as_str()).collect();
    assert_eq!(refused, ["net.ipv4.no_such_setting", "fs.nr_open"]);
    let root = ProcRoot::default();
    assert_eq!(ports::ephemeral_range(&root), (40000, 40063));
    assert_eq!(root.read_sysctl("net.core.somaxconn").as_deref(), Some("12345"));
    let peer = connect(None).unwrap();
    assert!((40000..=40063).contains(&peer.port()), "{peer}");
    Ok(())
}

fn children_share_the_namespace() -> Result<(), NetnsError> {
    enter(&[], None)?;
    let child = Command::new("readlink").arg("/proc/self/ns/net").output().unwrap();
    assert_eq!(String::from_utf8(child.stdout).unwrap().trim(), namespace());
    Ok(())
}

fn established_table() -> Result<(), NetnsError> {
    let private = enter(&[("net.core.somaxconn", "777")], Some(65_536))?;
    let root = ProcRoot::default();
    if let Some(refused) = private.refused.first() {
        // A kernel older than the setting, or no memory for the table: said, and everything else still holds.
        eprintln!("skipped: {}: {}", refused.setting.name, refused.reason);
    } else {
        assert_eq!(root.read_sysctl("net.ipv4.tcp_ehash_entries").as_deref(), Some("65536"));
        assert_eq!(private.isolation.sysctls.len(), 2);
    }
    assert_eq!(root.read_sysctl("net.core.somaxconn").as_deref(), Some("777"));
    connect(None).unwrap();
    Ok(())
}

fn source_addresses() -> Result<(), NetnsError> {
    enter(&[], None)?;
    let address = |third, fourth| Some(Ipv4Addr::new(10, 77, third, fourth));
    assert!(connect(address(0, 1)).is_err());
    netns::add_loopback_address(Ipv4Addr::new(10, 77, 0, 1), 24).unwrap();
    netns::add_loopback_address(Ipv4Addr::new(10, 77, 1, 1), 32).unwrap();
    for given in [address(0, 1), address(0, 2), address(1, 1)] {
        connect(given).unwrap();
    }
    assert!(connect(address(1, 2)).is_err());
    // Adding one again is no error.
    netns::add_loopback_address(Ipv4Addr::new(10, 77, 1, 1), 32).unwrap();
    // The whole of 127.0.0.0/8 needs no address.
    connect(Some(Ipv4Addr::new(127, 9, 8, 7))).unwrap();
    Ok(())
}

fn without_privilege() -> Result<(), NetnsError> {
    let user = rustix::process::geteuid();
    let private = enter(&[("net.ipv4.ip_local_port_range", "40000 40063")], Some(4096))?;
    assert_eq!(rustix::process::geteuid(), user);
    assert!(private.isolation.sysctls.iter().any(|(name, _)| name == "net.ipv4.ip_local_port_range"), "{private:?}");
    assert!((40000..=40063).contains(&connect(None).unwrap().port()));
    Ok(())
}
