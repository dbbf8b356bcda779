//! What is said of a loader or a relay in one row.

use std::time::Duration;

use super::Moment;
use super::watched::{Standing, Stretch, Watched};
use super::words::{length, plain};
use crate::metrics::{Carriage, Doing, LaneState, Nth, Outcome, Part, Peer, RelayLane, Snapshot, Standing as Refused};

/// What a loader does, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It does not answer.
    Away,
    /// It answers with figures that stand still.
    Frozen,
    /// Something was received that neither ended nor is in hand.
    Unbalanced,
    /// Its database is away, or busy.
    NoDatabase,
    /// Its queue is away.
    NoQueue,
    /// Its sink takes nothing.
    NoSink,
    /// There is no room for dead letters: it takes few.
    Full,
    /// Too many messages are not logins: it takes few.
    Storm,
    /// An operator wants it to receive nothing.
    Paused,
    /// It was asked to end.
    Ending,
    /// It was asked for its figures, and has not answered yet.
    Asked,
    /// It has no lanes yet.
    Starting,
    /// It has answered once: whether it loads is known when it has answered again.
    Answers,
    /// It loads.
    Loading,
    /// It carries events on.
    Carrying,
    /// There is nothing to load or to carry.
    Idle,
}

/// What is known of a loader now. Of one that is away or frozen, nothing is.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub state: State,
    /// For how long, where that is told.
    pub lasting: Option<Duration>,
    /// Why it does not answer.
    pub why: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// How long ago it started.
    pub uptime: Option<Duration>,
    /// What the rates and the lag are taken over.
    pub over: Option<Duration>,
    /// Deliveries that came from the queue, a second; events that a relay took up.
    pub received: Option<f64>,
    /// Logins that were loaded, a second; events that were carried.
    pub loaded: Option<f64>,
    /// The lag that half of them did not exceed; nothing where nothing was loaded.
    pub p50: Option<f64>,
    /// The lag that 99 of 100 did not exceed.
    pub p99: Option<f64>,
    /// Deliveries or events in hand.
    pub in_hand: Option<u64>,
    /// Dead letters written since its start; events that are set aside.
    pub dead: Option<u64>,
    /// How many lanes do what.
    pub lanes: Vec<(Doing, u64)>,
    /// What its sink does not have, where it is a relay and nothing else.
    pub relay: Option<Relay>,
}

/// What a relay says of its sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Relay {
    /// The sink's name.
    pub sink: String,
    /// Events that it does not have.
    pub backlog: Option<u64>,
    /// How old the oldest of these was when the database said so.
    pub oldest: Option<f64>,
}

impl Row {
    /// What is known of a loader now.
    pub fn of(watched: &Watched, now: Moment) -> Self {
        let nothing = Self::without_figures(watched.name.clone());
        match watched.standing(now) {
            Standing::Asked => Self { why: Some("no answer yet".to_owned()), ..nothing },
            Standing::Away { answered, why } => {
                Self { state: State::Away, lasting: answered, why: Some(plain(&why)), ..nothing }
            }
            Standing::Frozen(age) => {
                let why = Some("it answers, but its figures stand still".to_owned());
                Self { state: State::Frozen, lasting: Some(age), why, ..nothing }
            }
            Standing::Live => match watched.last() {
                Some(figures) => {
                    let version = watched.build().map(|build| plain(&build.version));
                    Self { version, ..nothing.with(figures, watched.stretch(now).as_ref()) }
                }
                None => nothing,
            },
        }
    }

    fn without_figures(name: String) -> Self {
        Self {
            name,
            state: State::Asked,
            lasting: None,
            why: None,
            version: None,
            uptime: None,
            over: None,
            received: None,
            loaded: None,
            p50: None,
            p99: None,
            in_hand: None,
            dead: None,
            lanes: Vec::new(),
            relay: None,
        }
    }

