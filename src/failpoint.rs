//! Where a test may break the program on purpose: the edges of every step, and the mutants of the promise.
//!
//! Only a test build has them (`--features failpoints`, which a release build refuses). In every other build each hook
//! does the work that it is given, and nothing calls what would break it.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for test builds: a release must not hold what breaks it on purpose");

/// The steps that have edges, in the order of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bringing the tables to this version.
    Migrate,
    /// Receiving from the queue.
    Receive,
    /// Giving rejected messages back to the queue.
    Return,
    /// Claiming messages.
    Claim,
    /// Claiming the keys of logins.
    Identities,
    /// Inserting logins.
    Rows,
    /// Inserting events.
    Events,
    /// Inserting dead letters.
    DeadLetters,
    /// Looking for the claims of duplicates.
    Compare,
    /// The commit.
    Commit,
    /// Deleting from the queue.
    Delete,
    /// Renewing the lease.
    Renew,
    /// Ending in order.
    Shutdown,
    /// Adding letters to the plan of a replay, edited or not.
    ReplayForesee,
    /// Taking dead letters for a replay.
    ReplayTake,
    /// Marking the claims of replayed dead letters.
    ReplayClaim,
    /// Resolving replayed dead letters.
    ReplayResolve,
    /// Reading dead letters to send them back to their queue.
    RequeueRead,
    /// Sending them.
    RequeueSend,
    /// Taking the dead letters of messages that came back.
    RequeuedTake,
    /// Resolving them.
    RequeuedResolve,
    /// Claiming messages and writing their dead letters for an import.
    Import,
    /// A step of a relay.
    Relay(RelayStep),
    /// A step of retention.
    Retain(RetainStep),
    /// A step of the archive.
    Archive(ArchiveStep),
}

/// The steps of the archive, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveStep {
    /// Noting what is archived from now on.
    Note,
    /// Writing the end of a file, which has no name in the archive yet.
    Write,
    /// Storing it under its name.
    Store,
    /// Reading back what is stored.
    ReadBack,
    /// Storing the manifest.
    Manifest,
    /// Recording it in the database.
    Record,
    /// Dropping the partition.
    Drop,
    /// Deleting a file in whose place another stands.
    Remove,
}

impl From<ArchiveStep> for Step {
    fn from(step: ArchiveStep) -> Self {
        Self::Archive(step)
    }
}

/// The steps of a relay, in the order of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayStep {
    /// Taking over a chunk whose lease has ended.
    TakeOver,
    /// Reading events above the frontier.
    Claim,
    /// Noting the gaps between them.
    Note,
    /// Opening their chunk.
    Open,
    /// Moving the frontier.
    Mark,
    /// A call of the sink.
    Carry,
    /// Renewing the lease on a chunk.
    Renew,
    /// Closing a chunk.
    Close,
    /// Noting the events that the sink has refused.
    Refused,
    /// Giving a chunk back.
    Release,
    /// Locking and reading gaps.
    Gaps,
    /// Asking who writes.
    Writers,
    /// Reading what stands in the gaps now.
    Fill,
    /// Removing gaps.
    Dead,
    /// Taking up refused events.
    TryAgain,
    /// Noting what became of them.
    Settle,
}

impl From<RelayStep> for Step {
    fn from(step: RelayStep) -> Self {
        Self::Relay(step)
    }
}

/// The steps of retention, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainStep {
    /// Moving the horizon.
    Horizon,
    /// Removing resolved letters and old events.
    Remove,
    /// Noting that a partition leaves.
    Note,
    /// Detaching it.
    Detach,
    /// Noting that it is detached.
    Detached,
    /// Dropping it.
    Drop,
    /// Noting that it is gone.
    Dropped,
    /// Putting a partitioned table in the place of an ordinary one.
    Convert,
}

impl From<RetainStep> for Step {
    fn from(step: RetainStep) -> Self {
        Self::Retain(step)
    }
}

