//! Charts of a run directory, as SVG and PNG: pure functions of its files, the same bytes for the same input.
//!
//! - [`charts`][]: one file per chart, and their registry;
//! - [`figure`][], [`panel`][], [`canvas`][]: frame, axes, primitives;
//! - [`scale`][], [`thin`][], [`labels`][], [`number`][], [`palette`][]: what they compute with;
//! - [`hover`][]: values that a browser shows under the pointer;
//! - [`font`][], [`png`][]: the compiled-in font and the picture made with it;
//! - [`published`][]: results of others, for scale;
//! - [`overlay`][]: several runs in the same charts.

pub mod canvas;
pub mod charts;
pub mod figure;
pub mod font;
pub mod hover;
pub mod labels;
pub mod number;
pub mod overlay;
pub mod palette;
pub mod panel;
pub mod png;
pub mod published;
pub mod scale;
pub mod thin;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::rundir::RunDir;
use charts::{CHARTS, Chart};
use figure::{Blank, Figure};
use palette::{Color, Mode};

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
    /// Only these kinds of files.
    #[arg(long, value_name = "FORMAT", value_delimiter = ',', default_values = ["svg", "png"])]
    pub format: Vec<Format>,
    /// Draw the runs into the same charts (users, memory, broadcast) instead of charts of each. Without --out the
    /// pictures go to plots/overlay-OTHER… in the first DIR.
    #[arg(long)]
    pub overlay: bool,
}

/// A file format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Vectors, the font inside.
    Svg,
    /// 1920 × 1080 pixels.
    Png,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[Self::Svg, Self::Png];
}

/// One chart, drawn.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// File name without its ending.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// The SVG for light paper, without the font.
    pub svg: String,
    /// The same for dark paper.
    pub dark: String,
    /// Its colours.
    pub colors: BTreeSet<Color>,
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
    Drawing::of(chart.name, figure, &caption, &description, blank)
}

impl Drawing {
    /// `figure` with its frame, for both papers.
    fn of(
        name: &'static str,
        figure: Figure,
        caption: &str,
        description: &str,
        blank: Option<Blank>,
    ) -> anyhow::Result<Self> {
        let canvas = figure::compose(&figure, caption);
        let svg = |mode| canvas.to_svg(mode, &figure.title, description);
        let (svg, dark) = (svg(Mode::Light)?, svg(Mode::Dark)?);
        Ok(Self { name, svg, dark, colors: canvas.colors(), title: figure.title, blank })
    }

    /// Rules for a page that shows [`Self::svg`] inside of the element `#name`, so that dark paper has the colours of
    /// [`Self::dark`] without a second picture in the page.
    pub fn dark_rules(&self) -> String {
        canvas::dark_rules(&self.colors, self.name)
    }
}

/// Draws every chart.
pub fn all(run: &RunDir) -> anyhow::Result<Vec<Drawing>> {
    CHARTS.iter().map(|chart| draw(chart, run)).collect()
}

/// Writes each drawing into `out`, which is made when absent: `name.svg` and `name.png` for light paper, `name-dark.svg`
/// and `name-dark.png` for dark paper.
///
/// Fails when a file can't be written; drawings before it are then on disk.
pub fn save(drawings: &[Drawing], out: &Path, formats: &[Format]) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    for drawing in drawings {
        for (mode, svg) in [(Mode::Light, &drawing.svg), (Mode::Dark, &drawing.dark)] {
            let put = |ending: &str, bytes: &[u8]| {
                let path = out.join(format!("{}{}.{ending}", drawing.name, mode.suffix()));
                std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
            };
            if formats.contains(&Format::Svg) {
                put("svg", canvas::with_font(svg).as_bytes())?;
            }
            if formats.contains(&Format::Png) {
                put("png", &png::render(svg)?)?;
            }
        }
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
    let Args { dirs, out, only, format, overlay } = args;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    if overlay {
        return overlay::write(&dirs, out, &wanted, &format);
    }
    anyhow::ensure!(
        out.is_none() || dirs.len() == 1,
        "--out takes the pictures of one run directory, and {} were given; plot them one by one, or beside each other \
         with --overlay",
        dirs.len()
    );
    let mut unreadable = false;
    for dir in dirs {
        let run = RunDir::load(&dir)?;
        let charts = CHARTS.iter().filter(|chart| wanted(chart.name));
        let drawings: Vec<Drawing> = charts.map(|chart| draw(chart, &run)).collect::<anyhow::Result<_>>()?;
        let out = out.clone().unwrap_or_else(|| dir.join(PLOTS_DIR));
        save(&drawings, &out, &format)?;
        unreadable |= warn_unreadable(&run, &drawings);
        println!("{}", out.display());
    }
    Ok(ExitCode::from(u8::from(unreadable)))
}
