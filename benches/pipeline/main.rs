//! The whole loader on real parts, next to what no loader can go below and to what others do: one table of ratios.
//!
//! The local SQS server and a PostgreSQL with its own durability run as processes beside it. Every round measures every
//! figure once, so that the noise of a shared machine falls on all of them; ratios are of figures of the same round.
//!
//! `make bench`, or `cargo bench --bench pipeline -- [PART …] [--rounds N] [--scale X]
//! [--standing MILLIONS,MILLIONS]`. Linux only.

// Clippy's leave for tests does not reach benches.
#![allow(clippy::indexing_slicing)]
#![allow(missing_docs)]

mod archiving;
mod bodies;
#[path = "../support/cpu.rs"]
mod cpu;
mod figures;
mod floors;
mod growth;
mod latency;
mod letters;
mod loading;
mod memory;
mod peers;
mod pruning;
#[path = "../support/raw_queue.rs"]
#[expect(dead_code, reason = "the other bench uses the rest")]
mod raw_queue;
mod relaying;
mod retaining;
mod start;
mod throughput;
mod world;
mod writers;

use std::io::Write;

use anyhow::{Context, Result, bail};

use self::figures::Figures;
use self::growth::{Claims, Growth};
use self::letters::Letters;
use self::world::Server;

/// The parts, in the order of the table.
const PARTS: [&str; 12] = [
    "loading",
    "throughput",
    "peers",
    "latency",
    "memory",
    "growth",
    "growth-by-key",
    "relay",
    "retention",
    "letters",
    "archive",
    "start",
];

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, setup] = &arguments[..]
        && role == floors::SDK_FLOOR
    {
        return floors::be_the_bare_program(setup).await;
    }
    let Wanted { parts, rounds, scale, standing } = read(&arguments)?;
    let mut figures = Figures::default();
    let mut server = Server::start(scale).await?;
    let mut growth = Growth::new(Claims::OfMessages, standing.clone());
    let mut growth_by_key = Growth::new(Claims::OfKeys, standing);
    let mut letters = Letters::default();
    for round in 1..=rounds {
        for part in &parts {
            writeln!(std::io::stderr(), "round {round} of {rounds}: {part}")?;
            match *part {
                "loading" => loading::round(&mut server, &mut figures).await?,
                "throughput" => throughput::round(&mut server, &mut figures).await?,
                "peers" => peers::round(&mut server, &mut figures).await?,
                "latency" => latency::round(&mut server, &mut figures).await?,
                "memory" => memory::round(&mut server, &mut figures).await?,
                "relay" => relaying::round(&mut server, &mut figures).await?,
                "retention" => retaining::round(&mut server, &mut figures).await?,
                "letters" => letters.round(&mut server, &mut figures).await?,
                "archive" => archiving::round(&mut server, &mut figures).await?,
                "growth" => growth.round(&mut server, &mut figures).await?,
                "growth-by-key" => growth_by_key.round(&mut server, &mut figures).await?,
                _ => start::round(&mut server, &mut figures).await?,
            }
        }
    }
    Ok(write!(std::io::stdout(), "{}", figures.table())?)
}

/// What is to be measured.
struct Wanted {
    parts: Vec<&'static str>,
    rounds: u32,
    /// By how much larger than usual.
    scale: f64,
    /// With how many million claims standing.
    standing: Vec<u64>,
}

fn read(arguments: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted { parts: Vec::new(), rounds: 5, scale: 1.0, standing: vec![10, 50] };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match PARTS.iter().find(|part| *part == argument) {
            Some(part) => wanted.parts.push(*part),
            None if argument == "--rounds" => wanted.rounds = arguments.next().context("--rounds N")?.parse()?,
            None if argument == "--scale" => wanted.scale = arguments.next().context("--scale X")?.parse()?,
            None if argument == "--standing" => {
                wanted.standing = millions(arguments.next().context("--standing N,N")?)?
            }
            None => bail!("{argument} is none of --rounds N, --scale X, --standing N,N, {}", PARTS.join(", ")),
        }
    }
    if wanted.parts.is_empty() {
        wanted.parts = PARTS.to_vec();
    }
    Ok(wanted)
}

fn millions(list: &str) -> Result<Vec<u64>> {
    list.split(',').map(|number| Ok(number.parse()?)).collect()
}
