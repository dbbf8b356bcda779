//! The way of a lane: receive, gather, load, delete.

use crate::clock::Nanos;
use crate::lane::{After, MOST_DELETES_AT_ONCE, Round};
use crate::queue::{Ask, MESSAGES_PER_CALL};
use crate::world::{Event, Task, World};

impl World {
    pub(crate) fn wait_for_turn(&mut self, lane: usize) {
        let process = self.lanes[lane].process;
        self.turns[process].waiting.push_back(lane);
        self.give_turns(process);
    }

    fn give_turns(&mut self, process: usize) {
        while let Some(lane) = self.turns[process].take() {
            let now = self.clock.now();
            let wait = self.setup.wait;
            let next = &mut self.lanes[lane];
            (next.begun, next.since, next.had_more, next.failed) = (now, now, false, false);
            match next.calls > 1 {
                true => self.add_calls(lane, Round::Remembered, 0),
                false => self.add_calls(lane, Round::LongPoll, wait),
            };
        }
    }

    /// Makes calls side by side; says whether there was room for any.
    fn add_calls(&mut self, lane: usize, round: Round, wait: Nanos) -> bool {
        let calls = self.lanes[lane].calls_within(self.setup.batch);
        let of = &mut self.lanes[lane];
        (of.round, of.outstanding, of.wanted, of.came) = (round, calls.len(), calls.iter().sum(), 0);
        for most in &calls {
            self.call(lane, Ask::Receive { most: *most, wait });
        }
        !calls.is_empty()
    }

    /// A call has come back.
    pub(crate) fn called(&mut self, lane: usize, ask: Ask, came: Vec<Nanos>, refused: bool) {
        let of = &mut self.lanes[lane];
        match ask {
            Ask::Receive { .. } => {
                of.came += came.len();
                of.messages.extend(came);
                of.failed |= refused;
                of.outstanding -= 1;
                if of.outstanding == 0 {
                    self.round_ended(lane);
                }
            }
            Ask::Delete(messages) => {
                of.deletes -= 1;
                // Tried again, at once and as often as it takes: what the loader lets come again costs as much.
                of.to_delete += if refused { messages } else { 0 };
                self.go_on_deleting(lane);
            }
            Ask::Renew(_) => {}
        }
    }

    fn round_ended(&mut self, lane: usize) {
        let (now, linger, wait) = (self.clock.now(), self.setup.linger, self.setup.wait);
        let of = &mut self.lanes[lane];
        of.learn();
        match of.round {
            Round::Remembered if of.messages.is_empty() && !of.failed => {
                self.add_calls(lane, Round::LongPoll, wait);
                return;
            }
            Round::LongPoll => of.since = now,
            Round::Remembered | Round::More => {}
        }
        let goes_on = of.had_more && now - of.since < linger;
        if !(goes_on && self.add_calls(lane, Round::More, 0)) {
            self.gathered(lane);
        }
    }

    fn gathered(&mut self, lane: usize) {
        let of = &self.lanes[lane];
        if of.messages.is_empty() && !of.failed {
            let (took, wait) = (self.clock.now() - of.begun, self.setup.wait);
            let pause = self.turns[of.process].pause_over_nothing(took, wait);
            self.rest(lane, pause, After::EndOfTurn);
            return;
        }
        self.end_turn(lane);
    }

    fn rest(&mut self, lane: usize, pause: Nanos, after: After) {
        self.lanes[lane].after = after;
        self.clock.after(pause, Event::Rested(lane));
    }

    pub(crate) fn end_turn(&mut self, lane: usize) {
        let of = &self.lanes[lane];
        let (process, had_more, messages, failed) = (of.process, of.had_more, of.messages.len(), of.failed);
        self.turns[process].end(had_more);
        self.give_turns(process);
        match messages {
            0 if failed => self.rest_over_refusal(lane),
            0 => self.wait_for_turn(lane),
            _ => self.judge(lane, messages),
        }
    }

