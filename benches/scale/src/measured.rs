//! What was measured, in docs/PERFORMANCE.md, and what the simulation says of the same.
//!
//! The costs of the model are computed from four of these points. Everything else here it has to find out by itself.

use crate::clock::{Nanos, micros, millis, seconds};
use crate::database::Size;
use crate::figures::Figures;
use crate::queue::{Limits, MESSAGES_PER_CALL};
use crate::random::Spread;
use crate::world::{Costs, Load, Machines, Setup, simulate};

/// Microseconds of a loader's core that a message takes.
pub const LOADER: f64 = 53.9;
/// The same of a program that only receives and deletes: what the calls cost.
pub const LEAN_SDK: f64 = 46.1;
/// Microseconds of PostgreSQL's cores that a login takes, in batches of 500.
pub const POSTGRES: f64 = 21.9;
/// The same of the local SQS server.
pub const LOCAL_QUEUE: f64 = 20.5;
/// Microseconds of PostgreSQL's cores that a login took with another batch, in one run.
pub const BY_BATCH: [(usize, f64); 4] = [(100, 45.0), (500, 23.0), (2_000, 21.0), (5_000, 21.0)];
/// Bytes of log that a login takes.
pub const LOG: f64 = 1_080.0;
/// Bytes of tables and indexes that it takes (docs/OPERATIONS.md).
pub const TABLES: f64 = 256.0 + 349.0 + 310.0;
/// The rate of which the latencies were measured at a part.
pub const WANTED: f64 = 10_400.0;

/// How long a flush of the log takes on such a machine: the median and 99th percentile of 840 writes of 8 kB, each with
/// fdatasync, with other work on the machine. On the day of the measurements it was not looked at.
const FLUSH: [Nanos; 2] = [millis(2.2), millis(12.0)];
/// There and back between two programs of one machine.
const CALL_WITHIN_A_MACHINE: Nanos = micros(100.0);
/// Statements of a transaction that a lane waits for.
const STATEMENTS: u32 = 5;

/// One figure that was measured.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Its name in the table of docs/PERFORMANCE.md, after its part; or, where it stands in the text, what it is.
    pub name: &'static str,
    /// Median of the rounds.
    pub measured: f64,
    /// By how much the simulation may differ, as a factor of the one or of the other.
    pub within: f64,
    /// Whether the costs of the model come from it.
    pub given: bool,
    /// What it is of the simulation.
    pub of: Of,
}

/// What a point is of the simulation.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// Logins a second of so many processes with so many lanes.
    Rate(usize, usize),
    /// Microseconds of the loader's cores, with the defaults.
    Loader,
    /// Of PostgreSQL's, with a batch.
    Postgres(usize),
    /// Of the local queue's.
    LocalQueue,
    /// Milliseconds until half or 99 of 100 messages were recorded, at so many percent of the wanted rate.
    Latency(u32, usize),
}

const fn rate(name: &'static str, processes: usize, lanes: usize, measured: f64) -> Point {
    // The model does not know what a crowd costs: lanes that wait for each other's cores.
    let within = if lanes < 8 { 1.25 } else { 1.35 };
    Point { name, measured, within, given: false, of: Of::Rate(processes, lanes) }
}

const fn latency(name: &'static str, percent: u32, which: usize, measured: f64, within: f64) -> Point {
    Point { name, measured, within, given: false, of: Of::Latency(percent, which) }
}

const fn cost(name: &'static str, of: Of, measured: f64, given: bool) -> Point {
    Point { name, measured, within: if given { 1.05 } else { 1.25 }, given, of }
}

/// Everything that is compared.
pub const POINTS: [Point; 25] = [
    cost("loader", Of::Loader, LOADER, true),
    cost("PostgreSQL under the loader", Of::Postgres(500), POSTGRES, true),
    cost("local SQS server", Of::LocalQueue, LOCAL_QUEUE, true),
    cost("PostgreSQL, batches of 100", Of::Postgres(100), BY_BATCH[0].1, true),
    cost("PostgreSQL, batches of 2,000", Of::Postgres(2_000), BY_BATCH[2].1, false),
    cost("PostgreSQL, batches of 5,000", Of::Postgres(5_000), BY_BATCH[3].1, false),
    rate("turnstile, one process, defaults", 1, 2, 17_364.0),
    rate("1 × 1 lanes", 1, 1, 13_264.0),
    rate("1 × 2 lanes", 1, 2, 16_155.0),
    rate("1 × 4 lanes", 1, 4, 17_841.0),
    rate("1 × 8 lanes", 1, 8, 15_706.0),
    rate("2 × 1 lanes", 2, 1, 17_391.0),
    rate("2 × 2 lanes", 2, 2, 19_318.0),
    rate("2 × 4 lanes", 2, 4, 18_726.0),
    rate("2 × 8 lanes", 2, 8, 17_819.0),
    rate("4 × 1 lanes", 4, 1, 18_749.0),
    rate("4 × 2 lanes", 4, 2, 20_261.0),
    rate("4 × 4 lanes", 4, 4, 18_805.0),
    rate("4 × 8 lanes", 4, 8, 16_246.0),
    latency("at 10 % of 10400/s: p50", 10, 0, 4.1, 1.5),
    latency("at 10 % of 10400/s: p99", 10, 1, 7.7, 2.0),
    latency("at 50 % of 10400/s: p50", 50, 0, 5.2, 1.5),
    latency("at 50 % of 10400/s: p99", 50, 1, 20.3, 2.0),
    latency("at 90 % of 10400/s: p50", 90, 0, 12.8, 1.5),
    latency("at 90 % of 10400/s: p99", 90, 1, 61.2, 3.0),
];

