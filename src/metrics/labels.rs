//! The labels of the figures. Each has a closed set of values, so that no label grows with the traffic.

use super::figure::{Label, label};
use crate::rejection::Rejection;

label! {
    /// How a delivery ended. Each ends in one way.
    pub Outcome as "outcome" {
        /// Its login is a row.
        Loaded = "loaded",
        /// Its message is a dead letter.
        DeadLettered = "dead_lettered",
        /// It brought nothing new: the message, or its login, was recorded before.
        Absorbed = "absorbed",
        /// It brought another login under a key that was taken.
        Contradicting = "contradicting",
        /// It went back to the queue for another attempt.
        Returned = "returned",
        /// It was given back to the queue untried, or because it alone had to wait.
        Released = "released",
        /// It arrived damaged, and comes again.
        Damaged = "damaged",
    }
}

label! {
    /// Which delivery of a message it was.
    pub Nth as "delivery" {
        /// The first.
        First = "first",
        /// A later one.
        Repeat = "repeat",
    }
}

label! {
    /// A step of the transaction that records a batch.
    pub Phase as "phase" {
        /// Taking a connection, and BEGIN.
        Begin = "begin",
        /// Claiming the messages, and the keys of their logins.
        Claim = "claim",
        /// Writing rows, events and dead letters.
        Write = "write",
        /// COMMIT, and the server's word that it holds.
        Commit = "commit",
    }
}

label! {
    /// How a transaction that records a batch ended.
    pub Ended as "outcome" {
        /// It is committed, and the server has said so.
        Committed = "committed",
        /// It failed in passing, or nobody knows: it runs again.
        Transient = "transient",
        /// It waited for somebody, or took too long.
        Contended = "contended",
        /// The copy was refused: its rows are inserted one after the other instead.
        CopyRefused = "copy_refused",
        /// A row was refused.
        RowRefused = "row_refused",
        /// The database cannot be loaded into: the loader stops.
        Stopped = "stopped",
    }
}

label! {
    /// What a lane is doing.
    pub LaneState as "state" {
        /// It waits for its turn to receive.
        Resting = "resting",
        /// It asks the queue.
        Receiving = "receiving",
        /// It judges and records what it received.
        Loading = "loading",
        /// The database is away or busy: what it received is tried again.
        WaitingForDatabase = "waiting_for_database",
        /// The queue is away: it pauses before it asks again.
        WaitingForQueue = "waiting_for_queue",
    }
}

label! {
    /// What a lane of a relay is doing.
    pub RelayLane as "state" {
        /// It waits: for its turn, or for something to do.
        Resting = "resting",
        /// It asks the database, or notes there what it has done.
        Noting = "noting",
        /// It carries events to the sink.
        Carrying = "carrying",
        /// The database is away or busy: it asks again.
        WaitingForDatabase = "waiting_for_database",
        /// The sink takes nothing: it pauses before it tries again.
        WaitingForSink = "waiting_for_sink",
    }
}

label! {
    /// How a relay comes to an event.
    pub TakenUp as "how" {
        /// It lay above the frontier.
        Claimed = "claimed",
        /// The relay that had it is gone, or was too slow.
        TakenOver = "taken_over",
        /// Its transaction was committed late, in a gap.
        FromGap = "from_gap",
        /// The sink has refused it, and it is tried again.
        Again = "again",
    }
}

label! {
    /// How an event ended that a relay has taken up. Each ends in one way.
    pub Carriage as "outcome" {
        /// The sink has taken it.
        Carried = "carried",
        /// The sink refuses it for what it is: it waits for another attempt, or is set aside.
        Refused = "refused",
        /// The relay has left it to others, or to a later attempt.
        Left = "left",
    }
}

