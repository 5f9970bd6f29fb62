//! Man pages and shell completions of `c2m`, `c2m-server` and `c2m-loadgen`, made from the command lines themselves. A
//! program of its own, so that none of the three carries it and the harness imports neither of the other two.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Shells that get completions.
pub const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// The command lines of all programs.
pub fn programs() -> [Command; 3] {
    [c2m::cli::command(), c2m_loadgen::cli::Cli::command(), c2m_server::cli::Arguments::command()]
}

/// A command line, and those of its verbs that people are to see, each by the name of its page: `c2m-run`.
pub fn pages(program: &Command) -> Vec<(String, Command)> {
    let mut built = program.clone().disable_help_subcommand(true);
    built.build();
    let name = built.get_name().to_owned();
    let verbs = built.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| {
        let page = format!("{name}-{}", verb.get_name());
        let bin = format!("{name} {}", verb.get_name());
        (page, verb.clone().bin_name(bin).version(env!("CARGO_PKG_VERSION")))
    });
    let verbs: Vec<_> = verbs.collect();
    [(name, built)].into_iter().chain(verbs).collect()
}

/// Writes `man/man1/*.1` and `completions/*` into `dir`. Errors: a file can't be written.
pub fn write(dir: &Path) -> io::Result<()> {
    let (man, completions) = (dir.join("man/man1"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for program in programs() {
        for (name, command) in pages(&program) {
            fs::write(man.join(&name).with_extension("1"), page(&name, &command)?)?;
        }
        for shell in SHELLS {
            let mut visible = program.clone();
            clap_complete::generate_to(shell, &mut visible, program.get_name(), &completions)?;
        }
    }
    Ok(())
}

/// One page in roff. Examples keep their lines, which the generator's own section for text after the options would fill.
fn page(name: &str, command: &Command) -> io::Result<Vec<u8>> {
    let version = format!("c2m {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).section("1").source(version).manual("c2m");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    if let Some(text) = command.get_after_help() {
        let text = text.to_string();
        let mut roff = Roff::default();
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in text.lines().filter(|line| *line != "Examples:") {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
        roff.to_writer(&mut out)?;
    }
    out.flush()?;
    Ok(out)
}
