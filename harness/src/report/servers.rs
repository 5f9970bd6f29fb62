//! The servers of a run of several beside each other. Pure functions.

use maud::{Markup, html};

use crate::compare::within;
use crate::rundir::RunDir;

/// The section; nothing for a run of one server.
pub(super) fn section(run: &RunDir) -> Markup {
    let groups = within::table(run);
    if groups.is_empty() {
        return html! {};
    }
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { "clients" } th.text { "server" } @for head in within::heads() { th { (head) } } } }
            tbody { @for group in &groups { @for (server, cells) in &group.servers { tr {
                td { b { (group.name) } } td.text { (server) }
                @for cell in cells { td { (cell) } }
            } } } }
        } }
        p.note { "Medians of the repetitions that are ok; in brackets how many times the first server's each is. For verdicts: "
            code { "c2m compare" } " with this run alone." }
    }
}
