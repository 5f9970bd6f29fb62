//! `c2m doctor --apply` and `--undo`: sysctls of the host, raised where an experiment is short of them and put back.
//!
//! Works on files under a [`ProcRoot`], so that a made-up machine serves as well as this one. Nothing is ever lowered
//! by applying, and what is to be undone is on disk before the first change is made.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use c2m_host::facts::SYSCTLS;
use c2m_host::netns::Setting;
use c2m_host::root::ProcRoot;

use crate::preflight::{PointChecks, setting, settings};

/// One setting to change, or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Dotted name of the sysctl.
    pub name: String,
    /// Value before.
    pub old: String,
    /// Value asked for.
    pub new: String,
}

impl Change {
    /// The command that makes the change.
    pub fn command(&self) -> String {
        command(&self.name, &self.new)
    }

    /// The command that takes it back.
    pub fn undo(&self) -> String {
        command(&self.name, &self.old)
    }
}

fn command(name: &str, value: &str) -> String {
    format!("sysctl -w {name}='{value}'")
}

/// Settings that a private namespace brings along; on the host they would change nothing for the run.
const OF_THE_NAMESPACE: [&str; 3] =
    ["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.ip_local_port_range"];

/// The settings of the host that bear on a result, by name, as far as it has them.
pub fn read(root: &ProcRoot) -> BTreeMap<String, String> {
    SYSCTLS.iter().filter_map(|name| Some(((*name).to_owned(), root.read_sysctl(name)?))).collect()
}

/// What to change so that every point finds enough, as far as sysctls reach: the largest need of any point, and never
/// less than what is there, `before`. `netns`: the run has a network namespace of its own.
pub fn changes(points: &[PointChecks], before: &BTreeMap<String, String>, netns: bool) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for Setting { name, value } in settings(points) {
        if netns && OF_THE_NAMESPACE.contains(&name.as_str()) {
            continue;
        }
        if let Some(known) = changes.iter_mut().find(|c| c.name == name) {
            known.new = widest(&name, &known.new, &value);
        } else if let Some(old) = before.get(&name) {
            let new = widest(&name, old, &value);
            changes.push(Change { old: old.clone(), name, new });
        }
    }
    changes.retain(|c| c.old != c.new);
    changes
}

/// The value that is enough for both. A port range is widened, every other number is a ceiling.
fn widest(name: &str, one: &str, other: &str) -> String {
    let range = name == "net.ipv4.ip_local_port_range";
    let pick = |(i, (a, b)): (usize, (&str, &str))| match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) if range && i == 0 => a.min(b).to_string(),
        (Ok(a), Ok(b)) => a.max(b).to_string(),
        _ => b.to_owned(),
    };
    let words: Vec<String> = one.split_whitespace().zip(other.split_whitespace()).enumerate().map(pick).collect();
    words.join(" ")
}

/// What became of a list of changes: lines for people, and whether every one was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Lines for people.
    pub text: String,
    /// Whether everything is as it was asked for.
    pub complete: bool,
}

/// Writes `undo_file`, which must not exist, and then makes the changes. A change the kernel refuses is said and does
/// not keep the others from being made. Errors: the file can't be written, and then nothing was changed.
pub fn apply(changes: &[Change], root: &ProcRoot, undo_file: &Path) -> anyhow::Result<Outcome> {
    let mut text = String::from(
        "# What `c2m doctor --apply` changed. Take it back with `c2m doctor --undo FILE`, or run these commands as root.\n",
    );
    for change in changes {
        let _ = writeln!(text, "{}{SET_TO}{}", change.undo(), change.new);
    }
    let mut file = std::fs::File::create_new(undo_file).with_context(|| {
        let (file, none) = (undo_file.display(), "nothing was changed");
        if undo_file.exists() {
            format!("{file} is there, perhaps to undo an earlier --apply; give another --undo-file; {none}")
        } else {
            format!("make {file} to write down how to undo; give an --undo-file that can be written; {none}")
        }
    })?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write {}; nothing was changed", undo_file.display()))?;
    let mut outcome = Outcome { text: String::new(), complete: true };
    for change in changes {
        let done = set(root, &change.name, &change.new);
        outcome.add(&change.name, &change.old, &change.new, done);
    }
    let _ = writeln!(outcome.text, "undo with: c2m doctor --undo {}\nor as root:", undo_file.display());
    for change in changes {
        let _ = writeln!(outcome.text, "  {}", change.undo());
    }
    Ok(outcome)
}

/// Between an undo command and the value that was set.
const SET_TO: &str = "  # was set to ";

/// Puts back what the file written by [`apply`] says. A setting that has been changed by somebody else since is left
/// alone and named. Errors: the file can't be read or holds something else; then nothing was changed.
pub fn undo(file: &Path, root: &ProcRoot) -> anyhow::Result<Outcome> {
    const REMEDY: &str = "give the file that c2m doctor --apply named when it made its changes; nothing was changed";
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}; {REMEDY}", file.display()))?;
    let mut changes = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')) {
        let change = parse(line).map_err(|why| anyhow!("{}, line {}: {why}; {REMEDY}", file.display(), i + 1))?;
        changes.push(change);
    }
    ensure!(!changes.is_empty(), "{} names no setting; {REMEDY}", file.display());
    let mut outcome = Outcome { text: String::new(), complete: true };
    for Change { name, old, new } in changes.iter().rev() {
        let now = root.read_sysctl(name);
        if now.as_ref() == Some(old) {
            let _ = writeln!(outcome.text, "{name}: is {old} already");
        } else if now.as_ref() == Some(new) {
            let done = set(root, name, old);
            outcome.add(name, new, old, done);
        } else {
            let now = now.unwrap_or_else(|| "not readable".into());
            let hand = command(name, old);
            let _ = writeln!(
                outcome.text,
                "{name}: is {now}, not the {new} that was set; left alone: undo first what was applied later, or {hand}"
            );
            outcome.complete = false;
        }
    }
    Ok(outcome)
}

/// Reads a line of an undo file. Only what applying can have written is taken: the file is followed by root.
fn parse(line: &str) -> Result<Change, String> {
    let of_another_kind = || format!("`{}` is not what c2m doctor --apply writes", line.escape_debug());
    let (undo, new) = line.split_once(SET_TO).ok_or_else(of_another_kind)?;
    let Setting { name, value: old } = setting(undo).ok_or_else(of_another_kind)?;
    let Setting { value: new, .. } = setting(&command(&name, new.trim_end())).ok_or_else(of_another_kind)?;
    if !SYSCTLS.contains(&name.as_str()) {
        return Err(format!("`{}` is no setting that c2m doctor --apply changes", name.escape_debug()));
    }
    Ok(Change { name, old, new })
}

impl Outcome {
    fn add(&mut self, name: &str, from: &str, to: &str, done: Result<(), String>) {
        let _ = match done {
            Ok(()) => writeln!(self.text, "{name}: {from} -> {to}"),
            Err(why) => {
                self.complete = false;
                writeln!(self.text, "{name}: was {from}, could not be set to {to}: {why}")
            }
        };
    }
}

/// Sets and reads back: a kernel may take a value and keep another.
fn set(root: &ProcRoot, name: &str, value: &str) -> Result<(), String> {
    root.write_sysctl(name, value).map_err(|e| e.to_string())?;
    match root.read_sysctl(name) {
        Some(now) if now == value => Ok(()),
        now => Err(format!("it reads {} afterwards", now.unwrap_or_else(|| "nothing".into()))),
    }
}