    fn with(self, figures: &Snapshot, stretch: Option<&Stretch>) -> Self {
        match figures.work.has(Part::Loader) {
            true => self.of_loader(figures, stretch),
            false => self.of_relay(figures, stretch),
        }
    }

    fn of_relay(self, figures: &Snapshot, stretch: Option<&Stretch>) -> Self {
        let delay = |share| stretch?.figures.relay_delay.get(())?.quantile(share);
        let carried = |stretch: &Stretch| stretch.figures.relay_events.get((Carriage::Carried,));
        let carried = stretch.map(|stretch| stretch.per_second(carried(stretch)));
        let (state, lasting) = state_of_relay(figures, carried);
        let (said_at, events) = (figures.relay_observed_at.get(()), |events: f64| events as u64);
        Self {
            state,
            lasting,
            uptime: uptime(figures),
            over: stretch.map(|stretch| stretch.over),
            received: stretch.map(|stretch| stretch.per_second(stretch.figures.relay_taken_up.total())),
            loaded: carried,
            p50: delay(0.5),
            p99: delay(0.99),
            in_hand: figures.relay_in_hand.get(()).map(events),
            dead: figures.relay_failures.get((Refused::SetAside,)).map(events),
            lanes: lanes_of(figures),
            relay: Some(Relay {
                sink: plain(figures.work.relays_to.as_deref().unwrap_or_default()),
                backlog: figures.relay_backlog.get(()).map(events),
                oldest: said_at.zip(figures.relay_oldest.get(())).map(|(said_at, oldest)| said_at - oldest),
            }),
            ..self
        }
    }

    fn of_loader(self, figures: &Snapshot, stretch: Option<&Stretch>) -> Self {
        let lag = |share| stretch?.figures.lag.get((Nth::First,))?.quantile(share);
        let loaded = stretch.map(|stretch| stretch.per_second(stretch.figures.messages.get((Outcome::Loaded,))));
        let (state, lasting) = state_of(figures, loaded);
        Self {
            state,
            lasting,
            uptime: uptime(figures),
            over: stretch.map(|stretch| stretch.over),
            received: stretch.map(|stretch| stretch.per_second(stretch.figures.received.total())),
            loaded,
            p50: lag(0.5),
            p99: lag(0.99),
            in_hand: figures.in_hand.get(()).map(|messages| messages as u64),
            dead: figures.dead_letters.is_known().then(|| figures.dead_letters.total()),
            lanes: lanes_of(figures),
            ..self
        }
    }

    /// What it does, and for how long, in at most 18 characters.
    pub fn state_in_words(&self) -> String {
        let word = self.state.word();
        self.lasting.map_or_else(|| word.to_owned(), |lasting| format!("{word} {}", length(lasting)))
    }
}

impl State {
    /// It in a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Frozen => "frozen",
            Self::Unbalanced => "books are off",
            Self::NoDatabase => "no database",
            Self::NoQueue => "no queue",
            Self::NoSink => "no sink",
            Self::Full => "no room",
            Self::Storm => "storm",
            Self::Paused => "paused",
            Self::Ending => "ending",
            Self::Asked => "asked",
            Self::Starting => "starting",
            Self::Answers => "answers",
            Self::Loading => "loading",
            Self::Carrying => "carrying",
            Self::Idle => "idle",
        }
    }

    /// Whether somebody should look.
    pub fn is_trouble(self) -> bool {
        self <= Self::Storm
    }
}

fn uptime(figures: &Snapshot) -> Option<Duration> {
    let (started, read) = (figures.started_at.get(())?, figures.read_at.get(())?);
    Duration::try_from_secs_f64(read - started).ok()
}

/// How many lanes do what; those that nobody is in are left out.
pub(super) fn lanes_of(figures: &Snapshot) -> Vec<(Doing, u64)> {
    let of_loader = LaneState::ALL.iter().map(|state| (Doing::Load(*state), figures.lanes.get((*state,))));
    let of_relay = RelayLane::ALL.iter().map(|state| (Doing::Relay(*state), figures.relay_lanes.get((*state,))));
    let lanes = |(doing, lanes): (Doing, Option<f64>)| Some((doing, lanes.filter(|lanes| *lanes > 0.0)? as u64));
    of_loader.chain(of_relay).filter_map(lanes).collect()
}

