//! Whether the promise holds, and where a message is.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{NoPage, View, filters};
use crate::audit::Audit as Proof;
use crate::console::Console;
use crate::console::audits::{Run, Standing};
use crate::console::pieces::{
    Mood, ago, cell, facts, hash_link, head, moment, nothing, number, once, plural, status, text, trouble, verdict,
};
use crate::console::place::Sought;
use crate::console::session::Session;
use crate::database::{Database, DatabaseError, Transaction};
use crate::message::{MessageHash, MessageHasher, MessageId, MessageKey, QueueIdentity};
use crate::readable::exact;
use crate::records::letters::letter_json;
use crate::table::agreement::{Breaks, RULES, Rule};
use crate::table::dead_letters::{self, DeadLetter, Filter, Page, Search};
use crate::table::powers::Powers;
use crate::table::processed_messages::{self, Processed};
use crate::table::queues;

/// How far from the time that somebody says a message is looked for.
const AROUND: Duration = Duration::DAY;
/// The most records and letters of one message.
const MOST: u64 = 10;
/// How many of the messages that break a rule are shown.
const NAMED: usize = 10;

/// The audits of this console, and a message that was looked for.
pub(super) struct Audit {
    at: OffsetDateTime,
    runs: Vec<Arc<Run>>,
    audits: bool,
    finds: bool,
    sought: Sought,
    found: Option<Found>,
}

/// Where a message is.
struct Found {
    letters: Vec<DeadLetter>,
    claims: Claims,
}

/// How a message is recorded.
enum Claims {
    /// So: nowhere, where there is none.
    Read(Vec<(MessageKey, Option<Processed>)>),
    /// There are too many records to look through within the time of a page.
    TooMany,
}

pub(super) async fn look(
    sought: &Sought,
    console: &Console,
    session: &Session,
    powers: &Powers,
) -> Result<Audit, NoPage> {
    let finds = powers.lists && powers.claims && powers.queues;
    let found = match &sought.message {
        Some(message) if finds => Some(find(&session.database, message, sought.sent).await?),
        Some(_) | None => None,
    };
    Ok(Audit {
        at: OffsetDateTime::now_utc(),
        runs: console.audits.all(),
        audits: powers.audits,
        finds,
        sought: sought.clone(),
        found,
    })
}

async fn find(database: &Database, message: &str, sent: Option<OffsetDateTime>) -> Result<Found, NoPage> {
    let read = async |seen: &Transaction| {
        let hashes = hashes_of(seen, message).await?;
        let only = Filter { hashes: Some(hashes.clone()), ..Filter::default() };
        let mut letters = dead_letters::newest(seen, &only, MOST).await?;
        if letters.is_empty() && message.parse::<MessageHash>().is_err() {
            // Of a queue that no loader has noted.
            let of_message = Page {
                search: Search::default(),
                message_id: Some(message.to_owned()),
                limit: MOST,
                ..Page::default()
            };
            letters = dead_letters::page(seen, &of_message).await?;
        }
        Ok((hashes, letters))
    };
    let (hashes, letters) = database.snapshot(read).await?;
    let (since, until) = (sent.map(|sent| sent - AROUND), sent.map(|sent| sent + AROUND));
    let known: Vec<MessageKey> = letters.iter().map(|letter| letter.key).collect();
    let claims = async |seen: &Transaction| {
        let keys = match known.is_empty() {
            true => processed_messages::find(seen, &hashes, since, until, MOST as i64).await?,
            false => known,
        };
        let mut claims = Vec::new();
        for key in keys {
            claims.push((key, processed_messages::read(seen, key).await?));
        }
        Ok(claims)
    };
    match database.snapshot(claims).await {
        Ok(claims) => Ok(Found { letters, claims: Claims::Read(claims) }),
        Err(error) if took_too_long(&error) => Ok(Found { letters, claims: Claims::TooMany }),
        Err(error) => Err(error.into()),
    }
}

fn took_too_long(error: &DatabaseError) -> bool {
    error.sqlstate() == Some("57014") || error.is_late()
}

