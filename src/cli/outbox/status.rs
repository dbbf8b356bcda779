//! `turnstile outbox status`.

use super::open;
use super::text::{counted, number, say_broken, size};
use crate::check::sinks::{Trouble, in_words, named, troubles};
use crate::cli::terminal::{aligned, printable, say, seconds};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::records::outbox::outbox_json;
use crate::table::facts::partitions_ahead;
use crate::table::relay_status::{COUNTED, OutboxStatus, OutboxTable, OwnedChunks, Refusals, SinkStatus};

/// What stands before each fact of a sink.
const INDENT: usize = 12;
/// The most gaps that are told to people.
const GAPS_TOLD: usize = 5;

/// What `turnstile outbox status` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Reads one moment, and is quick whatever the backlog. Events above a frontier are counted one by one up to 100,000; of more, the \
positions are told, of which every event has one and what was rolled back had some. So are those in chunks and gaps, and the \
rate, which is taken from the marks that the relays leave. The state of another role's session is seen by members of \
pg_read_all_stats only.")]
pub(super) struct Args {
    /// The same as --format json
    #[arg(long)]
    json: bool,
}

struct Settings {
    database: DatabaseSettings,
    sink: Option<String>,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, sink, format } = self.read(given)?;
        let database = open(&database).await?;
        let status = database.snapshot(async |seen| OutboxStatus::read(seen, sink.as_deref()).await).await?;
        if let (Some(sink), true) = (&sink, status.sinks.is_empty()) {
            return Err(Failure::new(format!("there is no sink {sink}"), "`turnstile outbox status` names the sinks"));
        }
        match format {
            Format::Json => say(&outbox_json(&status).to_string())?,
            Format::Text => tell(&status)?,
        }
        Ok(Outcome::Done)
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let sink = given.optional(&rows::OF_SINK, &mut mistakes);
        let format =
            given.read(&rows::FORMAT, &mut mistakes).map(|format| if self.json { Format::Json } else { format });
        let all = || Some(Settings { database: database?, sink: sink?, format: format? });
        mistakes.or(all())
    }
}

fn tell(status: &OutboxStatus) -> Result<(), Failure> {
    fact("outbox", &table_in_words(&status.table))?;
    if status.sinks.is_empty() {
        say("no sink: no relay has run yet")?;
    }
    for sink in &status.sinks {
        tell_sink(sink, status)?;
    }
    Ok(())
}

/// One fact under its name; a name of nothing goes on with the last.
fn fact(name: &str, fact: &str) -> Result<(), Failure> {
    say_broken(&format!("{name:<INDENT$}{fact}"), INDENT)
}

fn table_in_words(table: &OutboxTable) -> String {
    let OutboxTable { positions, partitions, bytes, pruned_below } = table;
    let ahead = match partitions_ahead(partitions, positions.next) {
        None => "none for the next position".to_owned(),
        Some(usize::MAX) => "room for every position".to_owned(),
        Some(ahead) => format!("{ahead} ahead of the next position"),
    };
    let parts = counted(i64::try_from(partitions.len()).unwrap_or(i64::MAX), "partition");
    let pruned = pruned_below.map_or_else(String::new, |below| format!("; events below {} are gone", number(below)));
    format!("next position {}; {parts}, {ahead}; {}{pruned}", number(positions.next), size(*bytes))
}

fn tell_sink(sink: &SinkStatus, status: &OutboxStatus) -> Result<(), Failure> {
    let order = if sink.is_ordered { "in order" } else { "without order" };
    say("")?;
    say_broken(&format!("{}, {order}, since {}", sink.name, seconds(sink.since)), INDENT)?;
    // One word, to be copied as it is.
    say(&format!("{:<INDENT$}{}", "  target", printable(sink.target.as_bytes())))?;
    fact("  frontier", &number(sink.frontier))?;
    fact("  backlog", &backlog_in_words(sink))?;
    let oldest = sink.oldest.map(|oldest| format!("{} ({})", in_words(status.now - oldest), seconds(oldest)));
    fact("  oldest", oldest.as_deref().unwrap_or("none: every event that can be seen is carried or set aside"))?;
    let rates: Vec<String> =
        sink.rates.iter().map(|rate| format!("{:.1}/s over {:.0} s", rate.a_second, rate.over_seconds)).collect();
    fact("  rate", &if rates.is_empty() { "not known yet".to_owned() } else { rates.join(", ") })?;
    tell_chunks(sink, status)?;
    tell_gaps(sink, status)?;
    tell_failures(&sink.failures, status)?;
    for Trouble { found, remedy, .. } in troubles(sink, status) {
        fact("  look at", &format!("{found} → {remedy}"))?;
    }
    Ok(())
}

