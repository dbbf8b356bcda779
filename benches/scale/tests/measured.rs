//! The model, held against what was measured.

use std::fs;

use turnstile_scale::clock::{Nanos, seconds};
use turnstile_scale::measured::{self, Of, POINTS, costs, factor, setup, simulated};
use turnstile_scale::scenario::{DATABASES, FIFO, Limit, Scenario};
use turnstile_scale::world::{Costs, Load, Setup, simulate};

#[test]
fn the_simulation_is_as_near_to_every_measured_point_as_is_said() {
    let far: Vec<String> = far(&costs()).collect();
    assert!(far.is_empty(), "\n{}\n", far.join("\n"));
}

#[test]
fn a_wrong_cost_is_found() {
    let right = costs();
    let half_more = |cost: Nanos| cost + cost / 2;
    let wrong: [(&str, Costs); 6] = [
        ("a call", Costs { call: half_more(right.call), ..right }),
        ("a message", Costs { message: half_more(right.message), ..right }),
        ("a transaction", Costs { transaction: half_more(right.transaction), ..right }),
        ("a login", Costs { login: half_more(right.login), ..right }),
        ("a call of the local queue", Costs { served: half_more(right.served), ..right }),
        ("a transaction, half of it", Costs { transaction: right.transaction / 2, ..right }),
    ];
    for (name, costs) in wrong {
        assert!(far(&costs).next().is_some(), "nobody notices another cost of {name}");
    }
}

#[test]
fn the_measured_points_are_those_of_the_page() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PERFORMANCE.md")).unwrap();
    let mut rows = 0;
    for point in POINTS {
        let text = match point.of {
            Of::Rate(..) => format!("{}/s", point.measured),
            Of::Loader | Of::LocalQueue | Of::Postgres(500) => format!("{:.1} µs", point.measured),
            Of::Latency(..) => format!("{:.1} ms", point.measured),
            Of::Postgres(_) => continue,
        };
        let row = page.lines().find(|line| line.split('|').nth(2).is_some_and(|cell| cell.trim() == point.name));
        let row = row.unwrap_or_else(|| panic!("no row {:?}", point.name));
        assert_eq!(row.split('|').nth(3).unwrap().trim(), text, "{row}");
        rows += 1;
    }
    assert_eq!(rows, 22);
    let lean = format!("lean SDK floor: without retries and stream watch | {:.1} µs |", measured::LEAN_SDK);
    assert!(page.contains(&lean), "{lean}");
    let by_batch = measured::BY_BATCH.map(|(_, micros)| micros.to_string());
    let [few, many, more, most] = &by_batch;
    let by_batch = format!("of 100, 500, 2,000 and 5,000 was {few}, {many}, {more} and {most} µs");
    assert!(page.split_whitespace().collect::<Vec<_>>().join(" ").contains(&by_batch), "{by_batch}");
    assert!(page.contains("| write-ahead log per message | 1,080 B |"), "{}", measured::LOG);
}

#[test]
fn the_same_seed_gives_the_same_and_another_nearly_the_same() {
    let with = |seed| simulate(&Setup { seed, ..setup(1, 2, 500, Load::Tens(5_200.0)) });
    let [first, again, other] = [1, 1, 2].map(with);
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    assert_ne!(first.recorded, other.recorded);
    assert!(factor(first.recorded[0] as f64, other.recorded[0] as f64) < 1.1, "{first:?} {other:?}");
}

#[test]
fn each_limit_is_the_first_somewhere() {
    let [small, middle, .., large] = DATABASES;
    let few = turnstile_scale::scenario::Bought { connections: 97, ..large };
    for (scenario, limit) in [
        (Scenario::of(1, small), Limit::Lanes),
        (Scenario { lanes: 8, ..Scenario::of(1, small) }, Limit::LoaderCores),
        (Scenario { queue: FIFO, ..Scenario::of(8, small) }, Limit::Calls),
        (Scenario::of(64, small), Limit::Disk),
        (Scenario::of(64, middle), Limit::DatabaseCores),
        (Scenario::of(64, few), Limit::Connections),
        (Scenario::of(256, large), Limit::InFlight),
    ] {
        let figures = scenario.full();
        assert_eq!(scenario.limit(&figures), limit, "{scenario:?}: {figures:?}");
        assert!(figures.queue.most_in_flight <= 120_000);
    }
}

#[test]
fn everything_that_is_sent_is_loaded_below_the_limit() {
    for rate in [10.0, 1_000.0, 3_000.0] {
        let figures = Scenario::of(1, DATABASES[0]).at(rate);
        assert!(factor(figures.rate, rate) < 1.1, "{rate}: {}", figures.rate);
    }
    let long = Setup { lasts: seconds(40.0), ..Scenario::of(1, DATABASES[0]).setup(Load::Lone(1_000.0)) };
    let figures = simulate(&long);
    assert!((990.0..1_010.0).contains(&figures.rate), "{}", figures.rate);
}

/// The points from which the simulation is too far.
fn far(costs: &Costs) -> impl Iterator<Item = String> {
    POINTS.iter().filter_map(move |point| {
        let is = simulated(point.of, costs);
        let said = format!("{}: measured {}, simulated {is:.1}, within {} ×", point.name, point.measured, point.within);
        (factor(is, point.measured) > point.within).then_some(said)
    })
}
