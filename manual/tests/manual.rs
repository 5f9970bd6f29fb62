//! Every verb has a page, completions and examples, and every example is one that the program takes.

use std::fs;
use std::process::Command as Process;

use c2m_manual::{SHELLS, pages, programs, write};
use clap::Command;

/// The commands among the examples of a help text: the lines that begin with the name of the program.
fn examples(program: &str, command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter(|line| line.split(' ').next() == Some(program)).map(ToOwned::to_owned).collect()
}

/// Words as a shell takes them, as far as examples go: blanks separate, single quotes hold together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.last_mut().expect("one at least").push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        words.last_mut().expect("one at least").push_str(pieces.next().unwrap_or_default());
        words.extend(pieces.map(ToOwned::to_owned));
    }
    words
}

#[test]
fn every_verb_has_examples_and_the_program_takes_each_of_them() {
    let mut seen = 0;
    for program in programs() {
        let name = program.get_name().to_owned();
        for (page, command) in pages(&program) {
            let examples = examples(&name, &command);
            assert!(!examples.is_empty(), "{page} has no example");
            for example in examples {
                let taken = program.clone().try_get_matches_from(words(&example));
                assert!(taken.is_ok(), "{example}: {}", taken.unwrap_err());
                seen += 1;
            }
        }
    }
    assert!(seen > 25, "{seen}");
    assert!(programs()[0].clone().try_get_matches_from(words("c2m run --no-such-flag")).is_err());
}

#[test]
fn every_verb_and_every_option_has_its_page_and_its_completions() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).unwrap();
    let mut verbs = 0;
    for program in programs() {
        let completions: Vec<String> = SHELLS
            .into_iter()
            .map(|shell| clap_complete::Generator::file_name(&shell, program.get_name()))
            .map(|file| fs::read_to_string(dir.path().join("completions").join(file)).unwrap())
            .collect();
        let all = pages(&program);
        for (page, command) in &all {
            let man = fs::read_to_string(dir.path().join("man/man1").join(page).with_extension("1")).unwrap();
            assert!(man.contains(&format!(".TH {} 1", page.to_uppercase())), "{page}");
            assert!(man.contains(".SH EXAMPLES") && man.contains(".SH SYNOPSIS"), "{page}");
            for option in command.get_arguments().filter(|a| !a.is_hide_set()).filter_map(clap::Arg::get_long) {
                let in_roff = format!("\\-\\-{}", option.replace('-', "\\-"));
                assert!(man.contains(&in_roff), "{page} lacks --{option}");
                assert!(completions.iter().all(|c| c.contains(option)), "a shell lacks --{option} of {page}");
            }
            assert!(!man.contains("\\-\\-child"), "{page} shows what is hidden");
        }
        for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(all.iter().any(|(page, _)| *page == format!("{}-{}", program.get_name(), verb.get_name())));
            assert!(completions.iter().all(|c| c.contains(verb.get_name())), "a shell lacks {}", verb.get_name());
            verbs += 1;
        }
    }
    assert!(verbs >= 9, "{verbs}");
}

#[test]
fn bash_completes_verbs_options_and_the_values_of_an_option() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).unwrap();
    let completed = |line: &str| {
        let script = format!(
            "source completions/c2m.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             _c2m c2m \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let out = Process::new("bash").args(["-c", &script]).current_dir(dir.path()).output().expect("bash");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed("c2m re"), "rerun replay report");
    assert_eq!(completed("c2m run --re"), "--resume --results");
    assert!(completed("c2m plot --only us").contains("users"));
}
