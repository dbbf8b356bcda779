//! A relay: claim → send → close; what it does about gaps, chunks that others left, and events that the sink refused.

use crate::relay::books::{Failure, Gap, Lease, Tables};
use crate::relay::mutant::Mutant;
use crate::relay::ordered::{self, Claim};
use crate::relay::outbox::Locks;
use crate::relay::protocol::{Action, State};
use crate::relay::world::{Position, RELAYS, World};
use crate::set::Set;

/// A relay, with its memory, all of which is lost in a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relay {
    /// The sink that it serves; that outlives a crash.
    pub sink: usize,
    /// Whether it never runs again.
    pub is_gone: bool,
    /// What it is at.
    pub task: Task,
    /// Whether nothing has happened since it last looked at the gaps in vain: looking again would be the same.
    pub is_quiet: bool,
    /// The frontier of its own last claim, if a mutant uses it.
    remembers: Position,
}

/// What a relay is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Nothing.
    #[default]
    Idle,
    /// It claims, and has read the frontier.
    Claims(Position),
    /// It claims, and has read the rows above the frontier, up to this one.
    ClaimsRows(Position, Position, Set),
    /// A mutant's: it has moved the mark, and has yet to insert the chunk.
    OwesChunk(Position, Position, Set),
    /// It claims under order.
    ClaimsInOrder(Claim),
    /// It looks at gaps, which it has locked.
    Looks {
        /// Their positions.
        gaps: Set,
        /// Who writes, once that is read.
        locks: Option<Locks>,
        /// Which of the positions have rows, once that is read.
        found: Option<Set>,
    },
    /// It sends a chunk.
    Sends {
        /// Its id.
        chunk: u8,
        /// What it has yet to send.
        todo: Set,
        /// What the sink has refused.
        refused: Set,
        /// What it does not send, because an earlier event of the subject is refused.
        behind: Set,
        /// Whether a crash took the chunk back: another may get its id.
        taken_back: bool,
    },
    /// A mutant's: the chunk is closed, and it has yet to record what was refused.
    OwesFailures(Set),
    /// It sends an event again that was refused.
    Retries {
        /// Which.
        position: Position,
        /// Whether the sink accepted it, once that is known.
        accepted: Option<bool>,
        /// Whether its time is over: another relay may try too.
        is_overdue: bool,
    },
}

/// What a relay does, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// S1: it takes the advisory lock, and reads the frontier.
    ReadsFrontier,
    /// S2: it reads rows above it.
    ReadsRows,
    /// It commits the gaps, the chunk and the mark.
    Claims,
    /// A mutant's: it commits the chunk.
    InsertsChunk,
    /// G1: it locks the gaps that nobody else has locked, and reads who writes.
    ReadsLocks,
    /// G2: it reads which of the gaps have rows.
    ReadsGaps,
    /// Under order: it reads which subjects are held.
    ReadsHeld,
    /// G3: it commits what came of it.
    Decides,
    /// It takes a chunk whose lease is over, and reads its rows.
    TakesOver(u8),
    /// It takes up an event that was refused.
    Retries(Position),
    /// The sink accepts the next event.
    Sends,
    /// A mutant's: of a call with two events of a subject, the sink accepts the second.
    SendsSecond,
    /// The sink refuses the next event.
    IsRefused,
    /// It commits the failures, and removes the chunk if it is still its own.
    Closes,
    /// It commits what came of the event that was refused before.
    Records,
    /// Fault: the process dies, and starts again.
    Crashes,
    /// Fault: the process dies or hangs for good; the server ends its transaction.
    Stops,
    /// Fault: its time is over while it has a chunk, or a refused event, in hand.
    LeaseRunsOut,
    /// Fault: the sink accepts the next event, and the answer is lost.
    LosesAnswer,
    /// Fault: the sink is down. It makes a difference to a mutant only.
    SinkIsDown,
}

impl Move {
    /// Whether it is one of the faults of which a world has so many.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Crashes | Self::Stops | Self::LeaseRunsOut | Self::LosesAnswer | Self::SinkIsDown)
    }
}

impl Relay {
    /// One that serves this sink.
    pub fn of(sink: usize) -> Self {
        Self { sink, ..Self::default() }
    }

    /// Whether it has a connection with a transaction that it has not committed.
    pub fn is_in_transaction(&self) -> bool {
        self.claims() || matches!(self.task, Task::Looks { .. })
    }

