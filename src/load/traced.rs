//! What the load does, as spans.

use std::future::Future;

use futures_util::TryFutureExt as _;
use tracing::{Instrument as _, Span};

use super::work::{Part, Way};
use crate::database::DatabaseError;
use crate::spans;

/// Makes a call to the database as this span, which says how it failed. No `async fn`: that would hold the call twice,
/// and calls within calls would fill the stack.
pub(super) fn traced<T>(
    span: Span,
    call: impl Future<Output = Result<T, DatabaseError>>,
) -> impl Future<Output = Result<T, DatabaseError>> {
    let ended = span.clone();
    let tell = move |error: &DatabaseError| spans::failed(&ended, kind(error), error.sqlstate());
    call.inspect_err(tell).instrument(span)
}

/// Its class; but for a statement that failed because another had.
fn kind(error: &DatabaseError) -> &'static str {
    match error.sqlstate() {
        Some("25P02") => "aborted",
        _ => error.class().word(),
    }
}

impl Part {
    /// An attempt at it.
    pub(super) fn span(&self) -> Span {
        let way = match self.way {
            Way::Copy => "copy",
            Way::Insert => "insert",
        };
        spans::transaction(way, self.batch.len())
    }
}
