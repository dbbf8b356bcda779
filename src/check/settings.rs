//! What can be judged from the settings and this machine alone.

use std::time::Duration;

use super::Judgement;
use crate::config::RunSettings;
use crate::keyring::{KEYS_VARIABLE, Keyring, KeyringError, KeyringPlace};
use crate::keys;
use crate::mask::{BASE64_IS_NO_MASK, MaskKind};
use crate::message::Identity;
use crate::stream::{Field, LOGIN};
use crate::table::turnstile_keys::Registered;

/// Ids and counts, never a key.
pub(super) fn keyring(place: &KeyringPlace, found: &Result<&Keyring, &KeyringError>) -> Judgement {
    match found {
        Ok(keyring) => {
            let (keys, active) = (keyring.ids().count(), keyring.active().as_str());
            Judgement::ok(format!("{place} holds {keys} {}, active {active}", if keys == 1 { "key" } else { "keys" }))
        }
        Err(error) => Judgement::error(place.blamed_for(error), place.remedy(error)),
    }
}

pub(super) fn keyring_file(place: &KeyringPlace) -> Judgement {
    match place.path().map(Keyring::exposure) {
        None => Judgement::ok(format!("none: the keys are looked for in {KEYS_VARIABLE}")),
        Some(Ok(None)) => Judgement::ok("only its owner may read or replace it"),
        Some(Ok(Some(exposure))) => Judgement::warning(exposure.to_string(), exposure.remedy()),
        Some(Err(_)) => Judgement::skipped("the file cannot be read"),
    }
}

pub(super) fn mask(kind: MaskKind) -> Judgement {
    match kind {
        MaskKind::Seal => Judgement::ok("seal: encrypted, and recoverable with the keyring only"),
        MaskKind::Token => Judgement::ok("token: a keyed digest, not recoverable"),
        MaskKind::Base64 => Judgement::warning(
            BASE64_IS_NO_MASK,
            "use --mask seal (recoverable with the keyring) or --mask token (not recoverable)",
        ),
    }
}

/// Whether the scheme names a field whose values can be guessed: with the hash key, one can try them all.
fn is_guessable(scheme: &str) -> bool {
    let key = scheme.strip_prefix("field:/").and_then(|key| LOGIN.field(key));
    key.is_some_and(Field::is_personal)
}

pub(super) fn identity(identity: &Identity) -> Judgement {
    let scheme = identity.to_string();
    match identity {
        Identity::Content => Judgement::warning(
            "content: equal bodies are one login for ever, and login events carry neither time nor id",
            "use --identity message-id, or field:/json/pointer where every body carries an id of its own",
        ),
        Identity::Field(..) if is_guessable(&scheme) => Judgement::warning(
            format!(
                "{scheme}: a user, a device or an address logs in more than once, and every login but the first would be \
                 absorbed or contradict it; and its values can be guessed: they are hashed with the keyring's hash key, \
                 and anyone who holds the keyring can try them"
            ),
            "name a field that holds an id of the event, or use --identity message-id",
        ),
        Identity::MessageId | Identity::Field(..) | Identity::Attribute(..) => Judgement::ok(scheme),
    }
}

/// Whether this keyring is the one with which the tables are written.
pub(super) fn registered(keys: &[Registered], keyring: &Result<&Keyring, &KeyringError>, kind: MaskKind) -> Judgement {
    let Ok(keyring) = keyring else { return Judgement::skipped("there is no keyring") };
    match keys::compare(keys, keyring, Some(kind)) {
        Ok(()) => Judgement::ok(format!("all {} are in the keyring", keys.len())),
        Err(mismatch) => Judgement::error(mismatch.to_string(), mismatch.remedy()),
    }
}

/// What bounds how long messages are in hand.
pub(super) struct Times {
    pub(super) visibility_timeout: Duration,
    pub(super) linger: Duration,
    pub(super) database_timeout: Duration,
    pub(super) queue_deadline: Duration,
}

