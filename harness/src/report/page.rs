//! The page: verdict first, then machine, sweep, charts, ledger, errors, settings, and how it was made.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use c2m_schema::control::{AgentPrepared, FileTables};
use c2m_schema::rows::FloorRow;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::{facts, floor, hosts, latency, servers, tables, what, words};
use crate::draw::{Drawing, figure, font, number};
use crate::rundir::RunDir;

const STYLE: &str = include_str!("style.css");

const SCRIPT: &str = include_str!("hover.js");
/// Name in the page's address, and heading.
type Section = (&'static str, &'static str, Markup);

/// The whole document.
pub(super) fn page(run: &RunDir, drawings: &[Drawing]) -> Markup {
    let title = format!("{} · c2m", run.experiment());
    let floor = run.floor();
    let sections: Vec<Section> = vec![
        ("machine", "Machine", machine(run)),
        ("sweep", "Sweep", tables::sweep(run)),
        ("servers", "Servers side by side", servers::section(run)),
        ("floor", "Against bare sockets", floor::section(run, &floor)),
        ("charts", "Charts", charts(drawings)),
        ("latency", "Latencies", latency::table(run)),
        ("broadcasts", "Broadcasts", tables::broadcasts(run)),
        ("errors", "Errors by kind", tables::errors(run)),
        ("settings", "Settings", settings(run)),
        ("made", "How this was made", provenance(run)),
        ("words", "Words", glossary()),
    ];
    let sections: Vec<Section> = sections.into_iter().filter(|(.., content)| !content.0.is_empty()).collect();
    let content = html! {
        (head(run))
        (verdict(run, floor.as_deref().unwrap_or_default()))
        nav { @for (name, heading, _) in &sections { a href={ "#" (name) } { (heading) } } }
        @for (name, heading, content) in &sections { section id=(name) { h2 { (heading) } (content) } }
    };
    document(&title, &content)
}

