//! The index of all runs below a directory of results: what each says, newest first, with links to the reports. Reading
//! the directories is apart from the page that is made of them.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use c2m_schema::rows::PointRow;
use maud::{Markup, html};

use super::{facts, floor, page, tables, what};
use crate::draw::{figure, number};
use crate::rundir::RunDir;

/// File name of the index inside the directory of results.
pub(super) const FILE: &str = "index.html";

/// One run, as far as the index says of it.
struct Entry {
    /// Path of its directory below the directory of results.
    path: PathBuf,
    run: RunDir,
    has_report: bool,
}

/// What is no run although it stands where runs stand, and why it can't be read.
struct Unreadable {
    path: PathBuf,
    reason: String,
}

/// Every run below `root`, and what could not be read.
#[derive(Default)]
struct Found {
    runs: Vec<Entry>,
    unreadable: Vec<Unreadable>,
}

/// Writes the index of the runs below `root` into it, and gives its path. Fails when `root` can't be read or the file
/// can't be written; a run that can't be read is on the page, with the reason.
pub(super) fn write(root: &Path) -> anyhow::Result<PathBuf> {
    let found = find(root).with_context(|| {
        format!("{}: can't be read. Give the directory that holds the runs, e.g. results", root.display())
    })?;
    let path = root.join(FILE);
    let written = std::fs::write(&path, index(&found).into_string());
    written.with_context(|| format!("{}: can't be written", path.display()))?;
    Ok(path)
}

/// Runs are directly below an experiment's directory, or directly below `root`.
fn find(root: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for name in directories(root)? {
        let path = root.join(&name);
        if path.join(<PointRow as c2m_schema::table::Row>::FILE).is_file() {
            found.add(root, name);
            continue;
        }
        match directories(&path) {
            Ok(names) => names.into_iter().for_each(|run| found.add(root, name.join(run))),
            Err(e) => found.unreadable.push(Unreadable { path: name, reason: e.to_string() }),
        }
    }
    let newest = |run: &RunDir| run.record.as_ref().map(|r| r.started_utc.clone()).unwrap_or_default();
    // Names begin with the time; without a record they are what there is.
    found.runs.sort_by(|a, b| newest(&b.run).cmp(&newest(&a.run)).then_with(|| b.path.cmp(&a.path)));
    Ok(found)
}

/// Names of the directories in `path`, hidden ones aside, in order.
fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if entry.path().is_dir() && !name.to_string_lossy().starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

impl Found {
    fn add(&mut self, root: &Path, path: PathBuf) {
        let whole = root.join(&path);
        match RunDir::load(&whole) {
            Ok(run) => self.runs.push(Entry { path, run, has_report: whole.join(super::FILE).is_file() }),
            Err(e) => {
                // Where the page lies is no part of the reason; which directory it is, the page says beside it.
                let (own, below) = (format!("{}: ", whole.display()), format!("{}/", whole.display()));
                let reason = e.to_string().replace(&below, "").replace(&own, "");
                self.unreadable.push(Unreadable { path, reason });
            }
        }
    }
}

