//! The mistakes that a loader of this kind could make. Each must be found.

/// A mistake, built into a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Messages are deleted when their rows are written, and then committed.
    DeleteBeforeCommit,
    /// Claims are committed by themselves before the rows.
    ClaimInAnEarlierTransaction,
    /// Rows are committed first and their claims by themselves after.
    ClaimInALaterTransaction,
    /// Claims are looked up and then written, and nobody waits for a rival.
    ClaimByReading,
    /// Any answer to COMMIT is taken for a commit.
    CommitNotVerified,
    /// A commit without an answer is taken for one that holds.
    AmbiguousCommitTakenAsCommitted,
    /// The messages of a commit without an answer are dead-lettered.
    AmbiguousCommitDeadLettered,
    /// A row that the database refuses takes its whole batch to the dead letters.
    BatchErrorDeadLettersNeighbours,
    /// The commit of a batch's first part is taken for that of the whole.
    HalfTakenForWhole,
    /// What is not a login is deleted after its last attempt, and no dead letter is written.
    DeleteWithoutDeadLetter,
    /// Whatever was received too often is dead-lettered.
    DeadLetterByReceiveCount,
    /// Events are written in a transaction of their own, after the rows.
    EventsInLaterTransaction,
    /// Replay reads letters and claims without locking them.
    ReplayWithoutLocks,
    /// The plan of a replay says what became of its letters before that is committed.
    PlanRecordsBeforeReplay,
    /// A message that was sent back is loaded as if it were new: its letter stays open.
    RequeueAsNew,
    /// A message that was sent back is loaded whatever has become of its letter.
    RequeueOfResolved,
    /// A lane that has messages which were sent back waits neither for their letters nor for their claims.
    RequeueWithoutLocks,
    /// Such a lane claims the messages first, and locks the letters after.
    RequeueLocksLettersLast,
    /// Replay writes rows for letters whatever their bodies are.
    ReplayWithoutDecoding,
    /// Messages have claims under `message-id` and other ones under a key: claims of two schemes never meet.
    ClaimsOfOneScheme,
    /// Messages with one key are grouped before their own claims tell which are new.
    TwinsGroupedBeforeClaims,
    /// Keys are claimed for all logins of a batch, and not only for the new ones.
    KeysOfAllMessages,
    /// A hash that came back as claimed is taken for every message that carries it: the owner is not read.
    OwnerNotRead,
    /// The owner is read by the statement that claims the keys, which sees what stood before it waited.
    OwnerReadBeforeTheWait,
    /// The letter of a refused row keeps the key that its login claimed.
    LetterKeepsIdentity,
    /// The claims of absorbed messages are written as `loaded`, and corrected by the same statement, which cannot see
    /// them.
    AbsorbedInOneStatement,
    /// A message that meets its own key is absorbed by itself.
    SelfTakenForAnother,
    /// Whatever carries a key that is taken is absorbed, the same login or not.
    KeyAbsorbsAnyLogin,
    /// The owner is read where a rival has not committed it.
    AbsorbedByUncommitted,
    /// Replay claims no key.
    ReplayWithoutIdentity,
    /// Replay claims the key by another scheme than the loaders.
    ReplayByAnotherScheme,
    /// Keys are claimed before messages.
    KeysBeforeMessages,
    /// One lane claims in another order than the others.
    OneLaneUnsorted,
    /// What is older than the horizon is claimed under its own time.
    OldUnderItsOwnTime,
    /// The horizon is reckoned by the clock of the loader.
    HorizonByLocalClock,
    /// The horizon moves while the queue can still deliver what was sent before it.
    HorizonWithinRetention,
    /// Claims are dropped, and the horizon moves after.
    DropBeforeHorizon,
    /// The horizon is read before the claims are made, and not after.
    HorizonReadBeforeClaims,
    /// Claims of open letters are dropped.
    DropUnderOpenLetter,
    /// Whether letters are left is looked at before the horizon moves.
    ClearBeforeHorizon,
    /// Whether letters are left is looked at beside transactions that may have read the horizon before it moved.
    ClearWithoutWaiting,
    /// Letters that are resolved stay when their claims go, and can be opened again.
    ResolvedLettersKept,
    /// Claims under the constant time are removed while the queue can still deliver their messages.
    PruneWithinRetention,
    /// Identities are removed while the queue can still deliver messages that carry their keys.
    IdentityPrunedWithinRetention,
    /// Logins are loaded whose keys carry a time from before the horizon.
    OldKeysClaimed,
    /// Replay loads such logins.
    ReplayUnderOldKeys,
    /// Keys with a time of their own are removed, and the horizon moves after.
    KeysDroppedBeforeHorizon,
    /// They are removed beside transactions that may have read the horizon before it moved.
    KeysDroppedWithoutWaiting,
    /// Replay takes letters of messages older than memory as it takes all others.
    ReplayOfTheForgotten,
    /// Each message is claimed under the time that this delivery of it gives.
    TimeOfTheDelivery,
    /// Nobody looks whether the hash key is still the registered one.
    HashKeyNotChecked,
    /// A new hash key is registered without waiting for those who claim under the old one.
    HashKeyWithoutLock,
    /// What a transaction wrote on a worker is committed there before the coordinator has committed, which may end in between.
    OnePhase,
    /// Nobody waits for what is committed on the coordinator and cannot be seen on a worker yet.
    PreparedNotWaitedFor,
    /// An import deletes from the dead-letter queue what it has written, and then commits.
    ImportDeletesBeforeCommit,
    /// An import writes letters without claiming their messages.
    ImportWithoutClaim,
    /// An import claims under another time than that at which a message was sent, as a FIFO queue gives it with what it moves.
    ImportUnderAnotherTime,
}
