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
mod armed {
    use std::fmt;
    use std::future::Future;
    use std::pin::pin;
    use std::str::FromStr;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Poll;
    use std::time::Duration;

    use super::{ArchiveStep, Mutant, RelayStep, RetainStep, Step};

    /// `EDGE:N`, for instance `claim.after:3`: the process aborts when it comes to this edge for the Nth time. With `:stop`
    /// behind it, the process stops there, until it is told to go on. There may be several, between commas.
    const FAILPOINT: &str = "TURNSTILE_FAILPOINT";
    /// The name of the mutant that this process shall be.
    const MUTANT: &str = "TURNSTILE_MUTANT";
    /// The variables that break a process on purpose.
    pub const VARIABLES: &[&str] = &[FAILPOINT, MUTANT];

    /// Whence an abort in the middle of a step comes after its call was sent: early, late, or between.
    const LONGEST_FLIGHT: u64 = 4;

    static ARMED: LazyLock<Vec<Armed>> = LazyLock::new(|| read(FAILPOINT, parse_failpoints).unwrap_or_default());
    static MUTATED: LazyLock<Option<Mutant>> = LazyLock::new(|| read(MUTANT, |name| name.parse().ok()));

    impl Step {
        /// Those of loaders, replays, requeues, imports and migrations.
        pub const OF_LOADERS: [Self; 22] = [
            Self::Migrate,
            Self::Receive,
            Self::Return,
            Self::Claim,
            Self::Identities,
            Self::Rows,
            Self::Events,
            Self::DeadLetters,
            Self::Compare,
            Self::Commit,
            Self::Delete,
            Self::Renew,
            Self::Shutdown,
            Self::ReplayForesee,
            Self::ReplayTake,
            Self::ReplayClaim,
            Self::ReplayResolve,
            Self::RequeueRead,
            Self::RequeueSend,
            Self::RequeuedTake,
            Self::RequeuedResolve,
            Self::Import,
        ];