impl Times {
    pub(super) fn of(settings: &RunSettings) -> Self {
        Self {
            visibility_timeout: settings.lane.limits.visibility_timeout,
            linger: settings.lane.limits.linger,
            database_timeout: settings.database.call_timeout,
            queue_deadline: settings.queue.call_deadline,
        }
    }
}

/// The lease is renewed when half of the visibility timeout has passed, and must land within the other half: a
/// renewal that takes as long as a call may take comes too late otherwise, and the messages come again while they
/// are loaded.
pub(super) fn lease(times: &Times) -> Judgement {
    let Times { visibility_timeout, linger, database_timeout, queue_deadline } = *times;
    let half = visibility_timeout / 2;
    let sum = format!("{half:?} is half of --visibility-timeout {visibility_timeout:?}");
    let (problem, longest) = if linger >= half {
        (format!("--linger {linger:?} gathers for as long as {sum}, when the lease is first renewed"), linger)
    } else if half < database_timeout {
        (format!("one call of --database-timeout {database_timeout:?} may outlast the lease: {sum}"), database_timeout)
    } else if half < queue_deadline {
        (format!("one renewal may take {queue_deadline:?} and outlast the lease: {sum}"), queue_deadline)
    } else {
        return Judgement::ok(format!(
            "renewed after {half:?}; one database call takes at most {database_timeout:?}, gathering {linger:?}"
        ));
    };
    let enough = (longest.max(database_timeout).max(queue_deadline) * 2 + Duration::from_secs(1)).as_secs();
    Judgement::warning(
        format!("{problem}: messages may come again while they are loaded"),
        format!("set --visibility-timeout to {enough}s or more"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    fn times(visibility_timeout: u64, linger: u64, database_timeout: u64) -> Times {
        let [visibility_timeout, linger, database_timeout] =
            [visibility_timeout, linger, database_timeout].map(Duration::from_millis);
        Times { visibility_timeout, linger, database_timeout, queue_deadline: Duration::from_secs(5) }
    }

    #[test]
    fn a_lease_must_outlast_what_may_take_longest() {
        for (times, remedy) in [
            (times(60_000, 200, 10_000), None),
            (times(20_000, 9_999, 10_000), None),
            (times(20_000, 10_000, 10_000), Some("21s")),
            (times(19_999, 200, 10_000), Some("21s")),
            (times(60_000, 30_000, 10_000), Some("61s")),
            (times(60_000, 200, 30_001), Some("61s")),
            (times(60_000, 200, 120_000), Some("241s")),
            (times(9_999, 200, 1_000), Some("11s")),
            (times(10_000, 200, 1_000), None),
        ] {
            let judged = lease(&times);
            let needed = judged.remedy.as_deref().and_then(|text| text.split(' ').find(|word| word.ends_with('s')));
            assert_eq!(needed, remedy, "{judged:?}");
            let mended = remedy.map(|text| text.trim_end_matches('s').parse().unwrap());
            let mended =
                Times { visibility_timeout: mended.map_or(times.visibility_timeout, Duration::from_secs), ..times };
            assert!(lease(&mended).level == Level::Ok, "the remedy helps: {judged:?}");
        }
    }

    #[test]
    fn what_hides_nothing_and_what_collapses_logins_is_warned_of() {
        for (kind, warned) in [(MaskKind::Seal, false), (MaskKind::Token, false), (MaskKind::Base64, true)] {
            assert_eq!(mask(kind).level == Level::Warning, warned, "{kind}");
        }
        for (scheme, warned) in [
            ("message-id", false),
            ("content", true),
            ("field:/event/id", false),
            ("attribute:EventId", false),
            ("field:/ip", true),
            ("field:/device_id", true),
            ("field:/user_id", true),
            ("field:/locale", false),
        ] {
            assert_eq!(identity(&scheme.parse().unwrap()).level == Level::Warning, warned, "{scheme}");
        }
    }

    #[test]
    fn a_missing_keyring_is_an_error_that_says_how_to_make_one() {
        let judged = keyring(&KeyringPlace::Nowhere, &Err(&KeyringError::Absent));
        assert_eq!(judged.level, Level::Error);
        assert!(judged.remedy.unwrap().contains("turnstile keys new"));
    }
}
