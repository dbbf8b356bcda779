//! Dead letters that a form sends back to their queue.

use super::Console;
use super::acts::to_its_end;
use super::doing::{SentBack, Told};
use super::session::Session;
use crate::message::MessageHash;
use crate::queue::sqs::{QueueAddress, SqsSettings};
use crate::requeue::{Requeue, Unfinished};
use crate::table::dead_letters::Filter;
use crate::table::operator_actions::Said;

/// The most letters that are sent back at once: they are sent before the page answers.
pub(super) const MOST: u64 = 1_000;

/// Sends letters back. It comes to its end, whether the browser still waits or not.
pub(super) async fn send_back(
    console: &Console,
    session: &Session,
    hashes: Vec<MessageHash>,
    said: Said,
    as_delivered: bool,
) -> Told {
    let Some(keys) = &console.keys else {
        return Told::Nothing("Nothing was done: this console has no keyring, with which it would sign.".to_owned());
    };
    let of = hashes.len();
    let requeue = Requeue {
        database: session.database.clone(),
        opener: keys.keyring.body_opener(),
        hash_key: keys.keyring.shared_hash_key(),
        said,
        as_delivered,
    };
    let (allow_endpoint_override, allow_clear_queue) =
        (console.settings.allow_endpoint_override, console.settings.allow_clear_queue);
    let queue_at = move |address: QueueAddress| SqsSettings {
        allow_endpoint_override,
        allow_clear_queue,
        ..SqsSettings::new(address)
    };
    match to_its_end(async move || requeue.run(&Filter::of(hashes), queue_at, |_| {}).await).await {
        Ok(report) => Told::SentBack(SentBack { of, report, stopped: None }),
        Err(Unfinished { report, error }) => {
            tracing::warn!(%error, remedy = error.remedy(), "sending back stopped");
            let stopped = Some(format!("{error}; {}", error.remedy()));
            Told::SentBack(SentBack { of, report, stopped })
        }
    }
}