/// A way to break the promise that the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Messages are deleted from the queue before they are committed.
    DeleteBeforeCommit,
    /// The claims are committed before the rows.
    ClaimInAnEarlierTransaction,
    /// The claims are committed after the rows.
    ClaimInALaterTransaction,
    /// What COMMIT answers is believed.
    CommitNotVerified,
    /// A commit that may or may not hold is taken to hold.
    AmbiguousCommitTakenAsCommitted,
    /// The messages of a commit that may or may not hold are dead-lettered.
    AmbiguousCommitDeadLettered,
    /// A row that the database refuses takes its batch with it.
    BatchErrorDeadLettersNeighbours,
    /// A message that is not a login is deleted without a dead letter.
    DeleteWithoutDeadLetter,
    /// Messages that were recorded before claim the keys of their logins too.
    KeysOfRepeatedMessages,
    /// Two messages of one key in one batch are both taken for the first.
    TwinsTakenForNew,
    /// The dead letter of a row that the database refuses keeps the key of its login.
    RefusedLetterKeepsItsKey,
    /// Another login under a key of the same batch is absorbed as the same one would be.
    ContradictionInABatchAbsorbed,
    /// A message is claimed under the key of its login, where it has one.
    ClaimUnderTheKey,
    /// Whose fault a failure is, is read off its SQLSTATE.
    ClassBySqlstateAlone,
    /// Who waits for another transaction waits with all of its batch, for as long as it takes.
    WaitForEver,
    /// Deletes are taken as done, whatever the queue says.
    RefusedDeletesTakenAsDone,
    /// A relay does not note what is missing between the events that it sees.
    GapsNotNoted,
    /// A gap is given up the first time that somebody looks at it.
    GapsDeadAtFirstSight,
    /// What stands in gaps is read before it is asked who writes.
    RowsReadBeforeLocks,
    /// It is asked who writes before the gaps themselves are read.
    LocksReadBeforeGaps,
    /// A prepared transaction is known by its id, which a crash of the server changes.
    PreparedKnownById,
    /// The frontier is moved in a transaction before that of the chunk.
    MarkBeforeChunk,
    /// Events are claimed while another relay claims.
    ClaimWithoutLock,
    /// The frontier is what this process remembers of it.
    FrontierInMemory,
    /// A chunk is closed although another relay has the lease on it.
    CloseWithoutLease,
    /// A chunk is closed before its events are carried.
    CloseBeforeSent,
    /// What the sink refuses is noted in a transaction after that of the close.
    RefusalsNotedAfterClose,
    /// What the sink refused of a chunk that another relay has is noted too.
    RefusalsOfLostChunkNoted,
    /// A sink that is away counts as one that refuses.
    AwayTakenAsRefused,
    /// What a sink did not take of a call counts as taken.
    FailedTakenAsTaken,
}

#[cfg(not(feature = "failpoints"))]
pub use self::disarmed::{VARIABLES, around, diverted, mutated, unless};

#[cfg(feature = "failpoints")]
pub use self::armed::{Edge, Side, VARIABLES, around, diverted, mutated, unless};

/// Every hook of a build that is not for tests: it does the work, and what would change it is never called.
#[cfg(not(feature = "failpoints"))]
mod disarmed {
    use super::{Mutant, Step};

    /// The variables that break a process on purpose: none.
    pub const VARIABLES: &[&str] = &[];

    /// Does the work of a step. A test build may abort the process at one of its edges.
    pub fn around<W>(_step: impl Into<Step>, work: W) -> W {
        work
    }

    /// Gives the value. A test build gives what the mutant makes of it, where the process is that mutant.
    pub fn mutated<T>(_mutant: Mutant, value: T, _change: impl FnOnce(T) -> T) -> T {
        value
    }

    /// Does the work. A test build does the other instead, where the process is that mutant.
    pub fn unless<T, W, I>(_mutant: Mutant, with: T, work: impl FnOnce(T) -> W, _instead: impl FnOnce(T) -> I) -> W {
        work(with)
    }

    /// Gives the value back. A test build lets a mutant have it first, which may keep it.
    pub fn diverted<T, E>(value: T, _by: impl FnOnce(Mutant, T) -> Result<Option<T>, E>) -> Result<Option<T>, E> {
        Ok(Some(value))
    }
}

#[cfg(feature = "failpoints")]
mod armed;
