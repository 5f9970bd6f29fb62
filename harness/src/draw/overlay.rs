//! `c2m plot A B --overlay`: which runs, what they are called, and where the pictures go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::charts::overlay::{COLORS, Named, OVERLAYS};
use super::figure::{self, Blank};
use super::{Drawing, Format, PLOTS_DIR, save};
use crate::rundir::RunDir;

/// Draws the runs `dirs` into the same charts, those that `wanted` takes by name. Prints the directory of the pictures.
pub(super) fn write(
    dirs: &[PathBuf],
    out: Option<PathBuf>,
    wanted: &dyn Fn(&str) -> bool,
    formats: &[Format],
) -> anyhow::Result<ExitCode> {
    let most = COLORS.len();
    anyhow::ensure!(
        (2..=most).contains(&dirs.len()),
        "--overlay lays 2 to {most} run directories over each other, and {} given",
        if dirs.len() == 1 { "1 was".to_owned() } else { format!("{} were", dirs.len()) }
    );
    let kinds: Vec<_> = OVERLAYS.iter().filter(|o| wanted(o.name)).collect();
    anyhow::ensure!(!kinds.is_empty(), "of the charts, only users, memory and broadcast lay runs over each other");
    let runs: Vec<RunDir> = dirs.iter().map(|dir| RunDir::load(dir)).collect::<Result<_, _>>()?;
    let drawings = drawings(&runs, &kinds.iter().map(|o| o.name).collect::<Vec<_>>())?;
    let out = out.unwrap_or_else(|| default_out(&runs));
    save(&drawings, &out, formats)?;
    let mut unreadable = false;
    for drawing in &drawings {
        if let Some(Blank::Unreadable(reason)) = &drawing.blank {
            eprintln!("c2m: overlay {} is without content: {reason}", drawing.name);
            unreadable = true;
        }
    }
    println!("{}", out.display());
    Ok(ExitCode::from(u8::from(unreadable)))
}

/// The overlays with these names, of runs in the order of their colours.
///
/// Fails only if the compiled-in font can't be read.
///
/// # Panics
/// With more runs than there are colours; [`write`] refuses them.
pub fn drawings(runs: &[RunDir], only: &[&str]) -> anyhow::Result<Vec<Drawing>> {
    assert!(runs.len() <= COLORS.len(), "a colour for each run");
    let names = names(runs);
    let named: Vec<Named<'_>> =
        runs.iter().zip(names).zip(COLORS).map(|((run, name), color)| Named { run, name, color }).collect();
    let caption = caption(&named);
    let kinds = OVERLAYS.iter().filter(|o| only.contains(&o.name));
    kinds
        .map(|overlay| {
            let (figure, blank) = match (overlay.draw)(&named) {
                Ok(figure) => (figure, None),
                Err(blank) => (figure::nothing(overlay.title, &blank), Some(blank)),
            };
            let description = match &blank {
                None => format!("{} {caption}", figure.subtitle),
                Some(blank) => format!("Nothing to draw: {}", blank.reason()),
            };
            Drawing::of(overlay.name, figure, &caption, &description, blank)
        })
        .collect()
}

/// `plots/overlay-OTHER…` in the first run's directory, where what is derived lives.
fn default_out(runs: &[RunDir]) -> PathBuf {
    let others: Vec<String> = runs.iter().skip(1).map(|r| directory_name(&r.path)).collect();
    let first = runs.first().map_or(Path::new("."), |r| &r.path);
    // A file name has 255 bytes at most.
    let name: String = format!("overlay-{}", others.join("+")).chars().take(120).collect();
    first.join(PLOTS_DIR).join(name)
}