/// The page.
fn index(found: &Found) -> Markup {
    let mut experiments: Vec<&str> = Vec::new();
    for entry in &found.runs {
        if !experiments.contains(&entry.run.experiment()) {
            experiments.push(entry.run.experiment());
        }
    }
    let runs = what::counted(found.runs.len() as u64, "run");
    let of = what::counted(experiments.len() as u64, "experiment");
    let content = html! {
        header {
            p.kicker { "c2m" }
            h1 { "Results" }
            p.what { (runs) " of " (of) ", the newest first. Figures are of the largest step of each run: the clients that \
                were held, and what it took to reach all of them." }
            @if !found.unreadable.is_empty() {
                p.bad { (what::counted(found.unreadable.len() as u64, "directory")) " can't be read: "
                    a href="#unreadable" { "see below" } "." }
            }
        }
        @for experiment in experiments {
            @let of: Vec<&Entry> = found.runs.iter().filter(|e| e.run.experiment() == experiment).collect();
            section id=(experiment) { h2 { (experiment) }
                @if let Some(question) = of.iter().find_map(|e| page::question(&e.run)) { p { (question) } }
                (table(&of))
            }
        }
        @if !found.unreadable.is_empty() { section id="unreadable" {
            h2 { "Can't be read" }
            div.scroll tabindex="0" { table {
                thead { tr { th.text { "directory" } th.text { "reason" } } }
                tbody { @for u in &found.unreadable { tr.bad {
                    td.text { a href={ (href(&u.path)) "/" } { (u.path.display()) } } td.text.long { (u.reason) }
                } } }
            } }
        } }
    };
    page::document("Results · c2m", &content)
}

fn table(entries: &[&Entry]) -> Markup {
    html! { div.scroll tabindex="0" { table {
        thead { tr {
            th.text { "run" } th.text { "verdict" } th { "held" } th { "delivered" } th { "to all" } th { "per client" }
            th { "against bare sockets" } th.text { "load generator" } th.text { "machine" }
        } }
        tbody { @for entry in entries { (row(entry)) } }
    } } }
}

fn row(entry: &Entry) -> Markup {
    let run = &entry.run;
    let (sentence, tone) = facts::verdict(run);
    let floor = run.floor().unwrap_or_default();
    let largest = facts::largest(run);
    let headline = largest.map(|p| facts::headline(run, &floor, p)).unwrap_or_default();
    let fact = |names: &[&str]| {
        let fact = headline.iter().find(|f| names.contains(&f.name));
        html! { @match fact {
            Some(f) => { td title=(f.detail) { span class=(f.tone.class()) { (f.value) } } }
            None => { td { (tables::NOT_MEASURED) } }
        } }
    };
    let label = run.record.as_ref().and_then(|r| r.label.as_deref()).filter(|l| !l.is_empty());
    let started = run.record.as_ref().map(|r| page::readable_time(&r.started_utc)).filter(|s| !s.is_empty());
    let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
    html! { tr {
        td.text {
            a href={ (href(&entry.path)) "/" @if entry.has_report { (super::FILE) } } { (started.as_deref().unwrap_or(&name)) }
            @if let Some(label) = label { br; b { (label) } }
            br; span.note { (name) @if !entry.has_report { ", no report yet" } }
        }
        td.text.wrap { span class=(tone.class()) { (sentence) } }
        (fact(&["Held"])) (fact(&["Delivered"])) (fact(&["Broadcast"])) (fact(&["Memory per client", "Server memory per client"]))
        td { (tables::or_dash(largest.and_then(|p| floor::to_all(&floor, p)))) }
        (fact(&["Load generator"]))
        td.text.wrap { (machine(run)) }
    } }
}

fn machine(run: &RunDir) -> String {
    run.record.as_ref().map_or_else(
        || "unknown, there is no run.json".to_owned(),
        |r| {
            let cores = figure::cores(r.host.cores_allowed, r.host.cores_host);
            let memory = number::bytes(r.host.memory_limit_bytes as f64);
            format!("{}: {}, {cores}, {memory}, {}", r.host.name, r.host.cpu_model, r.host.kernel)
        },
    )
}

/// A relative path as a link: what is no plain character is written as its bytes.
fn href(path: &Path) -> String {
    let mut out = String::from(".");
    for part in path.components() {
        out.push('/');
        for byte in part.as_os_str().as_encoded_bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                out.push(char::from(*byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_directory_whatever_its_name() {
        assert_eq!(href(Path::new("sweep/2026-ab.c")), "./sweep/2026-ab.c");
        assert_eq!(href(Path::new("javascript:x/a b#?\"ü")), "./javascript%3Ax/a%20b%23%3F%22%C3%BC");
    }
}