        fn name(self) -> &'static str {
            match self {
                Self::Migrate => "migrate",
                Self::Receive => "receive",
                Self::Return => "return",
                Self::Claim => "claim",
                Self::Identities => "identities",
                Self::Rows => "rows",
                Self::Events => "events",
                Self::DeadLetters => "dead_letters",
                Self::Compare => "compare",
                Self::Commit => "commit",
                Self::Delete => "delete",
                Self::Renew => "renew",
                Self::Shutdown => "shutdown",
                Self::ReplayForesee => "replay_foresee",
                Self::ReplayTake => "replay_take",
                Self::ReplayClaim => "replay_claim",
                Self::ReplayResolve => "replay_resolve",
                Self::RequeueRead => "requeue_read",
                Self::RequeueSend => "requeue_send",
                Self::RequeuedTake => "requeued_take",
                Self::RequeuedResolve => "requeued_resolve",
                Self::Import => "import",
                Self::Relay(step) => step.name(),
                Self::Retain(step) => step.name(),
                Self::Archive(step) => step.name(),
            }
        }
    }

    impl RetainStep {
        /// All of them.
        pub const ALL: [Self; 8] = [
            Self::Horizon,
            Self::Remove,
            Self::Note,
            Self::Detach,
            Self::Detached,
            Self::Drop,
            Self::Dropped,
            Self::Convert,
        ];

        fn name(self) -> &'static str {
            match self {
                Self::Horizon => "retain_horizon",
                Self::Remove => "retain_remove",
                Self::Note => "retain_note",
                Self::Detach => "retain_detach",
                Self::Detached => "retain_detached",
                Self::Drop => "retain_drop",
                Self::Dropped => "retain_dropped",
                Self::Convert => "retain_convert",
            }
        }
    }

    impl RelayStep {
        /// All of them.
        pub const ALL: [Self; 16] = [
            Self::TakeOver,
            Self::Claim,
            Self::Note,
            Self::Open,
            Self::Mark,
            Self::Carry,
            Self::Renew,
            Self::Close,
            Self::Refused,
            Self::Release,
            Self::Gaps,
            Self::Writers,
            Self::Fill,
            Self::Dead,
            Self::TryAgain,
            Self::Settle,
        ];

        fn name(self) -> &'static str {
            match self {
                Self::TakeOver => "relay_take_over",
                Self::Claim => "relay_claim",
                Self::Note => "relay_note",
                Self::Open => "relay_open",
                Self::Mark => "relay_mark",
                Self::Carry => "relay_carry",
                Self::Renew => "relay_renew",
                Self::Close => "relay_close",
                Self::Refused => "relay_refused",
                Self::Release => "relay_release",
                Self::Gaps => "relay_gaps",
                Self::Writers => "relay_writers",
                Self::Fill => "relay_fill",
                Self::Dead => "relay_dead",
                Self::TryAgain => "relay_try_again",
                Self::Settle => "relay_settle",
            }
        }
    }

    impl ArchiveStep {
        /// All of them.
        pub const ALL: [Self; 8] = [
            Self::Note,
            Self::Write,
            Self::Store,
            Self::ReadBack,
            Self::Manifest,
            Self::Record,
            Self::Drop,
            Self::Remove,
        ];

        fn name(self) -> &'static str {
            match self {
                Self::Note => "archive_note",
                Self::Write => "archive_write",
                Self::Store => "archive_store",
                Self::ReadBack => "archive_read_back",
                Self::Manifest => "archive_manifest",
                Self::Record => "archive_record",
                Self::Drop => "archive_drop",
                Self::Remove => "archive_remove",
            }
        }
    }

    /// Where in a step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Side {
        /// Nothing of it has begun.
        Before,
        /// Its call was made, and some milliseconds at most have gone by.
        Underway,
        /// It has its answer.
        After,
    }

    /// A place where a process can be made to abort; its text is `claim.after`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Edge {
        /// The step.
        pub step: Step,
        /// Where in it.
        pub side: Side,
    }

    impl fmt::Display for Edge {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let side = match self.side {
                Side::Before => "before",
                Side::Underway => "underway",
                Side::After => "after",
            };
            write!(f, "{}.{side}", self.step.name())
        }
    }

    impl Edge {
        /// Every edge of the steps of loaders, replays and migrations.
        pub fn of_loaders() -> impl Iterator<Item = Self> {
            Step::OF_LOADERS.into_iter().flat_map(Self::of)
        }

        /// Every edge of the steps of a relay.
        pub fn of_relays() -> impl Iterator<Item = Self> {
            RelayStep::ALL.into_iter().flat_map(|step| Self::of(step.into()))
        }

        /// The edges of the steps of the archive. Most of its work on files is done at once, and has no middle to end in.
        pub fn of_archives() -> impl Iterator<Item = Self> {
            let sides = |step: ArchiveStep| [Side::Before, Side::After].map(|side| Self { step: step.into(), side });
            ArchiveStep::ALL.into_iter().flat_map(sides)
        }

        fn of(step: Step) -> [Self; 3] {
            [Side::Before, Side::Underway, Side::After].map(|side| Self { step, side })
        }
    }

    /// What becomes of the process at an edge, and at which visit of it.
    struct Armed {
        edge: Edge,
        visit: AtomicU64,
        stops: bool,
    }

    fn parse_failpoints(text: &str) -> Option<Vec<Armed>> {
        text.split(',').map(parse_failpoint).collect()
    }

    fn parse_failpoint(text: &str) -> Option<Armed> {
        let (name, rest) = text.split_once(':')?;
        let visit = rest.strip_suffix(":stop");
        let mut all = Edge::of_loaders().chain(Edge::of_relays()).chain(Edge::of_archives());
        let edge = all.find(|edge| edge.to_string() == name)?;
        Some(Armed { edge, visit: AtomicU64::new(visit.unwrap_or(rest).parse().ok()?), stops: visit.is_some() })
    }

    /// Does the work of a step, and aborts or stops the process at the edge that [`FAILPOINT`] names.
    pub async fn around<W: Future>(step: impl Into<Step>, work: W) -> W::Output {
        let step = step.into();
        reach(Edge { step, side: Side::Before });
        let mut work = pin!(work);
        let mut underway = false;
        let done = std::future::poll_fn(|context| {
            let poll = work.as_mut().poll(context);
            if matches!(poll, Poll::Pending) && !std::mem::replace(&mut underway, true) {
                reach(Edge { step, side: Side::Underway });
            }
            poll
        })
        .await;
        reach(Edge { step, side: Side::After });
        done
    }

    fn reach(edge: Edge) {
        let here = ARMED.iter().filter(|armed| armed.edge == edge);
        for Armed { stops, .. } in here.filter(|armed| armed.visit.fetch_sub(1, Ordering::SeqCst) == 1) {
            match edge.side {
                _ if *stops => stop(),
                Side::Before | Side::After => std::process::abort(),
                Side::Underway => drop(std::thread::spawn(abort_soon)),
            }
        }
    }

    /// As SIGSTOP from outside does. It is sent to this very thread, which acts on it before it goes on, and stops the others at
    /// once: a signal to the process may wait for another thread, while all of them go on.
    fn stop() {
        if nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).is_err() {
            std::process::abort();
        }
    }

    /// Others go on meanwhile, and carry the call to its receiver or not.
    fn abort_soon() {
        let flight = u64::from(std::process::id()) % LONGEST_FLIGHT;
        std::thread::sleep(Duration::from_millis(flight));
        std::process::abort();
    }

    impl Mutant {
        /// All of them.
        pub const ALL: [Self; 30] = [
            Self::DeleteBeforeCommit,
            Self::ClaimInAnEarlierTransaction,
            Self::ClaimInALaterTransaction,
            Self::CommitNotVerified,
            Self::AmbiguousCommitTakenAsCommitted,
            Self::AmbiguousCommitDeadLettered,
            Self::BatchErrorDeadLettersNeighbours,
            Self::DeleteWithoutDeadLetter,
            Self::KeysOfRepeatedMessages,
            Self::TwinsTakenForNew,
            Self::RefusedLetterKeepsItsKey,
            Self::ContradictionInABatchAbsorbed,
            Self::ClaimUnderTheKey,
            Self::ClassBySqlstateAlone,
            Self::WaitForEver,
            Self::RefusedDeletesTakenAsDone,
            Self::GapsNotNoted,
            Self::GapsDeadAtFirstSight,
            Self::RowsReadBeforeLocks,
            Self::LocksReadBeforeGaps,
            Self::PreparedKnownById,
            Self::MarkBeforeChunk,
            Self::ClaimWithoutLock,
            Self::FrontierInMemory,
            Self::CloseWithoutLease,
            Self::CloseBeforeSent,
            Self::RefusalsNotedAfterClose,
            Self::RefusalsOfLostChunkNoted,
            Self::AwayTakenAsRefused,
            Self::FailedTakenAsTaken,
        ];
    }

    impl FromStr for Mutant {
        type Err = ();

        fn from_str(name: &str) -> Result<Self, ()> {
            Self::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name).ok_or(())
        }
    }

    /// Gives the value, or what the mutant makes of it where this process is that mutant.
    pub fn mutated<T>(mutant: Mutant, value: T, change: impl FnOnce(T) -> T) -> T {
        if *MUTATED == Some(mutant) { change(value) } else { value }
    }

    /// Does the work, or the other instead where this process is that mutant.
    pub async fn unless<T, W: Future, I: Future<Output = W::Output>>(
        mutant: Mutant,
        with: T,
        work: impl FnOnce(T) -> W,
        instead: impl FnOnce(T) -> I,
    ) -> W::Output {
        // Boxed, because a future that holds both is moved about on the stack, and a test's stack is small.
        if *MUTATED == Some(mutant) { Box::pin(instead(with)).await } else { Box::pin(work(with)).await }
    }

    /// Gives the value back, unless this process is a mutant that keeps it.
    pub fn diverted<T, E>(value: T, by: impl FnOnce(Mutant, T) -> Result<Option<T>, E>) -> Result<Option<T>, E> {
        match *MUTATED {
            Some(mutant) => by(mutant, value),
            None => Ok(Some(value)),
        }
    }

    /// A test that names what is not there would test nothing.
    fn read<T>(name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = std::env::var(name).ok()?;
        let parsed = parse(&text);
        if parsed.is_none() {
            tracing::error!("{name}={text} names nothing that this build holds");
            std::process::abort();
        }
        parsed
    }
}
