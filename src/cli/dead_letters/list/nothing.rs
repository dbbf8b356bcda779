//! What is said where nothing is found: what was looked for, and what else there is, so that a slip in a filter does not read
//! as good news.

use super::number;
use crate::cli::terminal::{printable, seconds};
use crate::database::{DatabaseError, Transaction};
use crate::table::dead_letters::{Counted, Search, Status, count_some, queues};

/// What there is beside what was looked for.
pub(super) struct Elsewhere {
    open: Counted,
    queues: Vec<String>,
}

impl Elsewhere {
    pub(super) async fn look(transaction: &Transaction) -> Result<Self, DatabaseError> {
        let open = Search { status: Some(Status::Open), ..Search::default() };
        Ok(Self { open: count_some(transaction, &open).await?, queues: queues(transaction).await? })
    }

    /// The sentence that is said instead of a list.
    pub(super) fn in_words(&self, search: &Search, message_id: Option<&str>) -> String {
        let mut said = sought(search, message_id);
        if !self.open.is_none() {
            let are = if self.open.letters == 1 { "letter is" } else { "letters are" };
            said += &format!("; {} other dead {are} open", number(self.open));
        }
        if search.queue.is_some() && !self.queues.is_empty() {
            said += &format!("; dead letters came from: {}", self.queues.join(", "));
        }
        said
    }
}

/// `no open dead letters with the code invalid_ip`.
fn sought(search: &Search, message_id: Option<&str>) -> String {
    let Search { code, field, status, queue, since, until } = search;
    let status = status.map(|status| format!("{} ", status.as_str())).unwrap_or_default();
    let parts = [
        code.as_ref().map(|code| format!("with the code {code}")),
        field.as_ref().map(|field| format!("with the field {field}")),
        queue.as_ref().map(|queue| format!("from the queue {}", printable(queue.as_bytes()))),
        message_id.map(|id| format!("with the MessageId {}", printable(id.as_bytes()))),
        since.map(|since| format!("since {}", seconds(since))),
        until.map(|until| format!("before {}", seconds(until))),
    ];
    parts.into_iter().flatten().fold(format!("no {status}dead letters"), |said, part| format!("{said} {part}"))
}
