//! Loaders in a cloud: many small ones, one queue, one database.

use crate::clock::{Nanos, millis, seconds};
use crate::database::Size;
use crate::figures::Figures;
use crate::measured;
use crate::prices;
use crate::queue::Limits;
use crate::random::Spread;
use crate::world::{Load, Machines, Setup, simulate};

/// How long a call to SQS takes in the same region, and one of a hundred. Assumed: docs/PERFORMANCE.md reckons with the first.
pub const CALL: [Nanos; 2] = [millis(15.0), millis(60.0)];
/// How long it is to the database and back, between two zones of a region. Assumed.
pub const ROUND_TRIP: Nanos = millis(1.0);
/// How long a network disk takes to make the log last, and once in a hundred. Assumed.
pub const FLUSH: [Nanos; 2] = [millis(2.0), millis(10.0)];
/// Cores of a loader, as deploy/ecs gives it.
pub const LOADER_CORES: f64 = 0.5;
/// Gigabytes of memory, as deploy/ecs gives it.
pub const LOADER_MEMORY: f64 = 1.0;
/// What a standard queue allows (the quotas in the documentation of SQS).
pub const STANDARD: (usize, Option<f64>) = (120_000, None);
/// What a FIFO queue allows without high throughput: 300 calls a second of each kind.
pub const FIFO: (usize, Option<f64>) = (120_000, Some(300.0));
/// Bytes on disk of a login, as docs/OPERATIONS.md rounds them.
pub const KEPT: f64 = 900.0;

/// A database that can be bought.
#[derive(Clone, Copy, Debug)]
pub struct Bought {
    /// What it is called here.
    pub name: &'static str,
    /// Cores.
    pub cores: f64,
    /// What its disk writes, in bytes a second.
    pub disk: f64,
    /// The most connections that loaders may have.
    pub connections: usize,
}

/// From small to large. RDS sets the connections by memory: its bytes / 9,531,392, at most 5,000.
pub const DATABASES: [Bought; 4] = [
    Bought { name: "2 cores, 125 MB/s", cores: 2.0, disk: 125e6, connections: 901 },
    Bought { name: "4 cores, 500 MB/s", cores: 4.0, disk: 500e6, connections: 1_802 },
    Bought { name: "8 cores, 500 MB/s", cores: 8.0, disk: 500e6, connections: 3_604 },
    Bought { name: "16 cores, 1,000 MB/s", cores: 16.0, disk: 1_000e6, connections: 5_000 },
];

/// What a world of loaders is made of.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Loaders.
    pub loaders: usize,
    /// Lanes of each.
    pub lanes: usize,
    /// Their database.
    pub database: Bought,
    /// What their queue allows.
    pub queue: (usize, Option<f64>),
    /// How long its calls take.
    pub call: [Nanos; 2],
}

/// What ends the growth first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// More connections are wanted than there are.
    Connections,
    /// Too many calls a second.
    Calls,
    /// Too much in flight.
    InFlight,
    /// The database's cores.
    DatabaseCores,
    /// The database's disk.
    Disk,
    /// The loaders' cores.
    LoaderCores,
    /// None of them: every lane is at work, and waits for the answers of the queue most of the time.
    Lanes,
}

impl Limit {
    /// What it is.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Calls => "calls a second",
            Self::InFlight => "messages in flight",
            Self::DatabaseCores => "cores of the database",
            Self::Disk => "its disk",
            Self::LoaderCores => "cores of the loaders",
            Self::Lanes => "lanes that wait for SQS",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Connections => "fewer lanes, more `max_connections`, or a pooler",
            Self::Calls => "a standard queue, or high throughput for the FIFO queue",
            Self::InFlight => "a second queue with loaders of its own; fewer loaders do as well as these",
            Self::DatabaseCores => "a database with more cores",
            Self::Disk => "a disk that writes faster",
            Self::LoaderCores => "larger loaders, or more of them",
            Self::Lanes => "`--lanes 4`, then more loaders",
        }
    }
}

/// The share of a thing in use from which on it is the limit.
const USED_UP: f64 = 0.93;

impl Scenario {
    /// With two lanes each, a standard queue, and calls that take as long as is assumed.
    pub fn of(loaders: usize, database: Bought) -> Self {
        Self { loaders, lanes: 2, database, queue: STANDARD, call: CALL }
    }

    /// What is simulated of it.
    pub fn setup(&self, load: Load) -> Setup {
        let (in_flight, calls_a_second) = self.queue;
        let Bought { cores, disk, connections, .. } = self.database;
        Setup {
            loaders: self.loaders,
            lanes: self.lanes,
            machines: Machines::Apart { loader: LOADER_CORES, round_trip: ROUND_TRIP },
            queue: Limits { in_flight, calls_a_second, call: Spread::new(self.call[0], self.call[1]) },
            database: Size { cores, connections, flush: Spread::new(FLUSH[0], FLUSH[1]), disk },
            load,
            warm_up: seconds(2.0),
            lasts: seconds(5.0),
            ..measured::defaults()
        }
    }

    /// With more messages than they can load. Where the disk is slow, all lanes wait for the same flush and go on at the same
    /// time: several such rounds are waited for, and counted.
    pub fn full(&self) -> Figures {
        let setup = self.setup(Load::Endless);
        let in_hand = (self.loaders * self.lanes * setup.batch) as f64;
        let round = in_hand * (setup.costs.log + setup.costs.tables) / self.database.disk;
        let (warm_up, lasts) = (setup.warm_up + seconds(round), setup.lasts + seconds(4.0 * round));
        simulate(&Setup { warm_up, lasts, ..setup })
    }

    /// With so many logins a second, one by one.
    pub fn at(&self, a_second: f64) -> Figures {
        // So slow that there would be little to see.
        let lasts = seconds((2_000.0 / a_second).clamp(5.0, 200.0));
        simulate(&Setup { lasts, ..self.setup(Load::Lone(a_second)) })
    }

    /// What ends the growth, where this was seen under more messages than could be loaded.
    pub fn limit(&self, figures: &Figures) -> Limit {
        let refused_often = |refused: u64| refused as f64 > 0.01 * figures.queue.calls as f64;
        if figures.connections_refused > 0 {
            Limit::Connections
        } else if refused_often(figures.queue.throttled) {
            Limit::Calls
        } else if figures.disk_busy > USED_UP {
            Limit::Disk
        } else if figures.database_busy > USED_UP {
            Limit::DatabaseCores
        } else if refused_often(figures.queue.over_limit) {
            Limit::InFlight
        } else if figures.loaders_busy > USED_UP {
            Limit::LoaderCores
        } else {
            Limit::Lanes
        }
    }

    /// Dollars of a month: calls, loaders, database, and the disk for what was loaded in so many days.
    pub fn dollars(&self, figures: &Figures, days: f64) -> [f64; 4] {
        [
            prices::calls(figures.calls),
            prices::loaders(self.loaders, LOADER_CORES, LOADER_MEMORY),
            prices::database(self.database.cores, self.database.disk),
            prices::disk(figures.rate * 86_400.0 * days * KEPT),
        ]
    }
}