    /// The event that it sends next.
    pub fn next_to_send(&self) -> Option<Position> {
        match self.task {
            Task::Sends { todo, .. } => todo.first(),
            Task::Retries { position, accepted: None, .. } => Some(position),
            _ => None,
        }
    }

    /// Whether it may yet send this event.
    pub fn has_in_hand(&self, event: Position) -> bool {
        match self.task {
            Task::Sends { todo, .. } => todo.has(event),
            Task::OwesChunk(_, _, rows) => rows.has(event),
            Task::Retries { position, .. } => position == event,
            _ => false,
        }
    }

    fn claims(&self) -> bool {
        matches!(self.task, Task::Claims(_) | Task::ClaimsRows(..) | Task::ClaimsInOrder(_))
    }

    fn has_in_hand_of(&self, events: Set) -> bool {
        matches!(self.task, Task::Sends { todo, .. } if todo.meets(events))
    }

    fn retries(&self, event: Position) -> bool {
        matches!(self.task, Task::Retries { position, is_overdue: false, .. } if position == event)
    }
}

/// The moves that a relay can make now, without those that are faults.
pub fn moves(world: &World, state: &State, me: usize, moves: &mut Vec<Action>) {
    let this = &state.relays[me];
    let mut add = |step| moves.push(Action::Relay(me, step));
    let mut send = |otherwise| match this.next_to_send() {
        Some(next) => {
            add(Move::Sends);
            if world.has(Mutant::TwoInACall) && this.has_in_hand_of(world.later(next)) {
                add(Move::SendsSecond);
            }
            if state.refusals_left > 0 {
                add(Move::IsRefused);
            }
        }
        None => add(otherwise),
    };
    match this.task {
        Task::Idle => beginnings(world, state, me, add),
        Task::ClaimsInOrder(claim) => add(claim.next_step(world)),
        Task::Claims(_) => add(Move::ReadsRows),
        Task::ClaimsRows(..) => add(Move::Claims),
        Task::OwesChunk(..) => add(Move::InsertsChunk),
        Task::Looks { locks: None, .. } => add(Move::ReadsLocks),
        Task::Looks { found: None, .. } => add(Move::ReadsGaps),
        Task::Looks { .. } => add(Move::Decides),
        Task::Sends { .. } => send(Move::Closes),
        Task::Retries { .. } => send(Move::Records),
        Task::OwesFailures(_) => add(Move::Records),
    }
}

fn beginnings(world: &World, state: &State, me: usize, mut add: impl FnMut(Move)) {
    let this = &state.relays[me];
    let books = &state.store.now.books[this.sink];
    if this.is_gone || !books.exists {
        return;
    }
    let is_locked = colleagues(state, me).any(Relay::claims) && !world.has(Mutant::ClaimsWithoutLock);
    let end =
        if world.has(Mutant::UpToLastValue) { state.outbox.sequence } else { state.visible().last().unwrap_or(0) };
    if world.is_ordered() {
        if !is_locked && end > books.frontier && !this.is_quiet {
            ordered::first_step(world, books).into_iter().for_each(&mut add);
        }
    } else if !is_locked && end > books.frontier {
        add(Move::ReadsFrontier);
    }
    let looks_at_none = world.has(Mutant::LocksReadBeforeGaps);
    if !world.is_ordered() && !this.is_quiet && (looks_at_none || !free_gaps(world, state, me).is_empty()) {
        add(if world.has(Mutant::RowsReadBeforeLocks) { Move::ReadsGaps } else { Move::ReadsLocks });
    }
    for chunk in &books.chunks {
        if matches!(chunk.lease, Lease::Nobodys | Lease::Overdue(_)) {
            add(Move::TakesOver(chunk.id));
        }
    }
    let is_free = |position: &Position| !colleagues(state, me).any(|other| other.retries(*position));
    let waiting = books.waiting() & state.visible();
    let is_first = |position: &Position| !ordered::is_kept_waiting(world, books, *position);
    waiting.iter().filter(is_free).filter(is_first).map(Move::Retries).for_each(add);
}

/// The other relays that serve the same sink.
fn colleagues(state: &State, me: usize) -> impl Iterator<Item = &Relay> {
    let sink = state.relays[me].sink;
    let others = (0..RELAYS).filter(move |other| *other != me).map(|other| &state.relays[other]);
    others.filter(move |other| other.sink == sink)
}

