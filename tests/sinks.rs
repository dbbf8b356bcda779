//! One suite that every sink passes, over real HTTP: whatever the other side does, every event is there in the end, a repeat has its id and
//! its bytes, and only what is refused for what it is is set aside.

mod elsewhere;
mod kinds;
mod limits;
mod lines;
mod other_side;
mod receivers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use turnstile::database::Database;
use turnstile::relay::RelaySettings;
use turnstile::shutdown::Shutdown;
use turnstile::sink::{AnySink, Carried, Envelope, Limits, Sink, SinkError};

use self::kinds::{Kind, No};
use self::other_side::{Act, Came, OtherSide, Rules, Script};
use crate::relay::{TestSink, count, drain, outbox, settings, start, write};
use crate::support::{LONG_PATIENCE, wait_until};

/// As many as are in several chunks of two relays.
const EVENTS: i64 = 120;

/// How large a call to a topic may be, by what the topic says: some events, and not ten.
const TOPIC_BYTES: usize = 4_096;

/// A sink that several relays share.
#[derive(Clone)]
struct Shared(Arc<AnySink>);

impl Sink for Shared {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        self.0.carry(events).await
    }
}

/// What the other side does, and what must come of it.
struct Case {
    name: &'static str,
    rules: Rules,
    script: Script,
    /// What it must have done, or nothing was tried.
    tries: Vec<Act>,
    /// Whether the relays are two, and one is killed.
    is_deadly: bool,
}

impl Case {
    fn new(name: &'static str, tries: &[Act], script: impl FnMut(usize, &[Came]) -> Act + Send + 'static) -> Self {
        Self { name, rules: Rules::default(), script: Box::new(script), tries: tries.to_vec(), is_deadly: false }
    }

    /// The first calls go so, and the others well.
    fn at_first(name: &'static str, acts: &[Act]) -> Self {
        let first = acts.to_vec();
        Self::new(name, acts, move |call, _| first.get(call - 1).cloned().unwrap_or(Act::Take))
    }

    fn refusing(name: &'static str, bad: &[String], refuses_calls: bool) -> Self {
        let mut case = Self::at_first(name, &[Act::Take]);
        case.rules.bad = bad.to_vec();
        case.rules.refuses_calls = refuses_calls;
        case
    }
}

/// The cases of a kind. `bad` are ids of three events.
fn cases(kind: Kind, bad: &[String], at_limit: usize) -> Vec<Case> {
    let no = |why| [Act::No(why), Act::No(why), Act::No(why)];
    let mut cases = vec![
        Case::at_first("takes all", &[Act::Take]),
        Case::new(
            "loses answers",
            &[Act::TakeAndClose],
            |call, _| {
                if call % 3 == 1 { Act::TakeAndClose } else { Act::Take }
            },
        ),
        Case::at_first("is away", &[Act::Close, Act::No(No::Down), Act::Close, Act::No(No::Down)]),
        Case::at_first("throttles", &no(No::Throttled)),
        Case::at_first("is unauthorised", &no(No::Unauthorised)),
        Case::at_first("is missing", &no(No::Missing)),
        Case::at_first("babbles", &[Act::TakeAndBabble, Act::TakeAndBabble]),
        Case::at_first("answers late", &[Act::TakeAndHang]),
        Case::refusing("refuses some", bad, true),
    ];
    if kind.answers_by_entry() {
        cases.push(Case::refusing("refuses entries", bad, false));
        cases.push(Case::at_first("fails entries", &[Act::FailSome, Act::FailSome, Act::FailSome]));
    }
    let mut limited = Case::at_first("limits sizes", &[Act::Take]);
    limited.rules.most_bytes = Some(at_limit);
    cases.push(limited);
    let mut dice = StdRng::seed_from_u64(12);
    let mut mischief = Case::new("does mischief", &[Act::TakeAndClose, Act::Take], move |call, _| {
        match dice.random_range(0..20) {
            // Whatever the dice say: something comes again.
            _ if (2..5).contains(&call) => Act::TakeAndClose,
            0 => Act::Close,
            1..4 => Act::TakeAndClose,
            4 => Act::TakeAndBabble,
            5 => Act::No(No::Down),
            6 => Act::No(No::Unauthorised),
            7 => Act::FailSome,
            _ => Act::Take,
        }
    });
    mischief.rules.bad = bad.to_vec();
    mischief.is_deadly = true;
    cases.push(mischief);
    for case in &mut cases {
        if kind.is_sns() {
            case.rules.most_bytes_of_call = Some(TOPIC_BYTES);
        }
    }
    cases
}

