//! `turnstile man`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap_mangen::Man;

use super::terminal::{say, write_out};
use super::{Failure, Outcome, help};

/// What `turnstile man` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write one page per command into; without it, the first page goes to standard output
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

impl Args {
    pub(super) async fn run(self) -> Result<Outcome, Failure> {
        let mut program = super::settled_command().disable_help_subcommand(true);
        program.build();
        let Some(folder) = self.folder else {
            write_out(&page(&program).map_err(Failure::of_system("writing the page"))?)?;
            return Ok(Outcome::Done);
        };
        let name = folder.display();
        std::fs::create_dir_all(&folder).map_err(Failure::of_system(format!("making the folder {name}")))?;
        let mut to_do = vec![program];
        while let Some(command) = to_do.pop() {
            let file = folder.join(Man::new(command.clone()).get_filename());
            let written = page(&command).and_then(|page| std::fs::write(&file, page));
            written.map_err(Failure::of_system(format!("writing {}", file.display())))?;
            to_do.extend(command.get_subcommands().cloned());
        }
        say(&format!("the pages are in {name}"))?;
        Ok(Outcome::Done)
    }
}

/// The page of a command, with its exit codes and examples under headings of their own.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(words) = command.get_after_long_help() {
        writeln!(page, ".SH NOTES\n{}", roff(&words.to_string()))?;
    }
    let typed = command.get_bin_name().unwrap_or_default();
    if let Some(told) = help::of(typed.trim_start_matches("turnstile").trim()) {
        writeln!(page, ".SH \"EXIT STATUS\"")?;
        for (code, means) in told.exit_codes() {
            writeln!(page, ".TP\n{code}\n{}", roff(means))?;
        }
        writeln!(page, ".SH EXAMPLES\n.nf")?;
        told.examples.iter().try_for_each(|example| writeln!(page, "{}", roff(example)))?;
        writeln!(page, ".fi")?;
    }
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// A text whose characters mean themselves.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let lines = escaped.lines().map(|line| if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() });
    lines.map(|line| if line.is_empty() { ".PP".to_owned() } else { line }).collect::<Vec<_>>().join("\n")
}
