//! The page of all settings, docs/SETTINGS.md, as the rows say it.

use super::rows;
use super::setting::Row;

const HEAD: &str = r#"# Settings

<!-- Generated from src/config/rows: `make settings` writes it, and tests/help.rs compares it with the program. -->

A flag wins over its variable, a variable over the file that `--config` names, and what is empty counts as not set. Times
carry a unit (`ms`, `s`, `m`, `h`, `d`), sizes too (`B`, `KiB`, `MiB`, `GiB`). The variable of a switch turns it on unless it
holds `0`, `false`, `no`, `off` or nothing. All mistakes are reported together, with exit code 2. `turnstile config show`
takes the flags of `run`, and says what each setting is and where it comes from.

The file is TOML, one key a setting, in no section. A key is the name of the variable without `TURNSTILE_`, in small letters:

```toml
queue = "logins"
lanes = 4
linger = "200ms"
until_empty = true
```

A path in it is looked for from the folder in which the program starts. A database URL with a password, and `keys`, may
stand in the file only if nobody but its owner may read it (`chmod 600`). A key that is not a setting is an error; a variable
`TURNSTILE_…` that is none is a warning.

Options of a single call, which no variable can set, stand in `turnstile COMMAND --help`.
"#;

const FOOT: &str = "
## Also read

`PGPASSWORD`, the standard `AWS_…` variables and profiles (`AWS_ENDPOINT_URL` leads to another server that speaks SQS),
`RUST_LOG`, whose directives refine `--log-level` (see [what is logged](LOGGING.md)), `NO_COLOR` and `CLICOLOR_FORCE`,
and the standard `OTEL_…` variables (see [traces](TRACES.md#the-variables)).
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
        taken_by(row),
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn taken_by(row: &dyn Row) -> String {
    let commands: Vec<String> = row.commands().iter().map(|command| format!("`{command}`")).collect();
    if commands.is_empty() { "all".to_owned() } else { commands.join(", ") }
}
