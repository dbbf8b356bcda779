//! The other side of a sink: it does with each call what a script says, and remembers what it has taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use turnstile::sink::envelope::{ATTRIBUTES, BATCH_CONTENT_TYPE, CONTENT_TYPE};

use super::kinds::{Kind, No, SECRET};
use crate::support::scripted_http::{Asked, Reply, ScriptedHttp};

/// An event as it came.
#[derive(Clone, Debug)]
pub(super) struct Came {
    /// Its entry's id in the call.
    pub(super) entry: String,
    pub(super) body: String,
    pub(super) deduplication_id: Option<String>,
    pub(super) group: Option<String>,
    pub(super) attributes: Vec<(String, String)>,
}

impl Came {
    pub(super) fn id(&self) -> String {
        let event: Value = serde_json::from_str(&self.body).unwrap();
        event["id"].as_str().unwrap().to_owned()
    }
}

/// What the other side does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Take,
    /// Takes all, and closes the connection without an answer.
    TakeAndClose,
    /// Takes all, and says something that is no answer.
    TakeAndBabble,
    /// Takes all, and never answers.
    TakeAndHang,
    /// Takes nothing, and closes the connection.
    Close,
    No(No),
    /// Fails every other event of the call by its own fault, and takes the rest; where no answer can say that, takes all.
    FailSome,
}

/// How the other side decides: the call's number, and what came.
pub(super) type Script = Box<dyn FnMut(usize, &[Came]) -> Act + Send>;

/// What it is, beside its script.
#[derive(Clone, Default)]
pub(super) struct Rules {
    /// The ids of events that it refuses for what they are.
    pub(super) bad: Vec<String>,
    /// Whether it then refuses the whole call, although it could refuse the entry.
    pub(super) refuses_calls: bool,
    /// The most bytes of an event.
    pub(super) most_bytes: Option<usize>,
    /// The most bytes of a call, which a topic says beforehand.
    pub(super) most_bytes_of_call: Option<usize>,
}

#[derive(Default)]
struct Memory {
    calls: usize,
    /// By id: how often it was taken, and its bytes.
    taken: BTreeMap<String, (usize, String)>,
    /// What a FIFO queue or topic knows repeats by.
    deduplicated: BTreeSet<String>,
    acts: Vec<Act>,
    wrong: Vec<String>,
}

pub(super) struct OtherSide {
    server: ScriptedHttp,
    memory: Arc<Mutex<Memory>>,
}

impl OtherSide {
    pub(super) async fn start(kind: Kind, rules: Rules, script: Script) -> Self {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let (seen, script) = (memory.clone(), Mutex::new(script));
        let server = ScriptedHttp::start(move |asked, _| {
            let Some(came) = kind.came(asked) else { return kind.facts(rules.most_bytes_of_call) };
            let mut memory = seen.lock().unwrap();
            memory.wrong.extend(wrong_with(kind, asked, &came));
            memory.calls += 1;
            let act = script.lock().unwrap()(memory.calls, &came);
            memory.acts.push(act.clone());
            memory.reply(kind, &rules, act, &came)
        });
        Self { server: server.await, memory }
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// By id: how often each event was taken, and its bytes.
    pub(super) fn taken(&self) -> BTreeMap<String, (usize, String)> {
        self.memory.lock().unwrap().taken.clone()
    }

    /// Everything that it did.
    pub(super) fn acts(&self) -> Vec<Act> {
        self.memory.lock().unwrap().acts.clone()
    }

    /// What was wrong with what came.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.memory.lock().unwrap().wrong.clone()
    }
}

