//! `c2m`: run, doctor, report, plot, compare.

fn main() -> std::process::ExitCode {
    c2m::cli::main()
}
