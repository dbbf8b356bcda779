//! `turnstile dead-letters`.

mod discard;
mod list;
mod replay;
mod show;
mod text;

use std::time::Duration;

use clap::Subcommand;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Outcome, migrate};
use crate::config::{Mistakes, duration, given};
use crate::database::{Database, DatabaseSettings, Transaction};
use crate::message::MessageHash;
use crate::table::dead_letters;

/// What `turnstile dead-letters` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count dead letters by status and code, or list them
    List(list::Args),
    /// Show all that is known of single ones; the body only with --reveal
    Show(show::Args),
    /// Decode, mask and load open ones again, under the same message hash
    Replay(replay::Args),
    /// Resolve open ones as worth nothing; they stay in the table
    Discard(discard::Args),
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::List(args) => args.run().await,
            Command::Show(args) => args.run().await,
            Command::Replay(args) => args.run().await,
            Command::Discard(args) => args.run().await,
        }
    }
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Only those with this code of rejection, as `dead-letters list` shows it
    #[arg(long, value_name = "CODE")]
    code: Option<String>,

    /// Only those that became dead letters since then: a time (RFC 3339), or how long ago (90m, 24h, 7d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

impl FilterArgs {
    fn read(&self, mistakes: &mut Mistakes) -> dead_letters::Filter {
        let since = given(&self.since).and_then(|text| {
            let way_out = "give a time like 2026-01-31T08:00:00Z, or how long ago it was like 24h or 7d";
            mistakes.take("--since", read_since(text, OffsetDateTime::now_utc()), way_out)
        });
        let code = given(&self.code).map(str::to_owned);
        dead_letters::Filter { code, since, ..dead_letters::Filter::default() }
    }
}

fn read_since(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    let ago = duration(text, Duration::ZERO..=LONGEST);
    ago.map(|ago| now - ago).map_err(|_| format!("{text:?} is neither a time nor how long ago it was"))
}

/// Who resolves a dead letter.
#[derive(Debug, clap::Args)]
struct ByArgs {
    /// Who does it: kept with each dead letter, after the database role [default: the variable USER]
    #[arg(long, env = "TURNSTILE_BY", value_name = "NAME")]
    by: Option<String>,
}

impl ByArgs {
    /// The name; empty where there is none.
    fn read(&self, mistakes: &mut Mistakes) -> Option<String> {
        let user = || std::env::var("USER").unwrap_or_default();
        let by = given(&self.by).map_or_else(user, str::to_owned);
        match by.chars().count() <= 128 && !by.contains(char::is_control) {
            true => Some(by),
            false => mistakes.note(
                "--by (TURNSTILE_BY)",
                "is no name",
                "give at most 128 characters, none of them a control character",
            ),
        }
    }
}

const HASH_WAY_OUT: &str = "give at least the first 8 of a hash's 64 hexadecimal digits; \
                            `turnstile dead-letters list --entries` shows them";

/// The first digits of a message hash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prefix {
    digits: String,
    first: MessageHash,
    last: MessageHash,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let is_prefix = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let filled = |digit: char| text.chars().chain(std::iter::repeat(digit)).take(64).collect::<String>().parse();
        match (filled('0'), filled('f')) {
            (Ok(first), Ok(last)) if is_prefix => Some(Self { digits: text.to_owned(), first, last }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => None,
        }
    }

    fn read_all(texts: &[String], mistakes: &mut Mistakes) -> Vec<Self> {
        let read = |text: &String| {
            let prefix = Self::parse(text).ok_or_else(|| format!("{text:?} is no message hash"));
            mistakes.take("HASH", prefix, HASH_WAY_OUT)
        };
        texts.iter().filter_map(read).collect()
    }
}

/// The messages that the prefixes mean, each once.
async fn find(database: &Database, prefixes: &[Prefix]) -> anyhow::Result<Vec<MessageHash>> {
    let mut hashes = Vec::with_capacity(prefixes.len());
    let mut problems = Vec::new();
    let look = async |seen: &Transaction| {
        for Prefix { digits, first, last } in prefixes {
            match *dead_letters::between(seen, *first, *last, 2).await? {
                [] => problems.push(format!("no dead letter's hash starts with {digits}")),
                [hash] => hashes.push(hash),
                _ => problems.push(format!("the hashes of several dead letters start with {digits}: give more digits")),
            }
        }
        Ok(())
    };
    database.snapshot(look).await?;
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
    hashes.sort_unstable();
    hashes.dedup();
    Ok(hashes)
}

async fn open(settings: &DatabaseSettings) -> anyhow::Result<Database> {
    let database = Database::new(settings)?;
    migrate::refuse_older(&database).await?;
    Ok(database)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_prefix_is_eight_to_sixty_four_hexadecimal_digits() {
        for (text, is_prefix) in [
            ("0123abcD", true),
            ("0123abcd9", true),
            (&"f".repeat(64), true),
            ("0123abc", false),
            ("", false),
            ("0123abcg", false),
            ("0123abcé", false),
            (&"f".repeat(65), false),
        ] {
            assert_eq!(Prefix::parse(text).is_some(), is_prefix, "{text}");
        }
        let odd = Prefix::parse("0123abcd9").unwrap();
        assert_eq!(odd.first.to_string(), format!("0123abcd9{}", "0".repeat(55)));
        assert_eq!(odd.last.to_string(), format!("0123abcd9{}", "f".repeat(55)));
    }

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now = datetime!(2026-03-08 12:00 UTC);
        for (text, time) in [
            ("7d", Some(datetime!(2026-03-01 12:00 UTC))),
            ("24h", Some(datetime!(2026-03-07 12:00 UTC))),
            ("90m", Some(datetime!(2026-03-08 10:30 UTC))),
            ("2026-01-31T08:00:00+02:00", Some(datetime!(2026-01-31 06:00 UTC))),
            ("2026-01-31", None),
            ("yesterday", None),
            ("7", None),
            ("999999999d", None),
        ] {
            assert_eq!(read_since(text, now).ok(), time, "{text}");
        }
    }
}
