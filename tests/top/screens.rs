//! The screens, as text: `make screens` writes them anew.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use time::OffsetDateTime;
use turnstile::metrics::{
    Build, CallOutcome, Code, Deletion, Ended, LaneState, LogLevel, Metrics, Nth, Operation, Outcome, Peer, Phase,
    Snapshot, Whereabouts, unix_seconds,
};
use turnstile::top::Moment;
use turnstile::top::screen::{Palette, draw};
use turnstile::top::view::{Sort, View};
use turnstile::top::watched::Watched;

const SIZES: [(u16, u16); 2] = [(80, 24), (160, 50)];
const HOUR: f64 = 3_600.0;

#[test]
fn a_loader_that_is_busy_shows_all_that_is_known_of_it() {
    assert_screen("busy", &View { chosen: Some(0), ..View::default() });
}

#[test]
fn a_loader_that_is_away_stands_first_and_its_figures_are_told_to_be_old() {
    assert_screen("away", &View::default());
}

#[test]
fn a_loader_without_its_database_says_so_and_since_when() {
    assert_screen("no-database", &View { chosen: Some(1), ..View::default() });
}

#[test]
fn where_nobody_answers_the_title_says_that_nothing_is_of_now() {
    let (loaders, now) = three_loaders();
    let later = after(now, 600);
    let shown = text(&drawn(&loaders, &View::default(), later, (80, 24), false));
    let title = shown.lines().next().unwrap();
    assert!(title.contains("3 away ") && title.ends_with(" NO FIGURES OF NOW"), "{shown}");
    assert!(!shown.contains(" over 10s") && shown.contains("away 10m00s"), "{shown}");
}

#[test]
fn the_sum_leaves_out_who_does_not_answer_and_says_so() {
    assert_screen("sum", &View { is_sum: true, sort: Sort::Loaded, ..View::default() });
}

#[test]
fn the_help_fits_the_smallest_screen() {
    assert_screen("help", &View { is_help: true, ..View::default() });
}

#[test]
fn a_filter_is_shown_while_it_is_typed_and_afterwards() {
    let typing = View { filter: "loader-9".to_owned(), is_typing: true, ..View::default() };
    assert_screen("filter", &typing);
    let typed = View { filter: "10.0.0.".to_owned(), chosen: Some(0), ..View::default() };
    assert_screen("filtered", &typed);
}

#[test]
fn a_screen_of_any_size_is_drawn() {
    let (loaders, now) = three_loaders();
    let all: Vec<Watched> = (0..40).map(|n| Watched::new(format!("10.0.0.{n}:9464"))).chain(loaders).collect();
    for width in [1, 2, 9, 40, 79, 81, 149, 150, 151, 300] {
        for height in [1, 2, 3, 4, 5, 9, 16, 23, 80] {
            let shown = text(&drawn(&all, &View::default(), now, (width, height), false));
            assert_eq!(shown.lines().count(), usize::from(height));
        }
    }
    let crowded = text(&drawn(&all, &View { chosen: Some(20), ..View::default() }, now, (80, 24), false));
    assert!(crowded.contains("> 10.0.0.20:9464") && crowded.contains("of 43"), "{crowded}");
}

#[test]
fn without_colours_there_are_none_and_with_them_trouble_is_red() {
    let (loaders, now) = three_loaders();
    let colours = |has_colours| {
        let buffer = drawn(&loaders, &View::default(), now, (80, 24), has_colours);
        let colours = buffer.content().iter().filter(|cell| cell.symbol() != " ").map(|cell| cell.fg);
        colours.filter(|colour| *colour != Color::Reset).collect::<Vec<_>>()
    };
    assert_eq!(colours(false), []);
    assert!(colours(true).contains(&Color::Red));
}

/// Compares the screen at both sizes with what is written.
fn assert_screen(name: &str, view: &View) {
    let (loaders, now) = three_loaders();
    for (width, height) in SIZES {
        let shown = text(&drawn(&loaders, view, now, (width, height), false));
        let path = format!("{}/tests/fixtures/top/{name}-{width}x{height}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("TURNSTILE_TEST_WRITE_SCREENS").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written == shown, "{path} is not what is shown: `make screens` writes it anew\n{shown}");
    }
}

fn drawn(loaders: &[Watched], view: &View, now: Moment, (width, height): (u16, u16), has_colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view, loaders, now, Palette { has_colours })).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    };
    buffer.content().chunks(width).map(line).collect()
}

/// One that is busy, one whose database is away, and one that answered twelve seconds ago for the last time.
fn three_loaders() -> (Vec<Watched>, Moment) {
    let start = Moment { at: Instant::now(), clock: OffsetDateTime::from_unix_timestamp(1_795_685_400).unwrap() };
    let mut loaders = ["10.0.0.1:9464", "10.0.0.2:9464", "loader-3.example.net:9464"].map(Watched::new);
    for second in 0..=22u32 {
        let now = after(start, second);
        loaders[0].hear(Ok(page(start, now, |figures| busy(figures, now, 10_000 + u64::from(second)))), now.at);
        loaders[1].hear(Ok(page(start, now, |figures| without_database(figures, now))), now.at);
        let third = match second {
            0..=10 => Ok(page(start, now, |figures| busy(figures, now, 900 + u64::from(second)))),
            _ => Err("Connection refused (os error 111)".to_owned()),
        };
        loaders[2].hear(third, now.at);
    }
    (loaders.into(), after(start, 22))
}

