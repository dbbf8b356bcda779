//! What an operator is told of each code: `turnstile dead-letters list` and docs/OPERATIONS.md say it.

use super::Rejection;

/// What is known of a code before anybody has looked at a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The code.
    pub code: &'static str,
    /// What the body is or has: it goes on after "the body".
    pub body: &'static str,
    /// What usually causes it.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Rejection {
    /// What to say of a code; none: it is of another version.
    pub fn advice(code: &str) -> Option<&'static Advice> {
        ADVICE.iter().find(|advice| advice.code == code)
    }

    /// The same of every code, in the order of [`Rejection::CODES`].
    pub const ADVICE: &'static [Advice] = &ADVICE;
}

const SENDER: &str = "have them sent again, corrected; then discard these";
const STRANGER: &str = "find out who may send to the queue; then discard these";
const NO_RELAY: &str = "find out who else sends to the queue; then discard these";

const fn of(code: &'static str, body: &'static str, cause: &'static str, remedy: &'static str) -> Advice {
    Advice { code, body, cause, remedy }
}

const ADVICE: [Advice; Rejection::CODES.len()] = [
    of("empty_body", "is empty or blank", "an error path of the sender", SENDER),
    of("invalid_utf8", "is not UTF-8", "a file read in another encoding, or a compressed body", SENDER),
    of("byte_order_mark", "starts with a byte order mark", "a file saved by an editor that marks its encoding", SENDER),
    of("nested_too_deep", "is nested deeper than any login", "a test, or an attack", STRANGER),
    of("invalid_json", "is not JSON", "text put together by hand, or single quotes", SENDER),
    of("truncated_json", "is JSON that ends too early", "a body that was cut at a limit of its length", SENDER),
    of("trailing_data", "goes on after its JSON value", "two bodies joined together", SENDER),
    of("array_body", "is a JSON array", "a batch sent as one message", SENDER),
    of("not_an_object", "is JSON, but not an object", "a body encoded twice: a JSON string", SENDER),
    of("number_out_of_range", "has a number that no program can hold", "a test, or an attack", STRANGER),
    of(
        "missing_field",
        "lacks a field",
        "an app version that does not know the field; or, if every body lacks it, an envelope: an SNS topic wraps what it \
         delivers unless raw message delivery is on for the subscription, and EventBridge wraps it too",
        SENDER,
    ),
    of("null_field", "has a field that is null", "an app version that does not know the value", SENDER),
    of("wrong_type", "has a field that is not a string", "a version or an id sent as a number", SENDER),
    of("duplicate_key", "has a key twice", "two writers of one body", SENDER),
    of("field_too_long", "has a field longer than its column", "a value that is not an id at all", SENDER),
    of("empty_field", "has an empty field", "an app version that does not know the value", SENDER),
    of("nul_character", "has the character U+0000 in a field", "a buffer of a fixed length sent whole", SENDER),
    of("lone_surrogate", "has half a character", "text cut in the middle of a character", SENDER),
    of("invalid_ip", "has an ip that is not an address", "a host name, a port, or a list of proxies", SENDER),
    of(
        "invalid_version",
        "has a version that is not one to three numbers",
        "a build number or a name as version",
        SENDER,
    ),
    of("version_pre_release", "has a version with a pre-release tag", "a beta of the app", SENDER),
    of(
        "version_part_too_large",
        "has a version that fits into no sortable integer",
        "a date or build number as version",
        SENDER,
    ),
    of(
        "not_an_event",
        "is JSON, but not what a relay sends",
        "an app that sends to the wrong queue, or a loader with the wrong --body",
        "correct whichever is wrong; if it is --body, restart the loaders and replay these, else discard them",
    ),
    of(
        "invalid_mask",
        "is an event with a value that is not masked, or not authentic under the key that it names",
        "a sender that is not a relay, a relay whose loaders mask with base64, or two keys of one id",
        "compare the keyrings and the --mask of both sides; where that was the cause, correct it and replay these",
    ),
    of("invalid_day", "is an event whose day is not a date", "a sender that is not a relay", NO_RELAY),
    of(
        "identity_missing",
        "does not carry what --identity names",
        "a sender without ids, or an --identity that names the wrong place",
        "if --identity is wrong, correct it, restart the loaders and replay these; else have the sender corrected",
    ),
    of(
        "identity_without_time",
        "has a key that is none of those that --identity-time names",
        "a producer that makes its ids another way, as UUIDs of version 4, or an --identity that names the wrong place",
        "if a setting is wrong, correct it, restart the loaders and replay these; else have the sender corrected",
    ),
    of(
        "identity_ahead",
        "has a key whose time is more than a day after the message was sent",
        "a producer whose clock is wrong, or ids that were made up",
        "have the producer's clock corrected and the logins sent again under new ids; then discard these",
    ),
    of(
        "refused_by_database",
        "is a login, but the table refuses it",
        "a constraint or trigger of an adopted table",
        "change or drop what refuses them, then replay these",
    ),
    of(
        "contradicts",
        "is a login, but another login was loaded under its key",
        "a producer whose ids are constant, wrap around, or are shared by several machines",
        "have the producer corrected and the logins sent again under ids of their own; then discard these: a replay cannot \
         load them, because their keys are taken",
    ),
    of(
        "older_than_memory",
        "was sent before the horizon, or has a key whose own time is before it: it may have been loaded, and its claim removed since",
        "a queue that was read very late, a producer that sends what it made long ago, or a horizon that is too recent",
        "look up which of them were loaded, and discard those; replay the others with --force",
    ),
    of(
        "not_requeued",
        "came with the note of a message that was sent back to its queue, which this keyring did not sign for it",
        "a requeue with another keyring, or a sender that passes a body off as that of a dead letter",
        "discard these; if it was a requeue, the letters that it was of are open still: requeue them with the loaders' keyring",
    ),
    of(
        "redriven",
        "is a login, but its queue gave it up and moved it to its dead-letter queue",
        "loaders that were stopped or without a database for longer than the queue's maxReceiveCount allows for",
        "replay these; then give the queue a larger maxReceiveCount, if it happens often",
    ),
];

/// Every code has its row, in the same order: without it this does not compile.
const _: () = {
    let mut row = 0;
    while row < ADVICE.len() {
        #[expect(clippy::indexing_slicing, reason = "a constant: it is evaluated by the compiler")]
        let (code, advised) = (Rejection::CODES[row].as_bytes(), ADVICE[row].code.as_bytes());
        assert!(are_equal(code, advised), "a code has no advice, or one in another place");
        row += 1;
    }
};

const fn are_equal(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([a, one_rest @ ..], [b, other_rest @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        (one, other) = (one_rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}
