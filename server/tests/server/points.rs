//! Every point of the protocol has a test that names it, or a line that says why it does not apply.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const POINTS: u32 = 75;

/// The numbers in `1 to 3, 5 and 7`, from the start of `text` on.
fn numbers(text: &str) -> Vec<u32> {
    let text = text.replace([',', '.'], " ");
    let mut found: Vec<u32> = Vec::new();
    let mut is_range = false;
    for word in text.split_whitespace() {
        match word.trim_end_matches([':', ';']).parse::<u32>() {
            Ok(number) if is_range => found.extend(found.last().map_or(number, |last| last + 1)..=number),
            Ok(number) => found.push(number),
            Err(_) if word == "to" || word == "and" => {}
            Err(_) => break,
        }
        is_range = word == "to";
    }
    found
}

fn named(text: &str) -> impl Iterator<Item = u32> + '_ {
    let after = |marker: &'static str| text.match_indices(marker).map(move |(at, _)| &text[at + marker.len()..]);
    after("rotocol points ").chain(after("rotocol point ")).flat_map(numbers)
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "node_modules" && name != "target" {
            sources(&path, into);
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("rs" | "js" | "py")) && name != "points.rs" {
            into.push(path);
        }
    }
}

#[test]
fn every_point_has_a_test_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut files = Vec::new();
    for folder in ["server", "protocol", "loadgen", "conformance"] {
        sources(&root.join(folder), &mut files);
    }
    let mut tested = BTreeSet::new();
    for file in files {
        tested.extend(named(&std::fs::read_to_string(file).expect("text")));
    }
    let document = std::fs::read_to_string(root.join("conformance/POINTS.md")).expect("the document");
    let excused: BTreeSet<u32> =
        document.lines().filter_map(|line| line.strip_prefix("- Point ")?.split(' ').next()?.parse().ok()).collect();
    let missing: Vec<u32> = (1..=POINTS).filter(|point| !tested.contains(point) && !excused.contains(point)).collect();
    assert!(missing.is_empty(), "no test names protocol points {missing:?}, and conformance/POINTS.md excuses none");
    assert!(tested.iter().chain(&excused).all(|point| (1..=POINTS).contains(point)), "a number that is no point");
}

#[test]
fn numbers_are_read_from_words() {
    assert_eq!(
        named("/// Protocol points 1 to 3, 5 and 7: more 9\n//! protocol point 12.").collect::<Vec<_>>(),
        [1, 2, 3, 5, 7, 12]
    );
}
