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

label! {
    /// Where a dead letter stands.
    pub LetterStatus as "status" {
        /// It waits for somebody who decides.
        Open = "open",
        /// Its login is loaded.
        Replayed = "replayed",
        /// Another message had brought its login.
        Absorbed = "absorbed",
        /// Somebody has given it up.
        Discarded = "discarded",
    }
}

label! {
    /// What an operator did, as the history has it.
    pub Deed as "action" {
        /// Sealed bodies were read to replay them.
        Taken = "taken",
        /// A sealed body was read to be shown.
        Revealed = "revealed",
        /// An edited body was added.
        Edited = "edited",
        /// A body was read to be sent back to its queue.
        Requeued = "requeued",
        /// The login was loaded.
        Replayed = "replayed",
        /// A replay found that another message had brought the login.
        Absorbed = "absorbed",
        /// The letter was resolved as not worth replaying.
        Discarded = "discarded",
        /// A discarded letter was opened again.
        Reopened = "reopened",
        /// Sealed bodies were read to be written to a file.
        Exported = "exported",
        /// The letter came from a file, or from another queue.
        Imported = "imported",
        /// Something was noted about all letters of a code.
        Noted = "noted",
        /// A plan was cancelled.
        Cancelled = "cancelled",
        /// Receiving was paused.
        Paused = "paused",
        /// A pause was ended.
        Resumed = "resumed",
        /// Masked values were recovered.
        Unmasked = "unmasked",
    }
}

label! {
    /// A table that grows.
    pub GrowingTable as "table" {
        /// The logins.
        UserLogins = "user_logins",
        /// The claims.
        ProcessedMessages = "processed_messages",
        /// The keys of the producers.
        Identities = "identities",
        /// The dead letters.
        DeadLetters = "dead_letters",
        /// The events, in all partitions.
        Outbox = "outbox",
        /// What operators did.
        OperatorActions = "operator_actions",
    }
}

label! {
    /// A query that the console makes for its figures.
    pub Query as "query" {
        /// The dead letters.
        DeadLetters = "dead_letters",
        /// The sizes of the tables.
        TableBytes = "table_bytes",
        /// What operators did.
        OperatorActions = "operator_actions",
        /// The outbox.
        Outbox = "outbox",
    }
}

label! {
    /// A page of the console, or what a form of it is sent to.
    pub Route as "route" {
        /// Now.
        Now = "/",
        /// The loaders.
        Loaders = "/loaders",
        /// One loader; pausing and resuming.
        Loader = "/loaders/{id}",
        /// The costs.
        Costs = "/costs",
        /// Groups of dead letters.
        Groups = "/dead-letters",
        /// Single letters.
        Letters = "/dead-letters/list",
        /// What may be done with all that match.
        Every = "/dead-letters/all",
        /// One letter.
        Letter = "/dead-letters/{hash}",
        /// What is done with letters.
        ActOnLetters = "/dead-letters/{hash}/{act}",
        /// The plans; drawing one up.
        Plans = "/plans",
        /// One plan; running and cancelling it.
        Plan = "/plans/{plan}",
        /// The outbox.
        Outbox = "/outbox",
        /// The actions.
        Actions = "/actions",
        /// The audits; running one.
        Audit = "/audit",
        /// The check.
        Check = "/check",
        /// Signing in.
        SignIn = "/sign-in",
        /// Signing out.
        SignOut = "/sign-out",
        /// Style, script and icon.
        Assets = "/assets",
        /// Pages that keep themselves up to date: the start of each stream.
        Events = "/events",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// The class of an answer's status.
    pub StatusClass as "code" {
        /// It was answered.
        Answered = "2xx",
        /// It leads elsewhere.
        Elsewhere = "3xx",
        /// It was refused.
        Refused = "4xx",
        /// It failed.
        Failed = "5xx",
    }
}

label! {
    /// A rule of an audit.
    pub AuditRule as "rule" {
        /// A login without its row.
        LoadedWithoutRow = "loaded_without_row",
        /// A login without its event.
        LoadedWithoutEvent = "loaded_without_event",
        /// A login whose letter is not replayed.
        LoadedWithUnreplayedLetter = "loaded_with_unreplayed_letter",
        /// A dead letter that is missing.
        DeadLetteredWithoutLetter = "dead_lettered_without_letter",
        /// A dead letter that is replayed, and whose message is not loaded.
        DeadLetteredWithReplayedLetter = "dead_lettered_with_replayed_letter",
        /// A dead letter with a row.
        DeadLetteredWithRow = "dead_lettered_with_row",
        /// A dead letter with an event.
        DeadLetteredWithEvent = "dead_lettered_with_event",
        /// An absorbed message with a row.
        AbsorbedWithRow = "absorbed_with_row",
        /// An absorbed message with an event.
        AbsorbedWithEvent = "absorbed_with_event",
        /// An absorbed message whose letter is not.
        AbsorbedWithUnabsorbedLetter = "absorbed_with_unabsorbed_letter",
        /// A message that absorbs itself.
        AbsorbedByItself = "absorbed_by_itself",
        /// A message that nothing loaded has absorbed.
        AbsorbedByNothing = "absorbed_by_nothing",
        /// A key of a message that is not loaded.
        IdentityOfUnloaded = "identity_of_unloaded",
        /// A key that stands twice.
        IdentityTwice = "identity_twice",
        /// A message that is recorded twice.
        RecordedTwice = "recorded_twice",
        /// A message without its time.
        RecordedWithoutTime = "recorded_without_time",
        /// A row of no message.
        RowWithoutClaim = "row_without_claim",
        /// A row that stands twice.
        RowTwice = "row_twice",
        /// A row without its time.
        RowWithoutTime = "row_without_time",
        /// A letter of no message.
        LetterWithoutClaim = "letter_without_claim",
        /// A letter that is resolved otherwise than its message.
        LetterResolvedOtherwise = "letter_resolved_otherwise",
        /// An event of no message.
        EventWithoutClaim = "event_without_claim",
        /// An event that stands twice.
        EventTwice = "event_twice",
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

impl Code {
    /// The code of this name, where this program has it.
    pub fn named(name: &str) -> Option<Self> {
        Rejection::CODES.iter().find(|code| **code == name).map(|code| Self(code))
    }
}

impl StatusClass {
    /// The class of a status.
    pub fn of(status: u16) -> Self {
        match status {
            ..300 => Self::Answered,
            300..400 => Self::Elsewhere,
            400..500 => Self::Refused,
            500.. => Self::Failed,
        }
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
