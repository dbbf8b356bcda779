//! How long an operator waits for `turnstile dead-letters`, from the start of the program to its last line, while millions of dead
//! letters stand.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::figures::{Figure, Figures, Goal, Unit};
use crate::growth::{OLDER_CLAIMS, fill};
use crate::world::{Server, World};

const LETTERS: u64 = 5_000_000;
const CLAIMS: u64 = 1_000_000;

const WAIT: Figure = Figure { part: "letters", unit: Unit::Millis, goal: Goal::AtMost(1_000.0) };
/// For what is no list for people: it grows with what is asked for.
const WAIT_FOR_MANY: Figure = Figure { goal: Goal::None, ..WAIT };

/// Fourteen days of letters, of every code, of each field where a code has one, and of every status: far more kinds than one
/// fault makes. `duplicate_key` is common, and only in the oldest tenth; one queue has one letter of a hundred thousand.
const LETTERS_OF_ALL_KINDS: &str = "
    INSERT INTO dead_letters (sent_at, message_hash, queue, code, detail, field, sealed_body, message_id, receive_count,
                              sent_timestamp, received_at, dead_lettered_at, status, resolved_at, resolved_by)
    SELECT sent_at, sha256(int8send(n)), 'arn:aws:sqs:eu-central-1:123456789012:' || queue, code,
           CASE code WHEN 'refused_by_database' THEN 'SQLSTATE 23514, constraint c_' || n % 4 ELSE 'in words' END,
           CASE WHEN kind >= 12 THEN (ARRAY['user_id', 'app_version', 'device_type', 'ip', 'locale', 'device_id'])[1 + n % 6] END,
           decode(repeat(md5(n::text), 16), 'hex'), gen_random_uuid()::text, 3, sent_at, sent_at, sent_at + interval '90 s',
           status, CASE WHEN status <> 'open' THEN now() END, CASE WHEN status <> 'open' THEN 'somebody' END
    FROM generate_series(1, $1::bigint) AS n,
         LATERAL (SELECT date_trunc('milliseconds', now() - interval '14 days' * (1 - n::float8 / $1)) AS sent_at) AS sent,
         LATERAL (SELECT CASE WHEN n % 100000 = 7 THEN 'rare' WHEN n % 3 = 0 THEN 'one' ELSE 'another' END AS queue) AS queues,
         LATERAL (SELECT CASE WHEN n < $1 / 10 AND n % 2 = 0 THEN 28 WHEN n % 100 < 60 THEN 13 ELSE n % 101 % 28 END AS kind)
             AS kinds,
         LATERAL (SELECT (ARRAY[
             'empty_body', 'invalid_utf8', 'byte_order_mark', 'nested_too_deep', 'invalid_json', 'truncated_json',
             'trailing_data', 'array_body', 'not_an_object', 'refused_by_database', 'contradicts', 'older_than_memory',
             'missing_field', 'null_field', 'wrong_type', 'field_too_long', 'empty_field', 'nul_character',
             'lone_surrogate', 'invalid_ip', 'invalid_version', 'version_pre_release', 'version_part_too_large',
             'not_an_event', 'invalid_mask', 'invalid_day', 'number_out_of_range', 'identity_missing', 'duplicate_key'
             ])[1 + kind] AS code) AS codes,
         LATERAL (SELECT CASE WHEN n % 7 < 4 THEN 'open' WHEN n % 7 = 4 THEN 'replayed' WHEN n % 700 = 5 THEN 'absorbed'
                         ELSE 'discarded' END AS status) AS statuses";

/// What is listed, and whether something is found.
const LISTS: [(&[&str], bool); 17] = [
    (&[], true),
    (&["--since", "24h", "--status", "open"], true),
    (&["--queue", "rare"], true),
    (&["--code", "refused_by_database"], true),
    (&["--field", "ip"], true),
    (&["--queue", "nobody's"], false),
    (&["--entries"], true),
    (&["--entries", "--sort", "oldest"], true),
    (&["--entries", "--code", "duplicate_key"], true),
    (&["--entries", "--status", "absorbed"], true),
    (&["--entries", "--queue", "rare", "--status", "all"], true),
    (&["--entries", "--field", "ip", "--until", "7d"], true),
    (&["--entries", "--since", "8d", "--until", "7d"], true),
    (&["--entries", "--message-id", "nobody's"], false),
    (&["--entries", "--code", "duplicate_key", "--since", "24h"], false),
    (&["--entries", "--limit", "1000"], true),
    (&["--entries", "--limit", "10000", "--format", "csv"], true),
];

/// What is done with one letter, or said of one code. The last undoes what the one before it does.
const ACTS: [&[&str]; 6] = [
    &["show", "HASH"],
    &["history", "HASH"],
    &["note", "--code", "invalid_ip", "--reason", "a bench"],
    &["export", "HASH", "--to", "FILE"],
    &["discard", "HASH", "--reason", "a bench"],
    &["reopen", "HASH", "--reason", "a bench"],
];

/// The database in which the letters stand; kept from round to round.
#[derive(Default)]
pub(crate) struct Letters(Option<World>);

impl Letters {
    pub(crate) async fn round(&mut self, server: &mut Server, figures: &mut Figures) -> Result<()> {
        let world = match self.0.take() {
            Some(world) => world,
            None => {
                let world = server.world().await?;
                fill(&world, "dead_letters", LETTERS_OF_ALL_KINDS, server.messages(LETTERS)).await?;
                fill(&world, "processed_messages", OLDER_CLAIMS, server.messages(CLAIMS)).await?;
                world
            }
        };
        for (list, finds) in LISTS {
            let figure = if list.contains(&"10000") { WAIT_FOR_MANY } else { WAIT };
            let (waited, answer) = waited(&world, &[&["list"], list].concat())?;
            ensure!(finds != answer.starts_with("no "), "{list:?}: {answer}");
            figures.note(figure, format!("list {}", list.join(" ")).trim_end(), waited);
        }
        let (_, entry) = waited(&world, &["list", "--entries", "--limit", "1", "--format", "csv"])?;
        let hash = entry.lines().nth(1).and_then(|line| line.split(',').next()).context("a letter")?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("letter.ndjson");
        let file = file.to_str().context("a path")?;
        for act in ACTS {
            let words: Vec<&str> = act
                .iter()
                .map(|word| {
                    if *word == "HASH" {
                        hash
                    } else if *word == "FILE" {
                        file
                    } else {
                        word
                    }
                })
                .collect();
            figures.note(WAIT, act[0], waited(&world, &words)?.0);
        }
        self.0 = Some(world);
        Ok(())
    }
}

/// How long it took in milliseconds, and what was said.
fn waited(world: &World, arguments: &[&str]) -> Result<(f64, String)> {
    let mut command = world.command(env!("CARGO_BIN_EXE_turnstile"));
    command.arg("dead-letters").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let output = command.output()?;
    let waited = begun.elapsed();
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok((waited.as_secs_f64() * 1e3, String::from_utf8(output.stdout)?))
}
