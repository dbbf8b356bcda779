//! The page of all settings, docs/SETTINGS.md, as the rows say it.

use super::rows;
use super::setting::Row;

const HEAD: &str = "\
# Settings

<!-- Generated from src/config/rows: `make settings` writes it, and tests/help.rs compares it with the program. -->

A flag wins over its variable, and what is empty counts as not set. Times carry a unit (`ms`, `s`, `m`, `h`, `d`), sizes
too (`B`, `KiB`, `MiB`, `GiB`). The variable of a switch turns it on unless it holds `0`, `false`, `no`, `off` or nothing.
All mistakes are reported together, with exit code 2.

Options of a single call, which no variable can set, stand in `turnstile COMMAND --help`.
";

const FOOT: &str = "
## Also read

`PGPASSWORD`, the standard `AWS_…` variables and profiles (`AWS_ENDPOINT_URL` leads to another server that speaks SQS),
`RUST_LOG` (see [what is logged](LOGGING.md)), `NO_COLOR` and `CLICOLOR_FORCE`.
";

/// The page.
pub fn settings() -> String {
    let mut page = HEAD.to_owned();
    let mut heading = "";
    for row in rows::settings() {
        if row.heading() != heading {
            heading = row.heading();
            page += &format!(
                "\n## {heading}\n\n| flag | variable | default | limits | meaning | taken by |\n|---|---|---|---|---|---|\n"
            );
        }
        page += &line(row);
    }
    page + FOOT
}

fn line(row: &dyn Row) -> String {
    let code = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
    let cells = [
        code(row.flag().map(|flag| format!("--{flag}")).unwrap_or_default()),
        code(row.variable().unwrap_or_default().to_owned()),
        row.default().text().unwrap_or_default(),
        row.limits().map(|(least, most)| format!("{least} to {most}")).unwrap_or_default(),
        row.meaning().to_owned(),
        row.commands().iter().map(|command| format!("`{command}`")).collect::<Vec<_>>().join(", "),
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
