//! FORMAT.md says what the row types write, column by column and in order.

use c2m_schema::rows::{BroadcastRow, CoreRow, ErrorRow, FloorRow, LatencyRow, PointRow, SampleRow};
use c2m_schema::table::{Row, columns};

const DOCUMENT: &str = include_str!("../../FORMAT.md");

fn documented(file: &str) -> Vec<String> {
    let heading = format!("## {file}");
    DOCUMENT
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(column, _)| column.to_owned()))
        .collect()
}

fn check<R: Row>() {
    assert_eq!(documented(R::FILE), columns::<R>(), "columns of {} in FORMAT.md", R::FILE);
}

#[test]
fn every_column_is_documented_in_order() {
    check::<PointRow>();
    check::<SampleRow>();
    check::<CoreRow>();
    check::<BroadcastRow>();
    check::<LatencyRow>();
    check::<ErrorRow>();
    check::<FloorRow>();
}

#[test]
fn the_documented_schema_version_is_the_one_written() {
    assert!(DOCUMENT.contains(&format!("The schema version is `{}`", c2m_schema::SCHEMA_VERSION)));
}
