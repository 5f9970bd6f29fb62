//! Charts of a run directory, as SVG and PNG: pure functions of its files, the same bytes for the same input.
//!
//! - [`charts`][]: one file per chart, and their registry;
//! - [`figure`][], [`panel`][], [`canvas`][]: frame, axes, primitives;
//! - [`scale`][], [`thin`][], [`labels`][], [`number`][], [`palette`][]: what they compute with;
//! - [`hover`][]: values that a browser shows under the pointer;
//! - [`font`][], [`png`][]: the compiled-in font and the picture made with it;
//! - [`published`][]: results of others, for scale.

pub mod canvas;
pub mod charts;
pub mod figure;
pub mod font;
pub mod hover;
pub mod labels;
pub mod number;
pub mod palette;
pub mod panel;
pub mod png;
pub mod published;
pub mod scale;
pub mod thin;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::rundir::RunDir;
use charts::{CHARTS, Chart};
use figure::Blank;

/// Directory of the charts inside a run directory.
pub const PLOTS_DIR: &str = "plots";

/// `c2m plot`: draws the charts of a run directory.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Run directories.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Where the pictures go instead of DIR/plots. Only for one DIR.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only these charts.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(charts::names()))]
    pub only: Vec<String>,
}

/// One chart, drawn.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// File name without its ending.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// The SVG, without the font.
    pub svg: String,
    /// Why it is without content.
    pub blank: Option<Blank>,
}

/// Draws one chart. A chart without content says why.
///
/// Fails only if the compiled-in font can't be read.
pub fn draw(chart: &Chart, run: &RunDir) -> anyhow::Result<Drawing> {
    let (figure, blank) = match (chart.draw)(run) {
        Ok(figure) => (figure, None),
        Err(blank) => (figure::nothing(chart.title, &blank), Some(blank)),
    };
    let caption = figure::caption(run);
    let description = match &blank {
        None => format!("{} {caption}", figure.subtitle),
        Some(blank) => format!("Nothing to draw: {}", blank.reason()),
    };
    let svg = figure::compose(&figure, &caption).to_svg(&figure.title, &description)?;
    Ok(Drawing { name: chart.name, title: figure.title, svg, blank })
}

/// Draws every chart.
pub fn all(run: &RunDir) -> anyhow::Result<Vec<Drawing>> {
    CHARTS.iter().map(|chart| draw(chart, run)).collect()
}

/// Writes SVG and PNG of each drawing into `out`, which is made when absent.
///
/// Fails when a file can't be written; drawings before it are then on disk.
pub fn save(drawings: &[Drawing], out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    for drawing in drawings {
        let put = |ending: &str, bytes: &[u8]| {
            let path = out.join(drawing.name).with_extension(ending);
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
        };
        put("svg", canvas::with_font(&drawing.svg).as_bytes())?;
        put("png", &png::render(&drawing.svg)?)?;
    }
    Ok(())
}

/// Says on stderr which drawings lack their content because a table can't be read, and whether there are any.
pub fn warn_unreadable(run: &RunDir, drawings: &[Drawing]) -> bool {
    let mut any = false;
    for drawing in drawings {
        if let Some(Blank::Unreadable(reason)) = &drawing.blank {
            eprintln!("c2m: {}: chart {} is without content: {reason}", run.path.display(), drawing.name);
            any = true;
        }
    }
    any
}

/// Runs `c2m plot`. Prints the directory of the pictures. Exit code 1 when a chart is without content because a table
/// can't be read.
pub fn cli(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.out.is_none() || args.dirs.len() == 1,
        "--out takes the pictures of one run directory, and {} were given; plot them one by one",
        args.dirs.len()
    );
    let Args { dirs, out, only } = args;
    let mut unreadable = false;
    for dir in dirs {
        let run = RunDir::load(&dir)?;
        let wanted = CHARTS.iter().filter(|chart| only.is_empty() || only.iter().any(|name| name == chart.name));
        let drawings: Vec<Drawing> = wanted.map(|chart| draw(chart, &run)).collect::<anyhow::Result<_>>()?;
        let out = out.clone().unwrap_or_else(|| dir.join(PLOTS_DIR));
        save(&drawings, &out)?;
        unreadable |= warn_unreadable(&run, &drawings);
        println!("{}", out.display());
    }
    Ok(ExitCode::from(u8::from(unreadable)))
}