/// The positions of the gaps that nobody else has locked.
fn free_gaps(world: &World, state: &State, me: usize) -> Set {
    let locked = colleagues(state, me).fold(Set::default(), |all, other| match other.task {
        Task::Looks { gaps, .. } if !world.has(Mutant::GapsWithoutLock) => all | gaps,
        _ => all,
    });
    state.store.now.books[state.relays[me].sink].in_gaps() - locked
}

/// The faults that can strike a relay now.
pub fn faults(world: &World, state: &State, me: usize, moves: &mut Vec<Action>) {
    let this = &state.relays[me];
    let mut add = |fault| moves.push(Action::Relay(me, fault));
    if this.task == Task::Idle {
        return;
    }
    add(Move::Crashes);
    if colleagues(state, me).any(|other| !other.is_gone) {
        add(Move::Stops);
    }
    let may_run_out = match this.task {
        Task::Sends { chunk, .. } => {
            state.store.now.books[this.sink].chunk(chunk).is_some_and(|chunk| chunk.lease == Lease::Of(me))
        }
        Task::Retries { is_overdue, .. } => !is_overdue,
        _ => false,
    };
    if may_run_out {
        add(Move::LeaseRunsOut);
    }
    if this.next_to_send().is_some() {
        if world.most > 0 {
            add(Move::LosesAnswer);
        }
        if world.has(Mutant::DownTakenForRefused) {
            add(Move::SinkIsDown);
        }
    }
}

/// The state after a move of a relay.
pub fn make(world: &World, state: &mut State, me: usize, step: Move) {
    if ordered::make(world, state, me, step) {
        return;
    }
    match step {
        Move::ReadsHeld => {}
        Move::ReadsFrontier => {
            let frontier = state.store.now.books[state.relays[me].sink].frontier;
            state.relays[me].task = Task::Claims(frontier.max(state.relays[me].remembers));
        }
        Move::ReadsRows => read_rows(world, state, me),
        Move::Claims => claim(world, state, me),
        Move::InsertsChunk => {
            if let Task::OwesChunk(frontier, last, rows) = state.relays[me].task {
                let covers = (frontier + 1..=last).collect();
                open(state, me, covers, rows, |_| {});
            }
        }
        Move::ReadsLocks | Move::ReadsGaps => look(world, state, me, step),
        Move::Decides => decide(world, state, me),
        Move::TakesOver(chunk) => take_over(world, state, me, chunk),
        Move::Retries(position) => {
            state.relays[me].task = Task::Retries { position, accepted: None, is_overdue: false };
        }
        Move::Sends => {
            accept(world, state, me);
            answer(world, state, me, true);
        }
        Move::SendsSecond => send_second(world, state, me),
        Move::LosesAnswer => accept(world, state, me),
        Move::IsRefused => {
            state.refusals_left -= 1;
            let sink = &mut state.sinks[state.relays[me].sink];
            sink.refused |= state.relays[me].next_to_send().into_iter().collect();
            answer(world, state, me, false);
        }
        Move::SinkIsDown => answer(world, state, me, false),
        Move::Closes => close(world, state, me),
        Move::Records => record(world, state, me),
        Move::Crashes | Move::Stops => {
            state.relays[me].is_gone = step == Move::Stops;
            crash(world, state, me);
        }
        Move::LeaseRunsOut => {
            if let Task::Retries { is_overdue, .. } = &mut state.relays[me].task {
                *is_overdue = true;
            }
            state.store.run_out(me);
        }
    }
}

fn read_rows(world: &World, state: &mut State, me: usize) {
    let Task::Claims(frontier) = state.relays[me].task else { return };
    let rows: Set = state.visible().iter().filter(|position| *position > frontier).take(world.batch_size).collect();
    let (last, rows) = match rows.last() {
        _ if world.has(Mutant::UpToLastValue) => (state.outbox.sequence, rows),
        Some(last) => (last, rows),
        None => (frontier, rows),
    };
    let finds = last > frontier;
    state.relays[me].task = if finds { Task::ClaimsRows(frontier, last, rows) } else { Task::Idle };
}

