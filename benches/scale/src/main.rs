//! Prints every table of docs/SCALE.md that is simulated, and writes them and the picture where they stand: `make scale`.

use std::io::{self, Write as _};
use std::path::Path;
use std::{env, fs};

use turnstile_scale::{curve, report};

fn main() -> io::Result<()> {
    let tables = report::tables();
    let mut out = io::stdout().lock();
    for (name, table) in &tables {
        writeln!(out, "{name}\n\n{table}")?;
    }
    let Some(docs) = env::args().nth(1) else { return Ok(()) };
    let docs = Path::new(&docs);
    let mut page = fs::read_to_string(docs.join("SCALE.md"))?;
    for (name, table) in &tables {
        page = report::filled(&page, name, table)
            .ok_or_else(|| io::Error::other(format!("SCALE.md has no marks for the table {name:?}")))?;
    }
    fs::write(docs.join("SCALE.md"), page)?;
    fs::write(docs.join("scale.svg"), curve::picture())?;
    writeln!(out, "written: SCALE.md and scale.svg")
}
