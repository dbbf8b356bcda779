//! The mistakes that a relay of this kind could make, or its world. Each must be found.

/// A mistake, built into a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The claim notes no holes: the bare cursor.
    HolesNotNoted,
    /// A hole is taken for dead if it is not visible at once, although its transaction is still open.
    DeadAtFirstSight,
    /// The rows of the gaps are read first, and then the locks.
    RowsReadBeforeLocks,
    /// The locks are read first, then the gaps and their rows: among them gaps that were noted later.
    LocksReadBeforeGaps,
    /// A prepared transaction counts as long as its id is one of the writers.
    PreparedKnownById,
    /// The writers of the gaps are in the relay's memory, and none after it died.
    WritersInMemory,
    /// The mark is committed in a transaction of its own, before the chunk.
    MarkBeforeChunk,
    /// Claims take no advisory lock.
    ClaimsWithoutLock,
    /// A gap is not locked by the pass that looks at it.
    GapsWithoutLock,
    /// The claim reaches up to the sequence's `last_value`, and not to the last row.
    UpToLastValue,
    /// The relay knows the frontier from its own last claim, also when the server crashed.
    FrontierInMemory,
    /// A relay closes a chunk although another has taken it over.
    CloseWithoutOwner,
    /// The chunk is closed when it is claimed.
    CloseBeforeSending,
    /// Refusals are recorded in a transaction after the close.
    FailuresAfterClose,
    /// Refusals are recorded even if the chunk was not the relay's any more.
    FailuresOfALostChunk,
    /// A sink that is down counts as one that refuses.
    DownTakenForRefused,
    /// Partitions are dropped up to the frontier.
    PruneUpToFrontier,
    /// The low water is read in two statements: what is open, then the frontier.
    LowWaterInTwoReads,
    /// The low water of one sink is taken for that of all.
    LowWaterOfOneSink,
    /// A low water that was read before the server crashed is used after it.
    LowWaterKeptOverCrash,
    /// What a pruner noted that died is dropped by the next, which does not read the low water again.
    NotedTakenForLowWater,
    /// What is dropped is noted after it is gone.
    NotedAfterDrop,
    /// A sink is added while partitions are dropped.
    SinkAddedWhilePruning,
    /// The operator sends again what was set aside, and nobody looks whether the event is still there.
    RetryOfTheDropped,
    /// Under order, a claim carries what it sees, although holes may still be filled.
    HolePassed,
    /// Under order, the locks are read first, and then the rows, once.
    LocksBeforeRows,
    /// Under order, the range is not read again after the locks.
    RangeNotReadAgain,
    /// Under order, a range grows with the rows that come, and its writers stay.
    RangeGrows,
    /// Under order, a chunk is opened beside one that is open.
    SecondChunk,
    /// Under order, it is read which subjects are held, and then whether a chunk is open.
    HeldReadFirst,
    /// Under order, a claim does not ask which subjects are held.
    HeldNotRead,
    /// Under order, a chunk that is taken over is sent without a look at which subjects are held.
    HeldNotReadAgain,
    /// Under order, an event is refused, and the later ones of its subject in the chunk are sent.
    RefusedPassed,
    /// Under order, what stood behind a refused event is no failure when the chunk is closed.
    BehindForgotten,
    /// Under order, one call has two events of a subject, and the sink takes the second only.
    TwoInACall,
    /// Under order, any failure is tried again.
    RetryOutOfOrder,
    /// Under order, what stands behind an event that was set aside is tried again.
    RetryPastSetAside,
    /// Under order, an event that was discarded keeps the later ones waiting.
    DiscardedBlocks,
    /// Under order, a refusal that comes late makes a waiting failure of what was discarded.
    RefusalRevivesDiscarded,
    /// Under order, the operator does not wait until a discard is flushed.
    DiscardNotFlushed,
    /// A wrong world: a lock is released, and then its transaction's rows are visible.
    ReleasedBeforeVisible,
    /// A wrong world: a transaction has its position before it has its lock, as from a sequence with a cache.
    PositionBeforeLock,
    /// A wrong world: the writers do not wait until their commits are flushed.
    WritersNotFlushed,
    /// A wrong world: a sink forgets an event that may still be sent again.
    WindowTooShort,
}
