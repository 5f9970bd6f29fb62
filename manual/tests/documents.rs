//! The documents: links lead somewhere, what README should link is linked, and every command is one that the programs take.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use c2m_manual::programs;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every document of the repository, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for dir in ["", "docs", "conformance", "fuzz"] {
        let entries = fs::read_dir(root().join(dir)).unwrap().map(|e| e.unwrap().path());
        all.extend(entries.filter(|p| p.extension().is_some_and(|e| e == "md")));
    }
    all.sort();
    all.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The text outside of blocks of code, and the lines inside.
fn apart(text: &str) -> (String, Vec<&str>) {
    let (mut prose, mut code, mut inside) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            code.push(line);
        } else {
            prose += line;
            prose.push('\n');
        }
    }
    (prose, code)
}

/// Targets of `[text](target)` and `![text](target)`.
fn links(prose: &str) -> Vec<String> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// Anchors of a document as forges make them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = apart(text).0;
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let plain = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(plain).collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_its_anchor_to_a_heading() {
    let documents = documents();
    assert!(documents.len() >= 9, "{documents:?}");
    let (mut seen, mut broken) = (0, Vec::new());
    for (path, text) in &documents {
        for link in links(&apart(text).0).into_iter().filter(|l| !l.contains("://") && !l.starts_with("mailto:")) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(f, a)| (f, Some(a)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = target.exists()
                && anchor
                    .is_none_or(|anchor| anchors(&fs::read_to_string(&target).unwrap_or_default()).contains(anchor));
            seen += 1;
            if !is_there {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(seen > 30, "{seen}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_readme_leads_to_every_document() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let linked: BTreeSet<PathBuf> =
        links(&apart(&readme).0).iter().filter_map(|l| root().join(l.split('#').next()?).canonicalize().ok()).collect();
    let of_users = documents().into_iter().map(|(path, _)| path).filter(|p| !p.ends_with("README.md"));
    let unlinked: Vec<_> = of_users.filter(|p| !p.starts_with(root().join("fuzz")) && !linked.contains(p)).collect();
    assert!(unlinked.is_empty(), "{unlinked:?}");
}

/// Words of a line of shell up to a comment, a pipe or a redirection; single quotes hold together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (j, piece) in part.split(' ').enumerate() {
            if ["#", "|", ">", "2>", "&", "&&", ";"].contains(&piece) {
                words.retain(|word| !word.is_empty());
                return words;
            }
            if j > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(piece);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_in_a_document_is_one_that_the_program_takes() {
    let programs = programs();
    let mut seen = 0;
    for (path, text) in documents() {
        for line in apart(&text).1 {
            let mut words = words(line.trim());
            // A key of a TOML file.
            if words.get(1).is_some_and(|word| word == "=") {
                continue;
            }
            let Some(program) = words.first().and_then(|first| {
                let name = first.strip_prefix("target/release/").unwrap_or(first);
                programs.iter().find(|p| p.get_name() == name)
            }) else {
                continue;
            };
            words[0] = program.get_name().to_owned();
            let taken = program.clone().try_get_matches_from(&words);
            assert!(taken.is_ok(), "{}: {line}\n{}", path.display(), taken.unwrap_err());
            // An experiment that is named is there.
            for word in words.iter().filter(|w| w.starts_with("experiments/")) {
                assert!(root().join(word).is_file(), "{}: {word}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}

#[test]
fn the_changelog_has_the_form_of_keep_a_changelog() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    assert!(text.starts_with("# Changelog\n") && text.contains("\n## [Unreleased]\n"));
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("### ") {
            assert!(kinds.contains(&kind), "{kind}");
        } else if let Some(version) = line.strip_prefix("## ") {
            assert!(version.starts_with('['), "{version}");
        }
    }
}