fn claim(world: &World, state: &mut State, me: usize) {
    let Task::ClaimsRows(frontier, last, rows) = state.relays[me].task else { return };
    let covers: Set = (frontier + 1..=last).collect();
    let sink = state.relays[me].sink;
    if world.has(Mutant::FrontierInMemory) {
        state.relays[me].remembers = last;
    }
    let holes = if world.has(Mutant::HolesNotNoted) { Set::default() } else { covers - rows };
    let note = move |tables: &mut Tables| {
        let books = &mut tables.books[sink];
        books.note(holes);
        books.frontier = books.frontier.max(last);
    };
    if world.has(Mutant::MarkBeforeChunk) {
        state.store.commit(state.outbox.sequence, note);
        state.relays[me].task = Task::OwesChunk(frontier, last, rows);
    } else {
        open(state, me, covers, rows, note);
    }
    if world.has(Mutant::CloseBeforeSending) {
        let books = &mut state.store.now.books[sink];
        books.chunks.retain(|chunk| !chunk.lease.is_of(me));
    }
    if !holes.is_empty() {
        state.stir();
    }
}

/// Commits a new chunk with what belongs to it, and begins to send it.
pub(super) fn open(state: &mut State, me: usize, covers: Set, rows: Set, and: impl FnOnce(&mut Tables)) {
    let id = free_id(state);
    let sink = state.relays[me].sink;
    state.store.commit(state.outbox.sequence, |tables| {
        and(tables);
        tables.books[sink].open(id, covers, me);
    });
    state.relays[me].task =
        Task::Sends { chunk: id, todo: rows, refused: Set::default(), behind: Set::default(), taken_back: false };
}

/// An id that no chunk has or had; but after a crash those are given again that it took back.
fn free_id(state: &State) -> u8 {
    let used = state.relays.iter().fold(state.store.chunk_ids(), |used, relay| match relay.task {
        Task::Sends { chunk, taken_back: false, .. } => used | Set::of(usize::from(chunk)),
        _ => used,
    });
    (0..).find(|id| !used.has(usize::from(*id))).unwrap_or_default()
}

/// The two reads of the pass over the gaps, in the order in which they come.
fn look(world: &World, state: &mut State, me: usize, step: Move) {
    let (gaps, mut locks, mut found) = match state.relays[me].task {
        Task::Looks { gaps, locks, found } if !world.has(Mutant::LocksReadBeforeGaps) => (gaps, locks, found),
        Task::Looks { locks, found, .. } => (free_gaps(world, state, me), locks, found),
        _ => (free_gaps(world, state, me), None, None),
    };
    let is_first = locks.is_none() && found.is_none();
    match step {
        Move::ReadsLocks => locks = Some(state.outbox.locks()),
        _ => found = Some(state.visible() & gaps),
    }
    let relay = &mut state.relays[me];
    relay.is_quiet |= is_first;
    relay.task = Task::Looks { gaps, locks, found };
}

fn decide(world: &World, state: &mut State, me: usize) {
    let Task::Looks { gaps, locks: Some(locks), found: Some(found) } = state.relays[me].task else { return };
    let sink = state.relays[me].sink;
    let before = state.store.now.books[sink].gaps.clone();
    let after: Vec<Gap> = before
        .iter()
        .filter_map(|gap| if gap.positions.meets(gaps) { remaining(world, gap, locks, found) } else { Some(*gap) })
        .collect();
    if after != before {
        state.stir();
    }
    let settle = move |tables: &mut Tables| tables.books[sink].gaps = after;
    if found.is_empty() {
        state.store.commit(state.outbox.sequence, settle);
        state.relays[me].task = Task::Idle;
    } else {
        open(state, me, found, found, settle);
    }
}

/// What remains of a gap: what has no row, if somebody may still write it.
fn remaining(world: &World, gap: &Gap, locks: Locks, found: Set) -> Option<Gap> {
    let positions = gap.positions - found;
    let writers = may_fill(world, gap.writers, locks);
    (!positions.is_empty() && !writers.is_empty()).then_some(Gap { positions, writers: Some(writers) })
}

/// Who may still write the positions of a gap, of those who were known before.
pub(super) fn may_fill(world: &World, known: Option<Set>, locks: Locks) -> Set {
    let prepared = if world.has(Mutant::PreparedKnownById) { Set::default() } else { locks.prepared };
    match known {
        _ if world.has(Mutant::DeadAtFirstSight) => Set::default(),
        None => locks.all,
        Some(writers) => (writers & locks.all) | prepared,
    }
}

fn take_over(world: &World, state: &mut State, me: usize, chunk: u8) {
    let sink = state.relays[me].sink;
    let covers = state.store.now.books[sink].chunk(chunk).map(|chunk| chunk.covers).unwrap_or_default();
    let rows = covers & state.visible();
    let held =
        if world.has(Mutant::HeldNotReadAgain) { Set::default() } else { state.store.now.books[sink].blocking() };
    let behind = ordered::behind(world, held, rows);
    state.store.commit(state.outbox.sequence, |tables| tables.books[sink].lease(chunk, me));
    state.relays[me].task =
        Task::Sends { chunk, todo: rows - behind, refused: Set::default(), behind, taken_back: false };
}