/// Whether all is known that must balance: an older loader may not show it.
pub(super) fn has_books(figures: &Snapshot) -> bool {
    figures.received.is_known() && figures.messages.is_known() && figures.in_hand.is_known()
}

fn state_of(figures: &Snapshot, loaded: Option<f64>) -> (State, Option<Duration>) {
    let away = |peer| Duration::try_from_secs_f64(figures.away(peer)?).ok();
    let lanes = lanes_of(figures);
    let any = |state| lanes.iter().any(|(of, _)| *of == Doing::Load(state));
    if has_books(figures) && figures.imbalance() != 0 {
        (State::Unbalanced, None)
    } else if let Some(away) = away(Peer::Database) {
        (State::NoDatabase, Some(away))
    } else if let Some(away) = away(Peer::Queue) {
        (State::NoQueue, Some(away))
    } else if let Some(away) = figures.sink_away().and_then(|away| Duration::try_from_secs_f64(away).ok()) {
        (State::NoSink, Some(away))
    } else if any(LaneState::WaitingForDatabase) {
        (State::NoDatabase, None)
    } else if any(LaneState::WaitingForQueue) {
        (State::NoQueue, None)
    } else if let Some(lasting) = figures.dead_letters_full() {
        (State::Full, Duration::try_from_secs_f64(lasting).ok())
    } else if let Some(lasting) = figures.storm() {
        (State::Storm, Duration::try_from_secs_f64(lasting).ok())
    } else if let Some(lasting) = figures.pause() {
        (State::Paused, Duration::try_from_secs_f64(lasting).ok())
    } else if figures.draining.get(()) == Some(1.0) {
        (State::Ending, None)
    } else if lanes.is_empty() {
        (State::Starting, None)
    } else if any(LaneState::Loading) || loaded.is_some_and(|loaded| loaded > 0.0) {
        (State::Loading, None)
    } else if loaded.is_none() {
        (State::Answers, None)
    } else {
        (State::Idle, None)
    }
}