label! {
    /// What is wrong with an event that a sink refuses.
    pub Refusal as "class" {
        /// It is too large.
        TooLarge = "too_large",
        /// What it holds is not allowed.
        Content = "content",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// How a call to a sink ended.
    pub SinkCall as "outcome" {
        /// Everything was taken.
        Taken = "taken",
        /// Something was taken or refused, and the rest was not taken.
        Partly = "partly",
        /// It was refused for what is in it.
        Refused = "refused",
        /// It was not answered, or nothing was taken for now.
        Away = "away",
        /// Nobody will ever take an event there again: the relay ends.
        Gone = "gone",
    }
}

label! {
    /// What came of a look for events.
    pub Claiming as "outcome" {
        /// Events were found.
        Found = "found",
        /// There was nothing to carry, or another relay was looking.
        Nothing = "nothing",
    }
}

label! {
    /// How an event stands that a sink has refused.
    pub Standing as "status" {
        /// It is tried again.
        Waiting = "waiting",
        /// It waits for somebody who decides.
        SetAside = "set_aside",
    }
}

label! {
    /// What a connection of the pool is doing.
    pub ConnectionState as "state" {
        /// A lane has it.
        Used = "used",
        /// It waits for somebody who wants it.
        Idle = "idle",
    }
}

label! {
    /// A call to the queue.
    pub Operation as "operation" {
        /// ReceiveMessage.
        Receive = "receive",
        /// DeleteMessageBatch.
        Delete = "delete",
        /// ChangeMessageVisibilityBatch.
        ChangeVisibility = "change_visibility",
        /// GetQueueAttributes.
        Attributes = "attributes",
    }
}

label! {
    /// How a call to the queue ended.
    pub CallOutcome as "outcome" {
        /// It was answered.
        Ok = "ok",
        /// The queue wants fewer calls.
        Throttled = "throttled",
        /// No answer came in time.
        Timeout = "timeout",
        /// No connection could be made, or it was lost.
        Connection = "connection",
        /// There were no credentials, or the queue refused them.
        Credentials = "credentials",
        /// The signature was refused because of a clock.
        Clock = "clock",
        /// The queue's server failed.
        Server = "server",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// What became of a delete.
    pub Deletion as "outcome" {
        /// The queue deleted the delivery.
        Deleted = "deleted",
        /// It did not: the message comes again, and is absorbed.
        NotDeleted = "not_deleted",
    }
}

label! {
    /// What became of the renewal of a lease.
    pub Renewal as "outcome" {
        /// The message stays invisible to others.
        Renewed = "renewed",
        /// It may become visible to others while it is in hand.
        Failed = "failed",
    }
}

label! {
    /// Where a message of the queue is.
    pub Whereabouts as "state" {
        /// A receive would deliver it.
        Visible = "visible",
        /// It was delivered, to this loader or to another, and is neither deleted nor visible again.
        InFlight = "in_flight",
        /// Its delay has not passed.
        Delayed = "delayed",
    }
}

label! {
    /// What is reached over the network.
    pub Peer as "peer" {
        /// The database.
        Database = "database",
        /// The queue.
        Queue = "queue",
    }
}

label! {
    /// How much a line of the log matters.
    pub LogLevel as "level" {
        /// The loader stops.
        Error = "error",
        /// Something was refused, or failed and should recover by itself.
        Warn = "warn",
        /// All is as it should be.
        Info = "info",
    }
}

/// The code of a rejection ([`Rejection::code`]).
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str);

impl Label for Code {
    const KEY: &'static str = "code";
    const VALUES: &'static [&'static str] = Rejection::CODES;

    fn index(&self) -> usize {
        Rejection::CODES.iter().position(|code| *code == self.0).unwrap_or(Rejection::CODES.len())
    }
}

impl From<&Rejection> for Code {
    fn from(rejection: &Rejection) -> Self {
        Self(rejection.code())
    }
}

impl Refusal {
    /// What a sink's code says. Sinks have codes of their own, and no list of them ends: what is not known is counted together.
    pub fn of(code: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| code.contains(word));
        if says(&["TooLong", "TooLarge", "413"]) {
            Self::TooLarge
        } else if says(&["Invalid", "Malformed", "Serialization", "400", "415", "422"]) {
            Self::Content
        } else {
            Self::Other
        }
    }
}

impl Nth {
    /// Which delivery this receive count tells.
    pub fn of(receive_count: u32) -> Self {
        if receive_count <= 1 { Self::First } else { Self::Repeat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_sink_is_of_a_known_class_or_another() {
        for (code, class) in [
            ("BatchRequestTooLong", Refusal::TooLarge),
            ("status 413", Refusal::TooLarge),
            ("InvalidMessageContents", Refusal::Content),
            ("status 422", Refusal::Content),
            ("NotToday", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(code), class, "{code}");
        }
    }
}
