//! What docs/SCALE.md says is what the simulation says.

use std::fs;

use turnstile_scale::{curve, report};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

#[test]
fn every_table_of_the_page_is_what_the_simulation_says() {
    let page = fs::read_to_string(format!("{DOCS}/SCALE.md")).unwrap();
    for (name, table) in report::tables() {
        let filled = report::filled(&page, name, &table).unwrap_or_else(|| panic!("no marks for {name:?}"));
        assert!(filled == page, "the table {name:?} is another: `make scale` writes it\n{table}");
    }
}

#[test]
fn the_picture_is_what_the_simulation_says() {
    let picture = fs::read_to_string(format!("{DOCS}/scale.svg")).unwrap();
    assert!(curve::picture() == picture, "docs/scale.svg is another: `make scale` writes it");
}