fn state_of_relay(figures: &Snapshot, carried: Option<f64>) -> (State, Option<Duration>) {
    let lasting = |away: Option<f64>| Duration::try_from_secs_f64(away?).ok();
    let lanes = lanes_of(figures);
    let any = |state| lanes.iter().any(|(of, _)| *of == Doing::Relay(state));
    if figures.imbalance_of_events() != 0 {
        (State::Unbalanced, None)
    } else if let Some(away) = lasting(figures.away(Peer::Database)) {
        (State::NoDatabase, Some(away))
    } else if let Some(away) = lasting(figures.sink_away()) {
        (State::NoSink, Some(away))
    } else if any(RelayLane::WaitingForDatabase) {
        (State::NoDatabase, None)
    } else if figures.draining.get(()) == Some(1.0) {
        (State::Ending, None)
    } else if lanes.is_empty() {
        (State::Starting, None)
    } else if any(RelayLane::Carrying) || carried.is_some_and(|carried| carried > 0.0) {
        (State::Carrying, None)
    } else if carried.is_none() {
        (State::Answers, None)
    } else {
        (State::Idle, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, TakenUp, Work, unix_seconds};
    use crate::top::watched::tests::{moment, shown, shown_by};

    #[test]
    fn the_worst_that_is_true_of_a_loader_is_its_state() {
        let now = moment();
        let state = |count: &dyn Fn(&mut Snapshot)| {
            let mut watched = Watched::new("a");
            watched.hear(shown(now, now, |figures| count(figures)), now.at);
            Row::of(&watched, now).state_in_words()
        };
        assert_eq!(state(&|_| ()), "starting");
        assert_eq!(state(&|figures| figures.draining.set((), 1)), "ending");
        let away = |figures: &mut Snapshot, peer| figures.away_since.set((peer,), unix_seconds(now.clock) - 72.0);
        assert_eq!(state(&|figures| away(figures, Peer::Queue)), "no queue 1m12s");
        let storm = |figures: &mut Snapshot| figures.storm_since.set((), unix_seconds(now.clock) - 72.0);
        assert_eq!(state(&storm), "storm 1m12s");
        let both = |figures: &mut Snapshot| {
            figures.draining.set((), 1);
            [Peer::Queue, Peer::Database].iter().for_each(|peer| away(figures, *peer));
        };
        assert_eq!(state(&both), "no database 1m12s");
        assert_eq!(state(&|figures| figures.received.add((), 3)), "books are off");
        let lane = |figures: &mut Snapshot, state| figures.lanes.set((state,), 1);
        assert_eq!(state(&|figures| lane(figures, LaneState::Loading)), "loading");
        assert_eq!(state(&|figures| lane(figures, LaneState::WaitingForDatabase)), "no database");
        assert_eq!(state(&|figures| lane(figures, LaneState::Receiving)), "answers", "seen once, it may load or not");
    }

    #[test]
    fn a_relay_shows_what_it_carries_and_what_its_sink_does_not_have() {
        let (start, mut watched) = (moment(), Watched::new("r"));
        let relay = Metrics::of(Work::relaying("warehouse"));
        for second in 0..=10u32 {
            let now = start.plus(f64::from(second));
            let carried = u64::from(second) * 20;
            let page = shown_by(&relay, start, now, |figures| {
                figures.relay_taken_up.add((TakenUp::Claimed,), carried);
                figures.relay_in_hand.set((), carried as f64);
                figures.settle_events(Carriage::Carried, carried);
                figures.relay_lanes.set((RelayLane::Resting,), 6);
                figures.relay_backlog.set((), 40);
                figures.relay_oldest.set((), unix_seconds(now.clock) - 7.0);
                figures.relay_observed_at.set((), unix_seconds(now.clock) - 4.0);
            });
            watched.hear(page, now.at);
        }
        let now = start.plus(10.0);
        let row = Row::of(&watched, now);
        assert_eq!((row.state_in_words().as_str(), row.loaded, row.in_hand), ("carrying", Some(20.0), Some(0)));
        let relay = row.relay.unwrap();
        assert_eq!((relay.sink.as_str(), relay.backlog, relay.oldest), ("warehouse", Some(40), Some(3.0)));
    }

    #[test]
    fn a_relay_whose_sink_takes_nothing_says_so() {
        let (now, mut watched) = (moment(), Watched::new("r"));
        let relay = Metrics::of(Work::relaying("warehouse"));
        watched.hear(
            shown_by(&relay, now, now, |figures| figures.relay_away_since.set((), unix_seconds(now.clock) - 72.0)),
            now.at,
        );
        let row = Row::of(&watched, now);
        assert_eq!((row.state_in_words().as_str(), row.state.is_trouble()), ("no sink 1m12s", true));
    }

    #[test]
    fn a_loader_that_does_not_answer_shows_no_figure() {
        let (start, mut watched) = (moment(), Watched::new("a"));
        for second in 0..3 {
            let now = start.plus(f64::from(second));
            watched.hear(shown(start, now, |figures| figures.unknown_keys.add((), 9)), now.at);
        }
        assert_eq!(Row::of(&watched, start.plus(2.0)).in_hand, Some(0));
        watched.hear(Err("refused\u{1b}[2J".to_owned()), start.plus(3.0).at);
        let row = Row::of(&watched, start.plus(14.0));
        assert_eq!((row.state_in_words().as_str(), row.why.as_deref()), ("away 12s", Some("refused?[2J")));
        assert_eq!((row.in_hand, row.dead, row.received, row.p99, row.uptime), (None, None, None, None, None));
    }
}
