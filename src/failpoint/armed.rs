//! The hooks of a build for tests: they break the process where they are told to.

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
    pub const ALL: [Self; 8] =
        [Self::Note, Self::Write, Self::Store, Self::ReadBack, Self::Manifest, Self::Record, Self::Drop, Self::Remove];

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