fn backlog_in_words(sink: &SinkStatus) -> String {
    let backlog = &sink.backlog;
    let above = match backlog.is_exact {
        true => counted(backlog.events, "event"),
        false => format!("more than {}, at {}", counted(COUNTED, "event"), counted(backlog.positions, "position")),
    };
    let in_chunks: i64 = sink.chunks.iter().map(|chunks| chunks.positions).sum();
    format!(
        "{above}; in chunks {}, in gaps {}",
        counted(in_chunks, "position"),
        counted(sink.positions_in_gaps, "position")
    )
}

fn tell_chunks(sink: &SinkStatus, status: &OutboxStatus) -> Result<(), Failure> {
    if sink.chunks.is_empty() {
        return fact("  chunks", "none is open");
    }
    let head = ["owner", "chunks", "positions", "attempts", "lease"].map(str::to_owned).to_vec();
    let row = |chunks: &OwnedChunks| {
        let left = chunks.lease_ends - status.now;
        let lease = match left.is_positive() {
            true => format!("ends in {}", in_words(left)),
            false => format!("over for {}", in_words(-left)),
        };
        let owner = chunks.owner.as_deref().map_or_else(|| "nobody".to_owned(), |owner| printable(owner.as_bytes()));
        vec![owner, number(chunks.chunks), number(chunks.positions), chunks.most_attempts.to_string(), lease]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(sink.chunks.iter().map(row)).collect();
    table_of("  chunks", &rows)
}

fn tell_gaps(sink: &SinkStatus, status: &OutboxStatus) -> Result<(), Failure> {
    if sink.gaps.is_empty() {
        return fact("  gaps", "none is open");
    }
    for (n, gap) in sink.gaps.iter().take(GAPS_TOLD).enumerate() {
        let held_by: Vec<String> = gap.held_by(&status.holders).iter().map(|holder| named(holder, status)).collect();
        let held_by = if held_by.is_empty() { "nobody any more".to_owned() } else { held_by.join(", ") };
        let told = format!(
            "{}..{} for {}, held by {held_by}",
            gap.positions.start(),
            gap.positions.end(),
            in_words(status.now - gap.since)
        );
        fact(if n == 0 { "  gaps" } else { "" }, &told)?;
    }
    let more = sink.gaps_in_all - i64::try_from(sink.gaps.len().min(GAPS_TOLD)).unwrap_or(0);
    if more > 0 { fact("", &format!("and {}", counted(more, "other gap"))) } else { Ok(()) }
}

fn tell_failures(failures: &[Refusals], status: &OutboxStatus) -> Result<(), Failure> {
    if failures.is_empty() {
        return fact("  failures", "none");
    }
    let head = ["status", "events", "oldest", "code"].map(str::to_owned).to_vec();
    let row = |refusals: &Refusals| {
        vec![
            refusals.status.replace('_', " "),
            number(refusals.events),
            in_words(status.now - refusals.since),
            printable(refusals.code.as_bytes()),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(failures.iter().map(row)).collect();
    table_of("  failures", &rows)
}

fn table_of(name: &str, rows: &[Vec<String>]) -> Result<(), Failure> {
    let named = aligned(rows).into_iter().enumerate();
    named.map(|(n, line)| (if n == 0 { name } else { "" }, line)).try_for_each(|(name, line)| fact(name, &line))
}
