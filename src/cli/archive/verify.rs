//! `turnstile archive verify`.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{place, storage};
use crate::archive::storage::Place;
use crate::archive::verify::{Verified, verify};
use crate::cli::terminal::{Progress, counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};

/// What `turnstile archive verify` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read every file, and compare each with its manifest
    #[arg(long)]
    deep: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let (from, head, format) = read(given)?;
        let storage = storage(&from).await?;
        let (mut progress, mut seen) = (Progress::of(0, "files"), 0);
        let verified = verify(&storage, self.deep, head.as_deref(), |_| {
            seen += 1;
            progress.show(seen, || format!("{} looked at", counted(seen, "file")));
        });
        let verified = verified.await;
        progress.end();
        let verified = verified?;
        match format {
            Format::Json => say(&as_json(&verified, self.deep).to_string())?,
            Format::Text => lines(&verified, self.deep).iter().try_for_each(|line| say(line))?,
        }
        Ok(if verified.problems.is_empty() { Outcome::Done } else { Outcome::Failed })
    }
}

fn read(given: &Given) -> Result<(Place, Option<String>, Format), Mistakes> {
    let mut mistakes = given.mistakes();
    let from = place(given, &rows::ARCHIVE_FROM, &mut mistakes);
    let head = given.optional(&rows::ARCHIVE_HEAD, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || Some((from?, head?, format?));
    mistakes.or(all())
}

fn as_json(verified: &Verified, deep: bool) -> Value {
    let Verified { manifests, files, bytes, rows, head, problems, unnamed } = verified;
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    json!({
        "whole": problems.is_empty(),
        "deep": deep,
        "manifests": manifests,
        "files": files,
        "bytes": bytes,
        "rows": rows,
        "head": head,
        "problems": problems,
        "unnamed": unnamed,
    })
}

fn lines(verified: &Verified, deep: bool) -> Vec<String> {
    let Verified { manifests, files, bytes, rows, head, problems, unnamed } = verified;
    let looked =
        if deep { "read and compared" } else { "there, with the length that it should have (--deep reads them)" };
    let mut lines: Vec<String> = problems.iter().map(|problem| format!("wrong: {problem}")).collect();
    lines
        .extend(unnamed.iter().map(|name| format!("{name}: no manifest names it; a run that was cut off leaves such")));
    let holds = format!(
        "{}, {}, {}, {}",
        counted(*manifests, "manifest"),
        counted(*files, "file"),
        HumanBytes(*bytes),
        counted(*rows, "row")
    );
    lines.push(match problems.len() {
        0 => format!("the archive is whole: {holds}; every file is {looked}"),
        wrong => format!("the archive is not whole, {} wrong: {holds}", counted(wrong as u64, "thing")),
    });
    lines.extend(head.as_ref().map(|head| format!("the last manifest: {head}")));
    lines
}