fn directory_name(path: &Path) -> String {
    // `.` and `..` have a name only once they are resolved.
    let resolved = path.canonicalize().ok();
    let name = resolved.as_deref().unwrap_or(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// What a run says of itself, from the first that a reader would use to tell it from another to the last.
fn facets(run: &RunDir) -> [String; 6] {
    let record = run.record.as_ref();
    let of_record = |of: &dyn Fn(&c2m_schema::run::RunRecord) -> String| record.map(of).unwrap_or_default();
    [
        run.experiment().to_owned(),
        of_record(&|r| r.label.clone().unwrap_or_default()),
        of_record(&|r| r.host.name.clone()),
        of_record(&|r| r.git.clone()),
        of_record(&|r| r.started_utc.clone()),
        directory_name(&run.path),
    ]
}

/// A name for each run: of what differs between them as little as tells all apart, and a number where nothing does.
fn names(runs: &[RunDir]) -> Vec<String> {
    let facets: Vec<[String; 6]> = runs.iter().map(facets).collect();
    let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
    let mut names = vec![String::new(); runs.len()];
    for facet in 0..6 {
        let with: Vec<String> = names.iter().zip(&facets).map(|(n, f)| format!("{n} {}", f[facet])).collect();
        let with: Vec<String> = with.iter().map(|n| n.trim().to_owned()).collect();
        if distinct(&with) > distinct(&names) && distinct(&names) < runs.len() {
            names = with;
        }
    }
    if distinct(&names) < runs.len() {
        names = names.iter().enumerate().map(|(i, n)| format!("{n} #{}", i + 1).trim().to_owned()).collect();
    }
    // Two runs may differ in that one has a label and the other has none.
    for (name, facets) in names.iter_mut().zip(&facets) {
        if name.is_empty() {
            name.clone_from(&facets[0]);
        }
    }
    names
}

/// The machine of all runs, or each run's own.
fn caption(runs: &[Named<'_>]) -> String {
    let machine = |n: &Named<'_>| match &n.run.record {
        Some(record) => figure::machine(&record.host),
        None => "unknown machine (no run.json)".to_owned(),
    };
    let machines: Vec<String> = runs.iter().map(machine).collect();
    match machines.first() {
        Some(first) if machines.iter().all(|m| m == first) => {
            let day = |n: &Named<'_>| n.run.record.as_ref().map_or("", |r| figure::day(&r.started_utc)).to_owned();
            let of = |n: &Named<'_>| format!("{} {}", n.name, day(n)).trim().to_owned();
            format!("{first} · {}", runs.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        _ => {
            let each = runs.iter().zip(&machines).map(|(n, m)| format!("{}: {m}", n.name));
            format!("Different machines! {}", each.collect::<Vec<_>>().join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use c2m_schema::rows::PointRow;
    use c2m_schema::run::RunRecord;

    use super::*;

    fn run(experiment: &str, label: Option<&str>, git: &str) -> RunDir {
        let mut run = RunDir::of_points(PathBuf::from("/made/up"), Vec::<PointRow>::new());
        let label = label.map(str::to_owned);
        run.record = Some(RunRecord { experiment: experiment.into(), label, git: git.into(), ..RunRecord::default() });
        run
    }

    #[test]
    fn a_name_says_what_differs_and_no_more() {
        let two = [run("sweep", None, "a"), run("beyond", None, "b")];
        assert_eq!(names(&two), ["sweep", "beyond"]);
        let labelled = [run("sweep", Some("old"), "a"), run("sweep", Some("new"), "a")];
        assert_eq!(names(&labelled), ["old", "new"]);
        let revisions = [run("sweep", None, "a"), run("sweep", None, "b"), run("beyond", None, "b")];
        assert_eq!(names(&revisions), ["sweep a", "sweep b", "beyond b"]);
        let half = [run("sweep", None, "a"), run("sweep", Some("new"), "a")];
        assert_eq!(names(&half), ["sweep", "new"]);
    }

    #[test]
    fn the_same_run_twice_has_two_names() {
        let same = [run("", None, ""), run("", None, "")];
        let names = names(&same);
        assert!(names[0] != names[1] && !names[0].is_empty(), "{names:?}");
    }
}