async fn keeps_the_promise(kind: Kind) {
    let (_test, database, client) = outbox().await;
    write(&client, EVENTS).await;
    let plain = TestSink::default();
    drain(&database, &plain).await;
    let events: BTreeMap<String, String> =
        plain.came.lock().unwrap().values().map(|(_, body)| (id_in(body), body.clone())).collect();
    assert_eq!(events.len(), EVENTS as usize);
    let bad: Vec<String> = events.keys().take(3).cloned().collect();
    // Of three sizes the middle one is the limit.
    let mut sizes: Vec<usize> = events.values().map(|body| kinds::size(kind, body)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let at_limit = sizes[1];
    let cases = cases(kind, &bad, at_limit);
    let (database, client, events) = (&database, &client, &events);
    let run = |case: Case| async move {
        let name = case.name;
        let run = Box::pin(passes(kind, case, database, client, events, at_limit));
        assert!(tokio::time::timeout(LONG_PATIENCE, run).await.is_ok(), "{kind:?} {name}: it does not end");
    };
    stream::iter(cases.into_iter().map(run)).buffer_unordered(3).collect::<Vec<()>>().await;
}

fn id_in(body: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(body).unwrap();
    event["id"].as_str().unwrap().to_owned()
}

async fn passes(
    kind: Kind,
    case: Case,
    database: &Database,
    client: &tokio_postgres::Client,
    events: &BTreeMap<String, String>,
    at_limit: usize,
) {
    let name = format!("{kind:?}: {}", case.name);
    let bad: Vec<&String> = match case.name {
        "limits sizes" => {
            events.iter().filter(|(_, body)| kinds::size(kind, body) > at_limit).map(|(id, _)| id).collect()
        }
        _ => events.keys().filter(|id| case.rules.bad.contains(id)).collect(),
    };
    let other = OtherSide::start(kind, case.rules, case.script).await;
    let sink = Shared(Arc::new(kind.open(&other.url()).await));
    let mut settings = RelaySettings { sink: case.name.replace(' ', "-"), ..settings(true) };
    if case.is_deadly {
        // What the dead one had is soon another's; where nobody dies, no slow machine makes repeats.
        settings.lease = Duration::from_secs(1);
    }
    if case.is_deadly {
        let doomed = start(database, &sink, settings.clone(), &Shutdown::default()).await;
        let survivor = start(database, &sink, settings.clone(), &Shutdown::default()).await;
        wait_until("a part is carried", async || other.taken().len() > EVENTS as usize / 4).await;
        doomed.abort();
        survivor.await.unwrap().unwrap();
    }
    start(database, &sink, settings.clone(), &Shutdown::default()).await.await.unwrap().unwrap();

    assert_eq!(other.wrong(), [""; 0], "{name}");
    let acts = other.acts();
    assert!(case.tries.iter().all(|act| acts.contains(act)), "{name}: {acts:?}");
    let taken = other.taken();
    let lost: Vec<_> = events.keys().filter(|id| !taken.contains_key(*id) && !bad.contains(id)).collect();
    assert!(lost.is_empty(), "{name}: {} are lost", lost.len());
    for (id, (_, body)) in &taken {
        assert_eq!(events.get(id), Some(body), "{name}: an event has the same bytes everywhere");
    }
    let repeats: usize = taken.values().map(|(times, _)| times - 1).sum();
    let repeats_must_be = match case.name {
        "loses answers" | "does mischief" => !kind.is_fifo(),
        "babbles" => kind.reads_answers() && !kind.is_fifo(),
        "answers late" => !kind.is_fifo(),
        _ => false,
    };
    assert_eq!(repeats > 0, repeats_must_be, "{name}: {repeats} repeats");
    let sql = "SELECT encode(event_id, 'hex') FROM turnstile.relay_failures WHERE sink = $1 AND status = 'set_aside' ORDER BY 1";
    let rows = client.query(sql, &[&settings.sink]).await.unwrap();
    let set_aside: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(set_aside.iter().collect::<Vec<_>>(), bad, "{name}");
    let sql = format!("relay_failures WHERE sink = '{}'", settings.sink);
    assert_eq!(count(client, &sql).await, bad.len() as i64, "{name}: nothing else waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standard_queue_gets_every_event() {
    keeps_the_promise(Kind::Sqs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_queue_gets_every_event_once() {
    keeps_the_promise(Kind::SqsFifo).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standard_topic_gets_every_event() {
    keeps_the_promise(Kind::Sns).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_topic_gets_every_event_once() {
    keeps_the_promise(Kind::SnsFifo).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_single_events_gets_every_event() {
    keeps_the_promise(Kind::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_several_events_at_once_gets_every_event() {
    keeps_the_promise(Kind::HttpBatch).await;
}
