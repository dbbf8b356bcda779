//! What `turnstile dead-letters list` takes beside what other commands on dead letters take.

use std::str::FromStr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::calls::{TIME, WHICH, WHICH_COMMANDS};
use crate::config::kinds::{Text, Whole, Word};
use crate::config::setting::{Default, OPTIONS, Setting};
use crate::stream::LOGIN;
use crate::table::dead_letters::{Order, PageEnd, Status};
use crate::table::plan_id::{NoPlanId, PlanId};

const LIST: &[&str] = &["dead-letters list"];

const KEYS: &[&str] = &LOGIN.keys::<{ LOGIN.fields.len() }>();

/// Dead letters of one field.
pub static WRONG_FIELD: Setting<Word<String>> = Setting {
    flag: Some("field"),
    variable: None,
    commands: WHICH_COMMANDS,
    heading: WHICH,
    kind: Word::of("FIELD", KEYS),
    default: Default::Unset,
    is_secret: false,
    meaning: "Only those in which this field of the login is wrong",
};

/// Dead letters before then.
pub static UNTIL: Setting<Text<OffsetDateTime>> = Setting {
    flag: Some("until"),
    variable: None,
    commands: WHICH_COMMANDS,
    heading: WHICH,
    kind: TIME,
    default: Default::Unset,
    is_secret: false,
    meaning: "Only those that became dead letters before then: a time (RFC 3339), or how long ago (90m, 24h, 7d)",
};

/// Which statuses: one, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses(pub Option<Status>);

impl FromStr for Statuses {
    type Err = <Status as FromStr>::Err;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == "all" { Ok(Self(None)) } else { word.parse().map(|status| Self(Some(status))) }
    }
}

/// Dead letters of one status.
pub static STATUS: Setting<Word<Statuses>> = Setting {
    flag: Some("status"),
    variable: None,
    commands: &["dead-letters list", "dead-letters export"],
    heading: WHICH,
    kind: Word::of("STATUS", &["open", "replayed", "absorbed", "discarded", "all"]),
    default: Default::Found("all for groups, open for --entries and export"),
    is_secret: false,
    meaning: "Only those that are open, replayed, absorbed, discarded, or all",
};

/// Dead letters of one queue.
pub static OF_QUEUE: Setting<Text<String>> = Setting {
    flag: Some("queue"),
    variable: None,
    commands: WHICH_COMMANDS,
    heading: WHICH,
    kind: Text::of("QUEUE", "give a queue's name or ARN", |text| Ok(text.to_owned())),
    default: Default::Unset,
    is_secret: false,
    meaning: "Only those that this queue delivered: its name or its ARN",
};

/// Dead letters of one message.
pub static MESSAGE_ID: Setting<Text<String>> = Setting {
    flag: Some("message-id"),
    variable: None,
    commands: LIST,
    heading: WHICH,
    kind: Text::of("ID", "give the MessageId that the queue gave it", |text| Ok(text.to_owned())),
    default: Default::Unset,
    is_secret: false,
    meaning: "With --entries, only of the message with this MessageId",
};

/// Which dead letters come first.
pub static SORT: Setting<Word<Order>> = Setting {
    flag: Some("sort"),
    variable: None,
    commands: LIST,
    heading: OPTIONS,
    kind: Word::of("ORDER", &["newest", "oldest"]),
    default: Default::Is("newest"),
    is_secret: false,
    meaning: "With --entries, which come first: the newest, or the oldest",
};

/// How many dead letters are listed.
pub static LIST_LIMIT: Setting<Whole<u64>> = Setting {
    flag: Some("limit"),
    variable: None,
    commands: LIST,
    heading: OPTIONS,
    kind: Whole(1..=100_000),
    default: Default::Is("50"),
    is_secret: false,
    meaning: "With --entries, the most to list",
};

/// Which edited body is shown.
pub static REVISION: Setting<Text<PlanId>> = Setting {
    flag: Some("revision"),
    variable: None,
    commands: &["dead-letters show"],
    heading: OPTIONS,
    kind: Text::of("PLAN", "give the number of a plan, as `dead-letters show` names it", |text| {
        text.parse().map_err(|error: NoPlanId| error.to_string())
    }),
    default: Default::Unset,
    is_secret: false,
    meaning: "With --reveal, show the body as this plan edited it",
};

/// How many plans are listed.
pub static PLANS_LIMIT: Setting<Whole<u64>> = Setting {
    flag: Some("limit"),
    variable: None,
    commands: &["dead-letters plans list"],
    heading: OPTIONS,
    kind: Whole(1..=100_000),
    default: Default::Is("20"),
    is_secret: false,
    meaning: "At most this many plans, the newest first",
};

/// Where a page of dead letters begins.
pub static AFTER: Setting<Text<PageEnd>> = Setting {
    flag: Some("after"),
    variable: None,
    commands: LIST,
    heading: OPTIONS,
    kind: Text::of("PLACE", "give what the page before ended with, like 2026-01-31T08:00:00Z/76ae…", read_page_end),
    default: Default::Unset,
    is_secret: false,
    meaning: "With --entries, go on behind this place: the page before says it at its end",
};

fn read_page_end(text: &str) -> Result<PageEnd, String> {
    let read = || {
        let (time, hash) = text.split_once('/')?;
        Some(PageEnd { dead_lettered_at: OffsetDateTime::parse(time, &Rfc3339).ok()?, hash: hash.parse().ok()? })
    };
    read().ok_or_else(|| "is not the end of a page".to_owned())
}

/// How a list is written.
pub static LIST_FORMAT: Setting<Word<ListFormat>> = Setting {
    flag: Some("format"),
    variable: None,
    commands: &["dead-letters list", "loaders"],
    heading: OPTIONS,
    kind: Word::of("FORMAT", &["text", "json", "ndjson", "csv"]),
    default: Default::Is("text"),
    is_secret: false,
    meaning: "How the answer is written: text for people, json or ndjson (one object a line) or csv for scripts",
};

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
    /// A table with a line of names (RFC 4180).
    Csv,
}

impl FromStr for ListFormat {
    type Err = super::NoWord;

    fn from_str(word: &str) -> Result<Self, super::NoWord> {
        match word {
            "text" => Ok(Self::Text),
            "json" | "ndjson" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err(super::NoWord),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_end_of_a_page_is_a_time_and_a_hash() {
        let hash = "76ae79cd".repeat(8);
        let end = PageEnd { dead_lettered_at: datetime!(2026-03-08 12:00:00.123456 UTC), hash: hash.parse().unwrap() };
        assert_eq!(read_page_end(&format!("2026-03-08T12:00:00.123456Z/{hash}")), Ok(end));
        for text in ["", "2026-03-08T12:00:00Z", "2026-03-08T12:00:00Z/76ae", &hash, &format!("soon/{hash}")] {
            assert!(read_page_end(text).is_err(), "{text}");
        }
    }
}