/// The hash itself, or those that a MessageId has in the queues that are known.
async fn hashes_of(seen: &Transaction, message: &str) -> Result<Vec<MessageHash>, DatabaseError> {
    if let Ok(hash) = message.parse() {
        return Ok(vec![hash]);
    }
    let id = MessageId::new(message);
    let mut arns: Vec<QueueIdentity> = queues::read_all(seen).await?.into_keys().collect();
    arns.extend(dead_letters::queues(seen).await?.iter().map(|arn| QueueIdentity::new(arn.as_str())));
    let mut hashes: Vec<MessageHash> = arns.iter().map(|arn| MessageHasher::new(arn).hash(&id)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    Ok(hashes)
}

impl Found {
    fn html(&self, now: OffsetDateTime) -> Markup {
        let claims = match &self.claims {
            Claims::TooMany => {
                return html! {
                    (self.letters(now))
                    (trouble(
                        "The records are too many to look through within a page's time.",
                        Some("say about when the message was sent: a day before and after it are looked through"),
                    ))
                };
            }
            Claims::Read(claims) => claims,
        };
        html! {
            @if claims.is_empty() && self.letters.is_empty() {
                (verdict(Mood::Look, html! { "It is not recorded: it was not loaded, and is no dead letter." }))
                p.note { "It may still be in the queue, or have been forgotten by a retention, or its MessageId or time is another." }
            }
            @for (key, processed) in claims {
                @if let Some(processed) = processed {
                    (verdict(mood_of(processed), html! { (in_words(processed)) }))
                    (facts(&[
                        ("Hash", html! { span.id { (key.hash) } }),
                        ("Sent", html! { (moment(key.sent_at, now)) }),
                        ("Received", html! { (moment(processed.received_at, now)) }),
                        ("Recorded", html! { (moment(processed.processed_at, now)) }),
                    ]))
                }
            }
            (self.letters(now))
        }
    }

    fn letters(&self, now: OffsetDateTime) -> Markup {
        html! {
            @for letter in &self.letters {
                p.also { "A dead letter: " (hash_link(letter.key.hash)) " " (status(letter.status)) " " code { (letter.code) } " " (ago(letter.dead_lettered_at, now)) }
            }
        }
    }

    fn json(&self) -> Value {
        let claim = |(key, processed): &(MessageKey, Option<Processed>)| {
            let processed = processed.as_ref()?;
            Some(json!({
                "hash": key.hash.to_string(),
                "sent_at": exact(key.sent_at),
                "outcome": processed.outcome,
                "absorbed_by": processed.absorbed_by.map(|owner| owner.to_string()),
                "received_at": exact(processed.received_at),
                "processed_at": exact(processed.processed_at),
            }))
        };
        let records = match &self.claims {
            Claims::Read(claims) => Value::from(claims.iter().filter_map(claim).collect::<Vec<_>>()),
            Claims::TooMany => Value::Null,
        };
        json!({"records": records, "letters": self.letters.iter().map(letter_json).collect::<Vec<_>>()})
    }
}

/// A login that is in the tables is as it should be.
fn mood_of(processed: &Processed) -> Mood {
    if processed.outcome == "dead_lettered" { Mood::Look } else { Mood::Well }
}

fn in_words(processed: &Processed) -> String {
    match (processed.outcome.as_str(), processed.absorbed_by) {
        ("loaded", _) => "It is loaded: its row stands in user_logins.".to_owned(),
        ("dead_lettered", _) => "It is a dead letter.".to_owned(),
        ("absorbed", Some(owner)) => format!("It is absorbed: the message {owner} brought the same login."),
        (other, _) => format!("It is recorded as {other}."),
    }
}

impl Audit {
    fn form(&self) -> Markup {
        let value = |name| filters::given(&self.sought.given, name);
        html! {
            form.filters.find method="get" action="/audit" role="search" {
                label { span { "MessageId or hash" } input type="text" name="message" value=(value("message")) required autocomplete="off" spellcheck="false"; }
                label { span { "Sent about" } input type="text" name="sent" value=(value("sent")) placeholder="3h, a time: it is found sooner" autocomplete="off"; }
                div.buttons { button type="submit" { "Find" } @if self.sought.message.is_some() { a href="/audit" { "Clear" } } }
            }
        }
    }

    fn run(&self, run: &Run, now: OffsetDateTime) -> Markup {
        let by = html! { " · " (moment(run.begun, now)) " by " (text(&run.by)) };
        html! {
            @match &run.standing {
                Standing::Running(rules) => {
                    (verdict(Mood::Busy, html! { "Looking: " (rules) " of " (RULES.len()) " rules are done" (by) }))
                    progress max=(RULES.len()) value=(rules) {}
                }
                Standing::Failed { error, remedy } => { (trouble(error, Some(remedy))) }
                Standing::Ended { took, audit } if audit.holds() => {
                    (verdict(Mood::Well, html! { "The promise holds: every message is recorded once." }))
                    p.note { (RULES.len()) " rules, in " (format!("{:.1}", took.as_secs_f64())) " s" (by) }
                    (counts(audit))
                }
                Standing::Ended { audit, .. } => {
                    (verdict(Mood::Bad, html! { "The promise is broken: " (audit.broken.len()) " of " (RULES.len()) " rules" (by) }))
                    @for (rule, breaks) in &audit.broken { (self.broken(rule, breaks)) }
                    (counts(audit))
                }
            }
        }
    }

    fn broken(&self, rule: &Rule, breaks: &Breaks) -> Markup {
        html! {
            div.trouble {
                p { code { (rule.name) } ": " (plural(breaks.total, "message")) ", each of which " (rule.broken_by) "." }
                @if self.audits {
                    ul.ids { @for hash in breaks.first.iter().take(NAMED) { li { a.id href={ "/audit?message=" (hash) } { (hash) } } } }
                }
            }
        }
    }

    fn earlier(&self, now: OffsetDateTime) -> Markup {
        html! {
            @if self.runs.len() > 1 {
                h3 { "Before" }
                table.stack {
                    (head(&[("Began", ""), ("By", ""), ("Came to", "")]))
                    tbody {
                        @for run in self.runs.iter().skip(1) {
                            tr {
                                (cell("Began", "", moment(run.begun, now)))
                                (cell("By", "", html! { (text(&run.by)) }))
                                (cell("Came to", "", html! { (run.in_a_word()) }))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn counts(audit: &Proof) -> Markup {
    let counts = &audit.counts;
    let of = |parts: &[(u64, &str)]| {
        let parts: Vec<String> = parts.iter().map(|(count, what)| format!("{} {what}", number(*count))).collect();
        html! { (parts.join(", ")) }
    };
    facts(&[
        (
            "Messages",
            of(&[(counts.loaded, "loaded"), (counts.dead_lettered, "dead-lettered"), (counts.absorbed, "absorbed")]),
        ),
        ("Logins", of(&[(counts.rows, "rows"), (counts.adopted_rows, "from before Turnstile")])),
        (
            "Dead letters",
            of(&[
                (counts.open, "open"),
                (counts.replayed, "replayed"),
                (counts.letters_absorbed, "absorbed"),
                (counts.discarded, "discarded"),
            ]),
        ),
        ("Events", of(&[(counts.events, "in the outbox")])),
        ("Keys", of(&[(counts.identities, "remembered")])),
    ])
}

impl View for Audit {
    fn title(&self) -> String {
        match self.runs.first() {
            Some(run) => format!("{} · Audit", run.in_a_word()),
            None => "Audit".to_owned(),
        }
    }

    fn still(&self) -> Markup {
        html! {
            header.page { h1 { "Audit" } }
            section {
                h2 { "Find a message" }
                @if self.finds { (self.form()) } @else { (nothing("Where messages are is not for this role to see.")) }
                @if let Some(found) = &self.found { (found.html(self.at)) }
            }
        }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        html! {
            section {
                h2 { "Does the promise hold?" }
                @match self.runs.first() {
                    Some(run) => { (self.run(run, now)) (self.earlier(now)) }
                    None => { (nothing("No audit has run since this console began.")) }
                }
            }
        }
    }

    fn below(&self) -> Markup {
        html! {
            @if self.audits {
                form.act.inline method="post" action="/audit/run" {
                    (once())
                    button type="submit" { "Run an audit" }
                    p.note { "It reads whole tables, in one snapshot and on a connection of its own. Loaders may go on." }
                }
            } @else { (nothing("To run one, a role must be a member of turnstile_auditor.")) }
        }
    }

    fn json(&self) -> Value {
        json!({
            "at": exact(self.at),
            "message": self.sought.message,
            "found": self.found.as_ref().map(Found::json),
            "audits": self.runs.iter().map(|run| run.json(self.audits)).collect::<Vec<_>>(),
        })
    }
}