/// What a login costs by these points. A transaction and a login of it cost the database what batches of 100 and of 500 say
/// together, on a day on which it took a little more.
pub fn costs() -> Costs {
    let [(few, at_few), (many, at_many), ..] = BY_BATCH;
    let transaction = (at_few - at_many) / (1.0 / few as f64 - 1.0 / many as f64);
    let login = at_many - transaction / many as f64;
    let of_the_table = POSTGRES / at_many;
    let calls_of_a_message = 2.0 / MESSAGES_PER_CALL as f64;
    Costs {
        call: micros(LEAN_SDK / calls_of_a_message),
        message: micros(LOADER - LEAN_SDK),
        transaction: micros(transaction * of_the_table),
        login: micros(login * of_the_table),
        served: micros(LOCAL_QUEUE / calls_of_a_message),
        log: LOG,
        tables: TABLES,
        statements: STATEMENTS,
    }
}

/// The world of the measurements: two cores for everything.
pub fn setup(loaders: usize, lanes: usize, batch: usize, load: Load) -> Setup {
    Setup {
        loaders,
        lanes,
        batch,
        load,
        costs: costs(),
        machines: Machines::One { cores: 2.0 },
        queue: Limits { in_flight: 120_000, calls_a_second: None, call: Spread::always(CALL_WITHIN_A_MACHINE) },
        database: Size { cores: 2.0, connections: 97, flush: Spread::new(FLUSH[0], FLUSH[1]), disk: 1e9 },
        ..defaults()
    }
}

/// The defaults of the program, and a world around it that is still to be said.
pub fn defaults() -> Setup {
    let flush = Spread::new(FLUSH[0], FLUSH[1]);
    Setup {
        loaders: 1,
        lanes: 2,
        batch: 500,
        linger: millis(200.0),
        wait: seconds(5.0),
        visibility_timeout: seconds(60.0),
        costs: costs(),
        machines: Machines::One { cores: 1.0 },
        queue: Limits { in_flight: 120_000, calls_a_second: None, call: Spread::always(CALL_WITHIN_A_MACHINE) },
        database: Size { cores: 1.0, connections: 97, flush, disk: 1e9 },
        load: Load::Endless,
        warm_up: seconds(1.0),
        lasts: seconds(7.0),
        seed: 1,
    }
}

/// What the simulation says of a point, where the costs are these.
pub fn simulated(of: Of, costs: &Costs) -> f64 {
    let see = |loaders, lanes, batch, load| -> Figures {
        simulate(&Setup { costs: *costs, ..setup(loaders, lanes, batch, load) })
    };
    let full = |batch| see(1, 2, batch, Load::Endless);
    match of {
        Of::Rate(processes, lanes) => see(processes, lanes, 500, Load::Endless).rate,
        Of::Loader => {
            let figures = full(500);
            figures.micros(figures.loader_cores)
        }
        Of::Postgres(batch) => {
            let figures = full(batch);
            // The other batches were measured on the day of `BY_BATCH`.
            let day = if batch == 500 { 1.0 } else { BY_BATCH[1].1 / POSTGRES };
            figures.micros(figures.database_cores) * day
        }
        Of::LocalQueue => {
            let figures = full(500);
            figures.micros(figures.queue_cores)
        }
        Of::Latency(percent, which) => {
            let load = Load::Tens(WANTED * f64::from(percent) / 100.0);
            see(1, 2, 500, load).recorded[which] as f64 / millis(1.0) as f64
        }
    }
}

/// By which factor two figures differ.
pub fn factor(one: f64, other: f64) -> f64 {
    (one / other).max(other / one)
}
