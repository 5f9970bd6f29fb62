//! Reading an experiment: file, overrides, and errors that name file, line, key and the likely key.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::{Experiment, check};
use crate::rundir::EXPERIMENT_FILE;

/// Why an experiment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("{}: can't be read{hint}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The remedy, in brackets, where there is one.
        hint: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in the definition is wrong.
    #[error("{place}: {message}")]
    Wrong {
        /// File, line and key; or the override.
        place: String,
        /// What is wrong, and the remedy.
        message: String,
    },
}

/// Reads the experiment at `path` and applies `overrides`, each `key.path=value`.
pub fn load(path: &Path, overrides: &[String]) -> Result<Experiment, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        hint: hint(path, source.kind()),
        source,
    })?;
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&path.display().to_string(), &stem, &text, overrides)
}

/// What to do about a file that can't be read, in brackets; empty where nothing is known.
fn hint(path: &Path, kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => match likely_file(path) {
            Some(likely) => format!(" (did you mean {}?)", likely.display()),
            None => " (give the file of an experiment, e.g. experiments/default.toml)".to_owned(),
        },
        ErrorKind::IsADirectory if path.join(EXPERIMENT_FILE).is_file() => {
            format!(" (did you mean {}?)", path.join(EXPERIMENT_FILE).display())
        }
        ErrorKind::IsADirectory => " (give the file of an experiment, e.g. experiments/default.toml)".to_owned(),
        ErrorKind::PermissionDenied => " (its owner can allow it: chmod a+r)".to_owned(),
        _ => String::new(),
    }
}

/// The experiment that is named most like `path`, beside it or in `experiments/`.
fn likely_file(path: &Path) -> Option<PathBuf> {
    let name = path.file_stem()?.to_string_lossy().into_owned();
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = [parent, Path::new("experiments")].into_iter().filter_map(|dir| std::fs::read_dir(dir).ok());
    let mut experiments: Vec<PathBuf> = files
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "toml"))
        .map(|file| file.strip_prefix("./").map(Path::to_owned).unwrap_or(file))
        .collect();
    // The order of a directory is its file system's.
    experiments.sort();
    let likeness = |file: &PathBuf| {
        strsim::normalized_damerau_levenshtein(&name, &file.file_stem().unwrap_or_default().to_string_lossy())
    };
    let likely = experiments.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&likely) >= LIKELY).then_some(likely)
}

/// How like a word must be to what was written to be suggested, 0 to 1.
const LIKELY: f64 = 0.4;

/// As [`load`], of a text that is already in memory. `file` is how errors call it; `stem` names the experiment when it
/// does not name itself.
pub fn parse(file: &str, stem: &str, text: &str, overrides: &[String]) -> Result<Experiment, LoadError> {
    let mut table: toml::Table = text.parse().map_err(|e| wrong_in_file(file, text, &e))?;
    let plain = toml::from_str::<Experiment>(text);
    let mut experiment = match plain {
        Ok(experiment) => Some(experiment),
        // An override may supply what the file leaves out.
        Err(e) if !overrides.is_empty() && e.message().starts_with("missing field") => None,
        Err(e) => return Err(wrong_in_file(file, text, &e)),
    };
    for (i, text) in overrides.iter().enumerate() {
        set(&mut table, text)?;
        experiment = match Experiment::deserialize(table.clone()) {
            Ok(experiment) => Some(experiment),
            Err(e) if i + 1 < overrides.len() && e.message().starts_with("missing field") => None,
            Err(e) => return Err(LoadError::Wrong { place: format!("--set {text}"), message: explain(e.message()) }),
        };
    }
    let Some(mut experiment) = experiment else {
        return Err(LoadError::Wrong { place: file.into(), message: "the definition is not complete".into() });
    };
    if experiment.name.is_empty() {
        stem.clone_into(&mut experiment.name);
    }
    check::check(&experiment).map_err(|e| {
        let by_override = overrides.iter().rev().find(|o| o.split('=').next().is_some_and(|k| k.trim() == e.key));
        let place = match by_override {
            Some(o) => format!("--set {o}"),
            None => line_of_key(text, &e.key)
                .map_or_else(|| format!("{file}, key `{}`", e.key), |n| format!("{file}, line {n}, key `{}`", e.key)),
        };
        LoadError::Wrong { place, message: e.to_string() }
    })?;
    Ok(experiment)
}