/// A page of its own with `content` on it.
pub(super) fn document(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(font::css())) (PreEscaped(STYLE)) }
            }
            body {
                main { (content) }
                script type="module" { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// What the page may do, so that a browser would refuse even what slipped through unescaped: show its own style, run this
/// one script, known by its hash, and load nothing from a network.
fn policy() -> String {
    let hash = BASE64.encode(Sha256::digest(SCRIPT));
    format!("default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; script-src 'sha256-{hash}'")
}

fn head(run: &RunDir) -> Markup {
    let question = question(run);
    let started = run.record.as_ref().map(|r| r.started_utc.as_str()).filter(|s| !s.is_empty());
    let label = run.record.as_ref().and_then(|r| r.label.as_deref());
    html! {
        header {
            p.kicker {
                (run.experiment())
                @if let Some(label) = label { " · " (label) }
                @if let Some(started) = started { " · " (readable_time(started)) }
            }
            h1 { (question.unwrap_or_else(|| run.experiment().to_owned())) }
            p.what { (what::sentences(run).join(" ")) }
        }
    }
}

/// The question of the experiment's definition, where it has one.
pub(super) fn question(run: &RunDir) -> Option<String> {
    let table: toml::Table = run.experiment_toml.as_deref()?.parse().ok()?;
    Some(table.get("question")?.as_str()?.to_owned())
}

/// `2026-02-03T12:00:00Z` as `2026-02-03 12:00 UTC`; anything else as it is.
pub(super) fn readable_time(rfc3339: &str) -> String {
    match rfc3339.split_once('T') {
        Some((day, time)) if time.ends_with('Z') && time.is_char_boundary(5) && time.len() > 5 => {
            format!("{day} {} UTC", &time[..5])
        }
        _ => rfc3339.to_owned(),
    }
}

fn verdict(run: &RunDir, floor: &[FloorRow]) -> Markup {
    let (sentence, tone) = facts::verdict(run);
    let largest = facts::largest(run);
    let expected = what::definition(run).map(|e| what::expectations(&e.expect)).unwrap_or_default();
    html! {
        section.verdict {
            p class={ "sentence " (tone.class()) } { (sentence) }
            @if !expected.is_empty() { p.of { "It expects: " (expected.join(", ")) "." } }
            @if let Some(point) = largest {
                p.of {
                    @if run.record.as_ref().is_some_and(|r| r.search.is_some()) { "At the value that was found, " }
                    @else { "At the largest step, " }
                    b { (number::count(point.clients_target)) " clients" }
                    @if !point.variant.is_empty() { " (" (point.variant) ")" }
                    ", repetition " (point.repetition + 1) ":"
                }
                div.facts { @for fact in facts::headline(run, floor, point) {
                    div class={ "fact " (fact.tone.class()) } {
                        span.name { (fact.name) }
                        span.value { (fact.value) }
                        span.detail { (fact.detail) }
                    }
                } }
            }
            (tables::reasons(run))
        }
    }
}

fn machine(run: &RunDir) -> Markup {
    let Some(record) = &run.record else {
        return html! { p.bad { "Unknown: there is no run.json. Such a run can't be compared with another." } };
    };
    let host = &record.host;
    let quota = host.cpu_quota_millicores.map(|m| format!(", quota {} cores", number::significant(m as f64 / 1000.0)));
    let hypervisor = if host.hypervisor { " (virtual machine)" } else { "" };
    let memory = if host.memory_limit_bytes < host.memory_total_bytes {
        let [limit, total] = [host.memory_limit_bytes, host.memory_total_bytes].map(|b| number::bytes(b as f64));
        format!("{limit} of {total}")
    } else {
        number::bytes(host.memory_total_bytes as f64)
    };
    let isolation = match &record.isolation.fallback_reason {
        Some(reason) => format!("{}: {reason}", record.isolation.mode),
        None => record.isolation.mode.clone(),
    };
    let nofile = format!("{} soft, {} hard", number::count(host.nofile_soft), number::count(host.nofile_hard));
    let cores = figure::cores(host.cores_allowed, host.cores_host) + &quota.unwrap_or_default();
    let rows = [
        ("CPU", format!("{}{hypervisor}", host.cpu_model)),
        ("Cores", cores),
        ("Memory", memory),
        ("System", format!("{} {}", host.os, host.kernel)),
        ("Host", host.name.clone()),
        ("Descriptors", nofile),
        ("Isolation", isolation),
    ];
    html! {
        dl { @for (name, value) in &rows { div { dt { (name) } dd { (value) } } } }
        (hosts::table(run))
        (programs(run))
        (sysctls("Kernel settings in force", &host.sysctls))
        (sysctls("Settings made for this run alone", &record.isolation.sysctls))
    }
}

/// What the programs of the largest measurement said of themselves.
fn programs(run: &RunDir) -> Markup {
    let Some(role) = facts::largest(run).and_then(|p| what::role(run, p)) else { return html! {} };
    let tables = |tables: FileTables| match tables {
        FileTables::Shared => "one table of descriptors",
        FileTables::Private => "a table of descriptors each",
    };
    let server = role.server.as_ref().map(|s| {
        // Another server than c2m-server does not say how it is made.
        if s.shards == 0 {
            return "another server, process tree ".to_owned() + &s.pid.to_string();
        }
        let threads = what::counted(s.shards.into(), "thread");
        format!("{threads} with {} of up to {}, version {}", tables(s.file_tables), number::count(s.nofile), s.version)
    });
    let agent = |a: &AgentPrepared| {
        let threads = what::counted(a.workers.into(), "thread");
        let addresses = number::count(a.sources.into());
        format!(
            "{threads} with {} of up to {}; source addresses: {addresses}",
            tables(a.file_tables),
            number::count(a.nofile)
        )
    };
    html! { dl {
        @if let Some(server) = server { div { dt { "Server, at the largest step" } dd { (server) } } }
        @for a in &role.agents { div { dt { "Load agent" } dd { (agent(a)) } } }
    } }
}

fn sysctls(title: &str, settings: &[(String, String)]) -> Markup {
    html! { @if !settings.is_empty() { details {
        summary { (title) " (" (settings.len()) ")" }
        table.narrow { tbody { @for (name, value) in settings { tr { td.text { code { (name) } } td { (value) } } } } }
    } } }
}

fn charts(drawings: &[Drawing]) -> Markup {
    html! { @for drawing in drawings {
        // The same picture on dark paper; print stays on white.
        style { "@media screen and (prefers-color-scheme:dark){" (PreEscaped(drawing.dark_rules())) "}" }
        figure id=(drawing.name) {
            div.chart tabindex="0" { (PreEscaped(&drawing.svg)) }
            figcaption {
                (words::reading(drawing.name)) " "
                a href={ "plots/" (drawing.name) ".svg" } { "SVG" } " · " a href={ "plots/" (drawing.name) ".png" } { "PNG" }
            }
        }
    } }
}

fn settings(run: &RunDir) -> Markup {
    html! { @match &run.experiment_toml {
        Some(text) => pre { code { (text) } },
        None => p { "There is no experiment.toml in this directory." },
    } }
}

fn provenance(run: &RunDir) -> Markup {
    html! {
        @if let Some(record) = &run.record {
            p { "This command made the measurement, with c2m " (record.c2m_version) " from revision " code { (record.git) } ":" }
            pre { code { (command_line(&record.argv)) } }
            @for again in &record.resumed {
                p { "It was taken up again on " (readable_time(&again.started_utc)) ", from revision " code { (again.git) } ":" }
                pre { code { (command_line(&again.argv)) } }
            }
        }
        p { "Charts and report are made from the tables beside this file. In this directory, make them again with" }
        pre { code { "c2m report ." } }
        p { "and set this run beside another with" }
        pre { code { "c2m compare . ../OTHER" } }
        p.note { "Run format " (run.record.as_ref().map_or(c2m_schema::SCHEMA_VERSION, |r| r.schema.as_str())) "." }
    }
}

fn glossary() -> Markup {
    html! { dl.words { @for (word, meaning) in words::GLOSSARY { div { dt { (word) } dd { (meaning) } } } } }
}

/// The arguments as a shell takes them.
fn command_line(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    let quote = |arg: &String| {
        if !arg.is_empty() && arg.chars().all(plain) {
            arg.clone()
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let argv = ["c2m", "run", "x.toml", "--set", "clients.counts=[1, 2]", "--label", "it's"].map(str::to_owned);
        assert_eq!(command_line(&argv), r"c2m run x.toml --set 'clients.counts=[1, 2]' --label 'it'\''s'");
    }
}
