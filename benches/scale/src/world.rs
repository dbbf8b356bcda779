//! Loaders, a queue and a database, from event to event.

use crate::clock::{Clock, Nanos};
use crate::cores::{Begun, Cores, Work};
use crate::database::{Database, Size};
use crate::figures::{Counting, Figures};
use crate::lane::{After, Lane, Turns};
use crate::queue::{Answer, Ask, Limits, Queue};
use crate::random::Random;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Processes.
    pub loaders: usize,
    /// Lanes of each.
    pub lanes: usize,
    /// The most messages in a transaction.
    pub batch: usize,
    /// How long a lane gathers at most.
    pub linger: Nanos,
    /// How long a receive waits for a message.
    pub wait: Nanos,
    /// How long what was received is hidden.
    pub visibility_timeout: Nanos,
    /// What the work costs.
    pub costs: Costs,
    /// What it runs on.
    pub machines: Machines,
    /// The queue.
    pub queue: Limits,
    /// The database.
    pub database: Size,
    /// What is sent.
    pub load: Load,
    /// How long to wait before anything is counted, and for how long to count.
    pub warm_up: Nanos,
    /// For how long to count.
    pub lasts: Nanos,
    /// Where chance begins.
    pub seed: u64,
}

/// What the work costs, in time of a core of the kind that was measured.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// A call to the queue, for the loader.
    pub call: Nanos,
    /// From a message to its row, for the loader, apart from the calls.
    pub message: Nanos,
    /// A transaction, for the database, apart from its rows.
    pub transaction: Nanos,
    /// A login in it: its claim, row and event.
    pub login: Nanos,
    /// A call, for a queue that runs on the same machine.
    pub served: Nanos,
    /// Bytes of log that a login adds.
    pub log: f64,
    /// Bytes of tables and indexes that it adds.
    pub tables: f64,
    /// Statements of a transaction that are waited for, its commit included.
    pub statements: u32,
}

/// What it runs on.
#[derive(Clone, Copy, Debug)]
pub enum Machines {
    /// Everything shares these cores.
    One {
        /// Cores.
        cores: f64,
    },
    /// Each loader has its own, and the database, too; the queue is somebody else's.
    Apart {
        /// Cores of a loader.
        loader: f64,
        /// How long it is to the database and back.
        round_trip: Nanos,
    },
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// More than can be loaded.
    Endless,
    /// So many messages a second: in tens at even times, or one by one by chance.
    Tens(f64),
    /// One by one.
    Lone(f64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    CallOut(usize),
    Serve(usize),
    Take(usize),
    CallIn(usize),
    Judge(usize),
    Statement(usize),
}

#[derive(Debug)]
pub(crate) enum Event {
    Slice(usize, Work<Task>),
    Arrives(usize),
    Replies(usize),
    TimesOut(usize, u64),
    Send,
    Asks(usize),
    Answered(usize),
    Flushed,
    Committed(usize),
    Rested(usize),
    Renew(usize, u64),
}

#[derive(Debug)]
struct Call {
    lane: usize,
    ask: Ask,
    came: Vec<Nanos>,
    refused: bool,
    half: Nanos,
    serial: u64,
}

/// The machine of the database, and of everything where there is only one.
const DATABASE: usize = 0;

/// A world at work.
#[derive(Debug)]
pub struct World {
    pub(crate) setup: Setup,
    pub(crate) clock: Clock<Event>,
    pub(crate) random: Random,
    cores: Vec<Cores<Task>>,
    pub(crate) queue: Queue,
    pub(crate) database: Database,
    calls: Vec<Call>,
    idle_calls: Vec<usize>,
    serials: u64,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) turns: Vec<Turns>,
    pub(crate) counting: Counting,
}

/// Simulates, and says what was seen.
pub fn simulate(setup: &Setup) -> Figures {
    let mut world = World::new(*setup);
    world.run(setup.warm_up);
    world.counting = Counting::since(setup.warm_up);
    world.queue.counts = crate::queue::Counts::default();
    (world.database.refused, world.database.bytes) = (0, 0.0);
    world.cores.iter_mut().for_each(|cores| cores.computed = 0);
    world.run(setup.warm_up + setup.lasts);
    world.figures()
}