/// What is wrong with a TOML file, its place in it, and the likely key.
pub(crate) fn wrong_in_file(file: &str, text: &str, error: &toml::de::Error) -> LoadError {
    LoadError::Wrong { place: place(file, text, error.span().map(|s| s.start)), message: explain(error.message()) }
}

/// Sets one key by its dotted path. The value is TOML, or a bare word; an empty value removes the key.
fn set(table: &mut toml::Table, text: &str) -> Result<(), LoadError> {
    let wrong = |message: &str| LoadError::Wrong { place: format!("--set {text}"), message: message.into() };
    let (path, value) = text.split_once('=').ok_or_else(|| wrong("expected key.path=value"))?;
    let mut keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = keys.pop().filter(|k| !k.is_empty()).ok_or_else(|| wrong("expected key.path=value"))?;
    let mut at = table;
    for key in keys {
        let next = at.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next.as_table_mut().ok_or_else(|| wrong(&format!("`{key}` is a value, not a table")))?;
    }
    if value.trim().is_empty() {
        at.remove(last);
        return Ok(());
    }
    at.insert(last.to_owned(), parse_value(value.trim()).map_err(|m| wrong(&m))?);
    Ok(())
}

fn parse_value(text: &str) -> Result<toml::Value, String> {
    if let Ok(mut table) = format!("value = {text}").parse::<toml::Table>() {
        return table.remove("value").ok_or_else(|| "expected a value".to_owned());
    }
    let bare = text.chars().all(|c| c.is_alphanumeric() || "_-.:~/ ".contains(c));
    if bare { Ok(toml::Value::String(text.into())) } else { Err(format!("`{text}` is not a TOML value")) }
}

/// Turns serde's wording of an unknown key into ours and adds the likely one.
fn explain(message: &str) -> String {
    let (noun, rest) = if let Some(rest) = message.strip_prefix("unknown field ") {
        ("key", rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        ("value", rest)
    } else {
        return message.trim_end().replace("missing field", "missing key");
    };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let given = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let likely = known
        .iter()
        .map(|k| (strsim::normalized_damerau_levenshtein(given, k), *k))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness >= LIKELY);
    match likely {
        Some((_, key)) => format!("unknown {noun} `{given}`, did you mean `{key}`? Known here: {}", known.join(", ")),
        None => format!("unknown {noun} `{given}`. Known here: {}", known.join(", ")),
    }
}

/// File, line and key of a byte offset.
fn place(file: &str, text: &str, offset: Option<usize>) -> String {
    let Some(offset) = offset else { return file.to_owned() };
    let line = line_at(text, offset);
    let mut path = Vec::new();
    if let Ok(document) = DeTable::parse(text) {
        key_at(document.get_ref(), offset, &mut path);
    }
    if path.is_empty() {
        format!("{file}, line {line}")
    } else {
        format!("{file}, line {line}, key `{}`", path.join("."))
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

/// The dotted path of the key whose name or value holds `offset`.
fn key_at(table: &DeTable, offset: usize, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        if key.span().contains(&offset) {
            return true;
        }
        if let DeValue::Table(inner) = value.get_ref()
            && key_at(inner, offset, path)
        {
            return true;
        }
        if value.span().contains(&offset) {
            return true;
        }
        path.pop();
    }
    false
}

/// Line of the key with the dotted path `path`, where the text has it.
fn line_of_key(text: &str, path: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        let (found, value) = table.iter().find(|(k, _)| k.get_ref().as_ref() == key)?;
        if keys.peek().is_none() {
            return Some(line_at(text, found.span().start));
        }
        let DeValue::Table(inner) = value.get_ref() else { return None };
        table = inner;
    }
    None
}
