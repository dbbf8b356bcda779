//! What `turnstile outbox` takes.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::relay::read_sink;
use crate::config::kinds::{Text, Whole, Word};
use crate::config::setting::{Default, OPTIONS, Setting};
use crate::relay::again::Bound;
use crate::table::relay_refusals::Status;

const WHICH: &str = "Which events";

/// Which sink is meant.
pub static OF_SINK: Setting<Text<String>> = Setting {
    flag: Some("sink"),
    variable: None,
    commands: &[
        "outbox status",
        "outbox failures list",
        "outbox failures retry",
        "outbox failures discard",
        "outbox replay",
    ],
    heading: OPTIONS,
    kind: Text::of("NAME", "give the name of a sink: `turnstile outbox status` shows them", read_sink),
    default: Default::Unset,
    is_secret: false,
    meaning: "The sink that is meant, by its name",
};

/// Which refused events are listed.
pub static REFUSED_STATUS: Setting<Word<Refusals>> = Setting {
    flag: Some("status"),
    variable: None,
    commands: &["outbox failures list"],
    heading: WHICH,
    kind: Word::of("STATUS", &["waiting", "set_aside", "discarded", "all"]),
    default: Default::Is("all"),
    is_secret: false,
    meaning: "Only those that are waiting (they are tried again), set_aside (they wait for an operator), discarded, or all",
};

/// Which statuses: one, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals(pub Option<Status>);

impl std::str::FromStr for Refusals {
    type Err = <Status as std::str::FromStr>::Err;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == "all" { Ok(Self(None)) } else { word.parse().map(|status| Self(Some(status))) }
    }
}

/// Refused events of one code.
pub static REFUSED_CODE: Setting<Text<String>> = Setting {
    flag: Some("code"),
    variable: None,
    commands: &["outbox failures list", "outbox failures retry", "outbox failures discard"],
    heading: WHICH,
    kind: Text::of("CODE", "give a code as `turnstile outbox failures list` shows it", |text| {
        match text.chars().count() <= 200 {
            true => Ok(text.to_owned()),
            false => Err("is not a code".to_owned()),
        }
    }),
    default: Default::Unset,
    is_secret: false,
    meaning: "Only those of which the sink says this, as `outbox failures list` shows it",
};

/// How many refused events are listed.
pub static REFUSED_LIMIT: Setting<Whole<u64>> = Setting {
    flag: Some("limit"),
    variable: None,
    commands: &["outbox failures list"],
    heading: OPTIONS,
    kind: Whole(1..=100_000),
    default: Default::Is("50"),
    is_secret: false,
    meaning: "The most to list",
};

/// Where a replay begins.
pub static REPLAY_FROM: Setting<Text<Bound>> = Setting {
    flag: Some("from"),
    variable: None,
    commands: &["outbox replay"],
    heading: WHICH,
    kind: Text::of("POSITION|TIME", BOUND_REMEDY, read_bound),
    default: Default::Unset,
    is_secret: false,
    meaning: "The first event that is carried again: its position, or the time (RFC 3339) from which on events were written",
};

/// Where a replay ends.
pub static REPLAY_TO: Setting<Text<Bound>> = Setting {
    flag: Some("to"),
    variable: None,
    commands: &["outbox replay"],
    heading: WHICH,
    kind: Text::of("POSITION|TIME", BOUND_REMEDY, read_bound),
    default: Default::Unset,
    is_secret: false,
    meaning: "The last event that is carried again: its position, or the time (RFC 3339) until which events were written",
};

const BOUND_REMEDY: &str = "give a position like 120000, or a time like 2026-01-31T08:00:00Z";

fn read_bound(text: &str) -> Result<Bound, String> {
    let position = text.parse().ok().filter(|position| *position >= 0).map(Bound::Position);
    let time = || OffsetDateTime::parse(text, &Rfc3339).ok().map(Bound::Time);
    position.or_else(time).ok_or_else(|| "is neither a position nor a time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_a_range_is_a_position_or_a_time() {
        let time = time::macros::datetime!(2026-01-31 08:00 UTC);
        for (text, bound) in [
            ("0", Some(Bound::Position(0))),
            ("120000", Some(Bound::Position(120_000))),
            ("2026-01-31T08:00:00Z", Some(Bound::Time(time))),
            ("2026-01-31T09:00:00+01:00", Some(Bound::Time(time))),
            ("-1", None),
            ("24h", None),
            ("2026-01-31", None),
        ] {
            assert_eq!(read_bound(text).ok(), bound, "{text}");
        }
    }
}