impl Memory {
    fn reply(&mut self, kind: Kind, rules: &Rules, act: Act, came: &[Came]) -> Reply {
        if let Act::No(why) = act {
            return kind.no(why);
        }
        if act == Act::Close {
            return Reply::Close;
        }
        if rules.most_bytes.is_some_and(|most| came.iter().any(|came| came.bytes() > most)) {
            return kind.too_large(came.len() == 1);
        }
        if rules.most_bytes_of_call.is_some_and(|most| came.iter().map(Came::bytes).sum::<usize>() > most) {
            self.wrong.push("more in a call than the topic says that it takes".to_owned());
            return kind.too_large(false);
        }
        let bad: Vec<(usize, bool)> = came
            .iter()
            .enumerate()
            .filter(|(_, came)| rules.bad.contains(&came.id()))
            .map(|(n, _)| (n, true))
            .collect();
        if !bad.is_empty() && (rules.refuses_calls || !kind.answers_by_entry()) {
            return kind.refusal();
        }
        let failed: Vec<usize> = if act == Act::FailSome && kind.answers_by_entry() {
            (0..came.len()).step_by(2).collect()
        } else {
            Vec::new()
        };
        let failed = failed.into_iter().map(|n| (n, false)).filter(|(n, _)| !bad.iter().any(|(bad, _)| bad == n));
        let refused: Vec<(usize, bool)> = bad.iter().copied().chain(failed).collect();
        for (number, came) in came.iter().enumerate() {
            if !refused.iter().any(|(refused, _)| *refused == number) {
                self.take(came);
            }
        }
        match act {
            Act::Take | Act::FailSome => kind.taken(came, &refused),
            Act::TakeAndClose => Reply::Close,
            Act::TakeAndBabble => Reply::raw(200, "<html>welcome to the Wi-Fi of this hotel</html>"),
            Act::TakeAndHang => Reply::Hang,
            Act::Close | Act::No(_) => unreachable!("nothing is taken"),
        }
    }

    /// A FIFO queue or topic takes once what comes again under the same deduplication id.
    fn take(&mut self, came: &Came) {
        let is_new = came.deduplication_id.as_ref().is_none_or(|id| self.deduplicated.insert(id.clone()));
        let (times, body) = self.taken.entry(came.id()).or_insert_with(|| (0, came.body.clone()));
        *times += usize::from(is_new);
        if *body != came.body {
            self.wrong.push(format!("other bytes for {}", came.id()));
        }
    }
}

/// What is wrong with a call, whatever becomes of it.
fn wrong_with(kind: Kind, asked: &Asked, came: &[Came]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, holds: bool| {
        if !holds {
            wrong.push(format!("{kind:?}: {what}"));
        }
    };
    let most = match kind {
        Kind::Http => 1,
        Kind::HttpBatch => 7,
        Kind::Sqs | Kind::SqsFifo | Kind::Sns | Kind::SnsFifo => 10,
    };
    expect("a call has some events and not too many", (1..=most).contains(&came.len()));
    for came in came {
        expect("a FIFO queue is told the event's id", came.deduplication_id == kind.is_fifo().then(|| came.id()));
        let group = came.group.as_ref().is_some_and(|group| group.len() == 64);
        expect("its group is a hash of its subject", group == kind.is_fifo());
        let expected: &[(&str, &str)] = if kind.answers_by_entry() { &ATTRIBUTES } else { &[] };
        let mut expected: Vec<_> =
            expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        expected.sort();
        let mut attributes = came.attributes.clone();
        attributes.sort();
        expect("its attributes say what it is", attributes == expected);
    }
    if !kind.answers_by_entry() {
        let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is = if kind == Kind::Http { CONTENT_TYPE } else { BATCH_CONTENT_TYPE };
        expect("it says what its body is", header("content-type") == is);
        expect("its id is the event's", kind == Kind::HttpBatch || header("webhook-id") == came[0].id());
        let signed = [header("webhook-id"), header("webhook-timestamp")].join(".");
        let key = BASE64_STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
        let signature =
            header("webhook-signature").strip_prefix("v1,").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let message = [signed.as_bytes(), b".", &asked.bytes].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        expect("it is signed", hmac::verify(&key, &message, &signature.unwrap_or_default()).is_ok());
    }
    wrong
}