impl World {
    fn new(setup: Setup) -> Self {
        let cores = match setup.machines {
            Machines::One { cores } => vec![Cores::new(cores)],
            Machines::Apart { loader, .. } => {
                let loaders = (0..setup.loaders).map(|_| Cores::new(loader));
                std::iter::once(Cores::new(setup.database.cores)).chain(loaders).collect()
            }
        };
        let mut world = Self {
            setup,
            clock: Clock::default(),
            random: Random::new(setup.seed),
            cores,
            queue: Queue::new(setup.queue, matches!(setup.load, Load::Endless)),
            database: Database::new(setup.database),
            calls: Vec::new(),
            idle_calls: Vec::new(),
            serials: 0,
            lanes: (0..setup.loaders * setup.lanes).map(|lane| Lane::new(lane / setup.lanes)).collect(),
            turns: (0..setup.loaders).map(|_| Turns::among(setup.lanes)).collect(),
            counting: Counting::since(0),
        };
        if !matches!(setup.load, Load::Endless) {
            world.clock.after(0, Event::Send);
        }
        (0..world.lanes.len()).for_each(|lane| world.wait_for_turn(lane));
        world
    }

    fn run(&mut self, end: Nanos) {
        while let Some(event) = self.clock.next(end) {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Slice(machine, work) => {
                let (done, next) = self.cores[machine].end(work);
                self.note_slice(machine, next);
                if let Some(task) = done {
                    self.done(task);
                }
            }
            Event::Arrives(call) => match self.setup.machines {
                Machines::One { .. } => self.compute(DATABASE, self.setup.costs.served, Task::Serve(call)),
                Machines::Apart { .. } => self.serve(call),
            },
            Event::Replies(call) => {
                let lane = self.calls[call].lane;
                self.compute(self.machine_of(lane), self.setup.costs.call / 2, Task::CallIn(call));
            }
            Event::TimesOut(call, serial) => {
                if self.calls[call].serial == serial && self.queue.give_up(call) {
                    self.answer(call, Answer::Done(Vec::new()));
                }
            }
            Event::Send => self.send(),
            Event::Asks(lane) => self.compute(DATABASE, self.cost_of_statement(lane), Task::Statement(lane)),
            Event::Answered(lane) => self.ask_database(lane),
            Event::Flushed => {
                let (last, next) = self.database.flushed(self.clock.now(), &mut self.random);
                self.note_flush(next);
                for lane in last {
                    self.counting.lasting(&self.lanes[lane].messages, self.clock.now());
                    self.clock.after(self.half_trip(), Event::Committed(lane));
                }
            }
            Event::Committed(lane) => self.committed(lane),
            Event::Rested(lane) => match self.lanes[lane].after {
                After::Turn => self.wait_for_turn(lane),
                After::EndOfTurn => self.end_turn(lane),
                After::Connection => self.connect(lane),
            },
            Event::Renew(lane, gathering) => self.renew(lane, gathering),
        }
    }

    fn done(&mut self, task: Task) {
        match task {
            Task::CallOut(call) => {
                let takes = self.random.time(self.queue.call());
                self.calls[call].half = takes / 2;
                self.clock.after(takes / 2, Event::Arrives(call));
            }
            Task::Serve(call) => self.serve(call),
            Task::Take(messages) => {
                let woken = self.queue.send(self.clock.now(), messages);
                self.answer_all(woken);
            }
            Task::CallIn(call) => {
                let came = std::mem::take(&mut self.calls[call].came);
                let Call { lane, ask, refused, .. } = self.calls[call];
                self.idle_calls.push(call);
                self.called(lane, ask, came, refused);
            }
            Task::Judge(lane) => self.connect(lane),
            Task::Statement(lane) => self.stated(lane),
        }
    }