    fn rest_over_refusal(&mut self, lane: usize) {
        let pause = self.lanes[lane].pause();
        self.rest(lane, pause, After::Turn);
    }

    fn judge(&mut self, lane: usize, messages: usize) {
        let of = &mut self.lanes[lane];
        of.gatherings += 1;
        of.holds = Some(of.gatherings);
        let held = self.clock.now() - of.since;
        let renew = Event::Renew(lane, of.gatherings);
        self.clock.after((self.setup.visibility_timeout / 2).saturating_sub(held), renew);
        self.compute(self.machine_of(lane), messages as Nanos * self.setup.costs.message, Task::Judge(lane));
    }

    /// A lane keeps its connection. One that gets none asks again, and holds what it has meanwhile.
    pub(crate) fn connect(&mut self, lane: usize) {
        if !self.lanes[lane].connected && !self.database.connect() {
            let pause = self.lanes[lane].pause();
            self.rest(lane, pause, After::Connection);
            return;
        }
        let of = &mut self.lanes[lane];
        (of.connected, of.statements) = (true, 0);
        self.ask_database(lane);
    }

    pub(crate) fn ask_database(&mut self, lane: usize) {
        self.clock.after(self.half_trip(), Event::Asks(lane));
    }

    pub(crate) fn cost_of_statement(&self, lane: usize) -> Nanos {
        let costs = &self.setup.costs;
        let logins = self.lanes[lane].messages.len() as Nanos;
        (costs.transaction + logins * costs.login) / Nanos::from(costs.statements)
    }

    /// The database has done with a statement: after the last, the log has to last.
    pub(crate) fn stated(&mut self, lane: usize) {
        let now = self.clock.now();
        let of = &mut self.lanes[lane];
        of.statements += 1;
        if of.statements < self.setup.costs.statements {
            self.clock.after(self.half_trip(), Event::Answered(lane));
            return;
        }
        let bytes = of.messages.len() as f64 * (self.setup.costs.log + self.setup.costs.tables);
        self.counting.recorded(&of.messages, now);
        self.database.write(now, bytes);
        let flush = self.database.commit(lane, now, &mut self.random);
        self.note_flush(flush);
    }

    /// What was loaded is deleted, once what was loaded before it is: meanwhile the lane goes on.
    pub(crate) fn committed(&mut self, lane: usize) {
        let of = &mut self.lanes[lane];
        of.holds = None;
        of.committed = of.messages.len();
        of.messages.clear();
        if of.deletes == 0 {
            self.begin_deletes(lane);
        }
    }

    fn begin_deletes(&mut self, lane: usize) {
        let of = &mut self.lanes[lane];
        of.to_delete = std::mem::take(&mut of.committed);
        let (process, failed) = (of.process, of.failed);
        self.go_on_deleting(lane);
        self.turns[process].loaded();
        if failed {
            self.rest_over_refusal(lane);
        } else {
            self.lanes[lane].answered();
            self.wait_for_turn(lane);
        }
    }

    fn go_on_deleting(&mut self, lane: usize) {
        while self.lanes[lane].deletes < MOST_DELETES_AT_ONCE && self.lanes[lane].to_delete > 0 {
            let of = &mut self.lanes[lane];
            let messages = of.to_delete.min(MESSAGES_PER_CALL);
            of.to_delete -= messages;
            of.deletes += 1;
            self.call(lane, Ask::Delete(messages));
        }
        let of = &self.lanes[lane];
        if of.deletes == 0 && of.committed > 0 {
            self.begin_deletes(lane);
        }
    }

    pub(crate) fn renew(&mut self, lane: usize, gathering: u64) {
        if self.lanes[lane].holds != Some(gathering) {
            return;
        }
        for _ in 0..self.lanes[lane].messages.len().div_ceil(MESSAGES_PER_CALL) {
            self.call(lane, Ask::Renew(MESSAGES_PER_CALL));
        }
        self.clock.after(self.setup.visibility_timeout / 2, Event::Renew(lane, gathering));
    }
}
