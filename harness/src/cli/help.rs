//! What `--help` of each verb says after its options: examples, which a test parses, and exit statuses.

pub(super) const C2M: &str = "\
Examples:
  c2m doctor experiments/default.toml
      What the experiment needs, beside what this machine has
  c2m run experiments/default.toml --fit
      Run it, as far as it fits; the last line is the run directory, with report.html in it
  c2m compare results/default/MINE results/default/THEIRS
      Two runs beside each other, the machines first

c2m VERB --help has examples of each verb.";

pub(super) const RUN: &str = "\
Examples:
  c2m run experiments/smoke.toml
      A thousand clients, a few seconds
  c2m run experiments/sweep.toml --fit
      128,000 to 2,000,000 clients, as far as they fit this machine
  c2m run experiments/sweep.toml --list
      What would be run
  c2m run experiments/default.toml --set 'clients.counts=[50000]' --set measure.repetitions=3 --label mine
      The same question of other numbers
  c2m run --resume results/sweep/20261125T142106Z-adba7e145
      Go on with a run that was cut off

In a terminal a live view shows the run: n ends a settle or hold phase early (run.json says so), q or Ctrl-C stops in
order, Ctrl-C again at once. --no-tui and pipes get plain lines.
The path of the run directory is the only line on stdout.
Exit status: 0 everything expected was met, 1 it was not, 2 there was no run.";

pub(super) const RERUN: &str = "\
Examples:
  c2m rerun results/default/20261125T180448Z-fba3c18ca
      Run its definition again, here and with this build, and compare
  c2m rerun results/default/20261125T180448Z-fba3c18ca --fit --label after-tuning
      Leave out what does not fit, and name the new run

Exit status: of the comparison (0 same or better, 3 worse, 4 not comparable), or of the run when it could not begin.";

pub(super) const IMPORT: &str = "\
Examples:
  c2m import conformance/tsung/rooms.xml
      What the scenario becomes, on stdout; what has no counterpart stands at its head
  c2m import conformance/tsung/2015.xml --out tsung-2015.toml
      The load of the original as an experiment of one's own

Exit status: 0 it was imported, 2 something in it can't be, with file and line.";

pub(super) const DOCTOR: &str = "\
Examples:
  c2m doctor
      How many clients fit this machine, and what is short for twice as many
  c2m doctor experiments/sweep.toml
      What each step needs beside what there is, and the command that raises it
  c2m doctor --apply experiments/sweep.toml
      As root: raise the kernel settings that are short; the way back is written down first
  c2m doctor --undo c2m-undo-20261125T142106Z.sh
      As root: put everything back

Exit status: 0 all fits, 1 something does not, 2 not allowed or no such experiment.";

pub(super) const FLOOR: &str = "\
Examples:
  c2m floor --clients 100000
      Connects and arrivals per second, memory per connection and the time to send to all, with nothing but TCP
  c2m floor --clients 1000000 --bytes 1024 --broadcasts 5 --json
      Larger messages, for a script

Exit status: 0 measured, 2 the machine has too little of something.";

pub(super) const REPLAY: &str = "\
Examples:
  c2m replay results/sweep/20261125T142106Z-adba7e145
      The last point of the run in the live view, twenty seconds of it in one
  c2m replay results/sweep/20261125T142106Z-adba7e145 --point 0 --repetition 2 --speed 1
      Another one, as fast as it was
  c2m replay results/sweep/20261125T142106Z-adba7e145 --picture live.png --at 175
      One picture of it instead, 175 seconds after the first arrival

Exit status: 0 shown or written, 2 neither.";

pub(super) const REPORT: &str = "\
Examples:
  c2m report results/sweep/20261125T142106Z-adba7e145
      report.html and plots/ again, from the tables alone
  c2m report --index results
      results/index.html: every run below, newest first, with links to the reports

Exit status: 0 written, 1 written with a chart that has no content because a table can't be read, 2 not written.";

pub(super) const PLOT: &str = "\
Examples:
  c2m plot results/sweep/20261125T142106Z-adba7e145
      Every chart as SVG and PNG, for light and for dark paper, into plots/ of the run
  c2m plot results/sweep/20261125T142106Z-adba7e145 --only users,memory --out slides
      Two of them, elsewhere
  c2m plot results/default/BEFORE results/default/AFTER --overlay --out slides
      Both runs in the same charts: users over time, memory against clients, the broadcast

Exit status: 0 drawn, 1 a chart has no content because a table can't be read, 2 not drawn.";

pub(super) const COMPARE: &str = "\
Examples:
  c2m compare results/default/BEFORE results/default/AFTER
      How the machines differ, then better, worse or same for each figure
  c2m compare results/default/BEFORE results/default/AFTER --fail-above 10%
      For a pipeline: exit status 3 only when a median is worse by more than a tenth
  c2m compare results/published/experiments.csv results/sweep/20261125T142106Z-adba7e145 --markdown
      Beside what others published, as tables for a document
  c2m compare results/engines/RUN
      One run of several servers: each of them beside the first

Exit status: 0 same or better, 3 worse, 4 not comparable, 2 nothing was compared.";