    /// A call goes out.
    pub(crate) fn call(&mut self, lane: usize, ask: Ask) {
        self.serials += 1;
        let call = Call { lane, ask, came: Vec::new(), refused: false, half: 0, serial: self.serials };
        let id = match self.idle_calls.pop() {
            Some(id) => {
                self.calls[id] = call;
                id
            }
            None => {
                self.calls.push(call);
                self.calls.len() - 1
            }
        };
        self.compute(self.machine_of(lane), self.setup.costs.call / 2, Task::CallOut(id));
    }

    fn serve(&mut self, call: usize) {
        let Call { ask, serial, .. } = self.calls[call];
        match self.queue.ask(self.clock.now(), call, ask) {
            Answer::Waits => {
                if let Ask::Receive { wait, .. } = ask {
                    self.clock.after(wait, Event::TimesOut(call, serial));
                }
            }
            answer => self.answer(call, answer),
        }
        if matches!(ask, Ask::Delete(_)) {
            let woken = self.queue.wake(self.clock.now());
            self.answer_all(woken);
        }
    }

    fn answer_all(&mut self, answered: Vec<(usize, Answer)>) {
        answered.into_iter().for_each(|(call, answer)| self.answer(call, answer));
    }

    fn answer(&mut self, call: usize, answer: Answer) {
        let asked = &mut self.calls[call];
        match answer {
            Answer::Done(came) => asked.came = came,
            Answer::Refused | Answer::Waits => asked.refused = true,
        }
        self.clock.after(asked.half, Event::Replies(call));
    }

    fn send(&mut self) {
        let (messages, gap) = match self.setup.load {
            Load::Endless => return,
            Load::Tens(a_second) => (10, (1e10 / a_second) as Nanos),
            Load::Lone(a_second) => (1, self.random.gap(a_second)),
        };
        self.clock.after(gap, Event::Send);
        match self.setup.machines {
            Machines::One { .. } => self.compute(DATABASE, self.setup.costs.served, Task::Take(messages)),
            Machines::Apart { .. } => self.done(Task::Take(messages)),
        }
    }

    /// Something is computed.
    pub(crate) fn compute(&mut self, machine: usize, cost: Nanos, task: Task) {
        self.counting.computed(task, cost);
        let begun = self.cores[machine].take(cost, task);
        self.note_slice(machine, begun);
    }

    fn note_slice(&mut self, machine: usize, begun: Option<Begun<Task>>) {
        if let Some(Begun { work, takes }) = begun {
            self.clock.after(takes, Event::Slice(machine, work));
        }
    }

    pub(crate) fn note_flush(&mut self, takes: Option<Nanos>) {
        if let Some(takes) = takes {
            self.clock.after(takes, Event::Flushed);
        }
    }

    pub(crate) fn machine_of(&self, lane: usize) -> usize {
        match self.setup.machines {
            Machines::One { .. } => DATABASE,
            Machines::Apart { .. } => 1 + self.lanes[lane].process,
        }
    }

    pub(crate) fn half_trip(&self) -> Nanos {
        match self.setup.machines {
            Machines::One { .. } => 0,
            Machines::Apart { round_trip, .. } => round_trip / 2,
        }
    }

    fn figures(mut self) -> Figures {
        let lasted = self.setup.lasts as f64;
        let busy = |cores: &[Cores<Task>], of: f64| {
            cores.iter().map(|cores| cores.computed as f64).sum::<f64>() / cores.len() as f64 / lasted / of
        };
        let (loaders, database) = match self.setup.machines {
            Machines::One { cores } => (busy(&self.cores, cores), busy(&self.cores, cores)),
            Machines::Apart { loader, .. } => {
                (busy(&self.cores[1..], loader), busy(&self.cores[..1], self.setup.database.cores))
            }
        };
        let mut figures = self.counting.figures(lasted);
        figures.loaders_busy = loaders;
        figures.database_busy = database;
        figures.disk_busy = self.database.bytes / (lasted / 1e9) / self.setup.database.disk;
        figures.connections = self.database.open;
        figures.connections_refused = self.database.refused;
        figures.calls = self.queue.counts.calls as f64 / (lasted / 1e9);
        figures.queue = self.queue.counts;
        figures
    }
}