fn accept(world: &World, state: &mut State, me: usize) {
    if let Some(position) = state.relays[me].next_to_send() {
        arrive(world, state, me, position);
    }
}

fn arrive(world: &World, state: &mut State, me: usize, position: Position) {
    let sink = state.relays[me].sink;
    let is_given_up = state.store.now.books[sink].failures[position] == Failure::Discarded;
    state.sinks[sink].accept(world, position, is_given_up);
}

/// Of the next two events of a subject in one call, the sink accepts the second, and says nothing of the first.
fn send_second(world: &World, state: &mut State, me: usize) {
    let Task::Sends { todo, .. } = state.relays[me].task else { return };
    let second = todo.first().and_then(|next| (world.later(next) & todo).first());
    second.into_iter().for_each(|second| arrive(world, state, me, second));
    if let Task::Sends { todo, .. } = &mut state.relays[me].task {
        *todo -= second.into_iter().collect();
    }
}

/// The relay notes what the sink said of the next event.
fn answer(world: &World, state: &mut State, me: usize, accepts: bool) {
    match &mut state.relays[me].task {
        Task::Sends { todo, refused, behind, .. } => {
            let next: Set = todo.first().into_iter().collect();
            *todo -= next;
            if !accepts {
                *refused |= next;
                let later =
                    if world.has(Mutant::RefusedPassed) { Set::default() } else { ordered::behind(world, next, *todo) };
                *todo -= later;
                *behind |= later;
            }
        }
        Task::Retries { accepted, .. } => *accepted = Some(accepts),
        _ => {}
    }
}

fn close(world: &World, state: &mut State, me: usize) {
    let Task::Sends { chunk, refused, behind, .. } = state.relays[me].task else { return };
    let sink = state.relays[me].sink;
    let anybodys = world.has(Mutant::CloseWithoutOwner);
    let closes = state.store.now.books[sink].chunk(chunk).is_some_and(|chunk| chunk.lease.is_of(me) || anybodys);
    let records = (closes || world.has(Mutant::FailuresOfALostChunk)) && !world.has(Mutant::FailuresAfterClose);
    state.store.commit(state.outbox.sequence, |tables| {
        let books = &mut tables.books[sink];
        if closes {
            books.close(chunk);
        }
        if records {
            refused.iter().for_each(|position| books.record(position, world.tries));
            if !world.has(Mutant::BehindForgotten) {
                behind.iter().for_each(|position| books.record_behind(position));
            }
        }
    });
    let owes = closes && !records && !refused.is_empty();
    state.relays[me].task = if owes { Task::OwesFailures(refused) } else { Task::Idle };
    state.store.let_go(me);
}

fn record(world: &World, state: &mut State, me: usize) {
    let sink = state.relays[me].sink;
    let task = state.relays[me].task;
    state.store.commit(state.outbox.sequence, |tables| {
        let books = &mut tables.books[sink];
        match task {
            Task::OwesFailures(refused) => refused.iter().for_each(|position| books.record(position, world.tries)),
            Task::Retries { position, accepted: Some(true), .. } => books.failures[position] = Failure::None,
            Task::Retries { position, accepted: Some(false), .. } => match books.failures[position] {
                Failure::Waiting(refusals) => {
                    books.failures[position] = Failure::after(refusals + 1, world.tries);
                }
                Failure::Discarded if world.has(Mutant::RefusalRevivesDiscarded) => {
                    books.failures[position] = Failure::Waiting(1);
                }
                Failure::None | Failure::SetAside | Failure::Discarded => {}
            },
            _ => {}
        }
    });
    state.relays[me].task = Task::Idle;
}

fn crash(world: &World, state: &mut State, me: usize) {
    let sink = state.relays[me].sink;
    if world.has(Mutant::WritersInMemory) {
        let gaps = state.store.now.books[sink].gaps.iter_mut();
        gaps.filter(|gap| gap.writers.is_some()).for_each(|gap| gap.writers = Some(Set::default()));
    }
    let is_gone = state.relays[me].is_gone;
    state.relays[me] = Relay { is_gone, ..Relay::of(sink) };
    state.store.let_go(me);
    state.stir();
}