fn after(start: Moment, seconds: u32) -> Moment {
    let later = Duration::from_secs(seconds.into());
    Moment { at: start.at + later, clock: start.clock + later }
}

/// What a loader of three hours and five minutes serves, as it is read.
fn page(start: Moment, now: Moment, count: impl FnOnce(&mut Snapshot)) -> (Snapshot, Build) {
    let mut figures = Metrics::default().snapshot();
    // Other tests log.
    figures.log_lines = Default::default();
    figures.started_at.set((), unix_seconds(start.clock) - 3.0 * HOUR - 300.0);
    figures.read_at.set((), unix_seconds(now.clock));
    count(&mut figures);
    let [version, revision, mask, identity] = ["0.1.0", "b6c2f76", "keyed", "message-id"].map(str::to_owned);
    let build = Build { version, revision, mask, identity };
    Snapshot::read(&figures.exposition(&build).unwrap()).unwrap()
}

/// After so many batches of 120.
fn busy(figures: &mut Snapshot, now: Moment, batches: u64) {
    let clock = unix_seconds(now.clock);
    figures.received.add((), 120 * batches + 240);
    for (outcome, messages) in [
        (Outcome::Loaded, 117 * batches),
        (Outcome::DeadLettered, batches / 2),
        (Outcome::Absorbed, batches),
        (Outcome::Returned, 2 * batches - batches / 2 - 7),
        (Outcome::Contradicting, 3),
        (Outcome::Released, 4),
    ] {
        figures.messages.add((outcome,), messages);
    }
    figures.in_hand.set((), 240);
    figures.in_hand_since.set((), clock - 0.4);
    figures.rejections.add((Code("invalid_json"),), 2 * batches);
    figures.dead_letters.add((Code("invalid_json"),), batches / 2);
    figures.dead_letters.add((Code("contradicts"),), 3);
    for batch in 0..batches {
        let late = (batch % 100) as f64 / 100.0;
        figures.lag.observe((Nth::First,), 0.05 + late / 5.0);
        figures.wait.observe((), 0.02 + late / 20.0);
        figures.batch.observe((), 120.0);
        for (phase, longest) in
            [(Phase::Begin, 0.002), (Phase::Claim, 0.02), (Phase::Write, 0.04), (Phase::Commit, 0.008)]
        {
            figures.phases.observe((phase,), late * longest);
        }
        figures.call_duration.observe((Operation::Receive,), late / 10.0);
        figures.call_duration.observe((Operation::Delete,), late / 20.0);
    }
    figures.transactions.add((Ended::Committed,), batches);
    figures.transactions.add((Ended::Transient,), batches / 5);
    figures.calls.add((Operation::Receive, CallOutcome::Ok), 12 * batches);
    figures.calls.add((Operation::Delete, CallOutcome::Ok), 12 * batches);
    figures.calls.add((Operation::Delete, CallOutcome::Throttled), batches / 5);
    figures.billed.add((Operation::Receive,), 12 * batches);
    figures.deletes.add((Deletion::Deleted,), 118 * batches);
    figures.last_commit.set((), clock - 0.3);
    figures.last_receive.set((), clock - 0.1);
    [Peer::Database, Peer::Queue].into_iter().for_each(|peer| figures.answered(peer));
    figures.lanes.set((LaneState::Loading,), 2);
    figures.lanes.set((LaneState::Receiving,), 1);
    figures.log_lines.add((LogLevel::Warn,), 2);
    holds(figures, clock, 1_234);
}

fn without_database(figures: &mut Snapshot, now: Moment) {
    let clock = unix_seconds(now.clock);
    figures.received.add((), 5_400);
    figures.messages.add((Outcome::Loaded,), 5_000);
    figures.in_hand.set((), 400);
    figures.in_hand_since.set((), clock - 75.0);
    figures.answered(Peer::Queue);
    figures.reachable.set((Peer::Database,), 0);
    figures.away_since.set((Peer::Database,), clock - 72.0);
    figures.attempts.set((Peer::Database,), 9);
    figures.last_commit.set((), clock - 73.0);
    figures.last_receive.set((), clock - 75.0);
    figures.lanes.set((LaneState::WaitingForDatabase,), 3);
    figures.log_lines.add((LogLevel::Warn,), 11);
    holds(figures, clock, 1_300);
}

fn holds(figures: &mut Snapshot, clock: f64, visible: u32) {
    for (place, messages) in [(Whereabouts::Visible, visible), (Whereabouts::InFlight, 640), (Whereabouts::Delayed, 0)]
    {
        figures.depth.set((place,), messages);
    }
    figures.depth_at.set((), clock - 8.0);
}
