//! How the sinks of the outbox stand, judged: whether events arrive, and what keeps them from it.

use time::Duration;

use super::Judgement;
use super::database::failed;
use super::tables::Read;
use crate::table::relay_status::{Holder, OpenGap, OutboxStatus, SinkStatus};

/// An event that is older and not carried is worth a look.
const OLD: Duration = Duration::minutes(5);
/// A gap that is older keeps somebody waiting.
const STAYS: Duration = Duration::seconds(60);
/// A lease that ended so long ago is one that no relay takes over.
const LEFT: Duration = Duration::seconds(60);

/// What is looked at of each sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Where it was made.
    Cluster,
    /// Its frontier, against the sequence.
    Frontier,
    /// Whether a relay carries its chunks.
    Chunks,
    /// How long events wait.
    Lag,
    /// What may still come below the frontier.
    Gaps,
    /// What it refuses.
    Failures,
}

impl Aspect {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] = [Self::Cluster, Self::Frontier, Self::Chunks, Self::Lag, Self::Gaps, Self::Failures];

    /// What a finding of it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "sinks",
            Self::Frontier => "frontiers of sinks",
            Self::Chunks => "chunks of sinks",
            Self::Lag => "lag of sinks",
            Self::Gaps => "gaps of sinks",
            Self::Failures => "failures of sinks",
        }
    }

    fn fine(self) -> &'static str {
        match self {
            Self::Cluster => "made in this cluster",
            Self::Frontier => "none is ahead of the sequence",
            Self::Chunks => "none is left alone",
            Self::Lag => "no event waits for longer than 5 min",
            Self::Gaps => "none is older than 60 s",
            Self::Failures => "no event is set aside",
        }
    }
}

/// Something about a sink that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Of what.
    pub of: Aspect,
    /// What there is. No value of an event.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}

/// What is wrong with a sink.
pub fn troubles(sink: &SinkStatus, outbox: &OutboxStatus) -> Vec<Trouble> {
    let judged = [
        (Aspect::Cluster, cluster(sink, outbox)),
        (Aspect::Frontier, frontier(sink, outbox)),
        (Aspect::Chunks, chunks(sink, outbox)),
        (Aspect::Lag, lag(sink, outbox)),
        (Aspect::Gaps, gaps(sink, outbox)),
        (Aspect::Failures, failures(sink)),
    ];
    let trouble =
        |(of, judged): (Aspect, Option<(String, String)>)| judged.map(|(found, remedy)| Trouble { of, found, remedy });
    judged.into_iter().filter_map(trouble).collect()
}

/// What a check says of one aspect of all sinks. Nothing here keeps a loader from its work.
pub(super) fn judgement(of: Aspect, read: &Read<OutboxStatus>) -> Judgement {
    let outbox = match read {
        Ok(outbox) => outbox,
        Err(error) if error.sqlstate() == Some("42501") => {
            return Judgement::skipped(
                "this role may not read what relays note (deploy/grants.sql: turnstile_operator)",
            );
        }
        Err(error) => {
            let Judgement { found, remedy, .. } = failed(error);
            return Judgement::warning(found, remedy.unwrap_or_default());
        }
    };
    if outbox.sinks.is_empty() {
        return Judgement::ok("none: no relay has run yet");
    }
    let found = outbox.sinks.iter().flat_map(|sink| {
        let of_sink = troubles(sink, outbox).into_iter().filter(|trouble| trouble.of == of);
        of_sink.map(|trouble| (format!("{}: {}", sink.name, trouble.found), trouble.remedy))
    });
    let (found, mut remedies): (Vec<String>, Vec<String>) = found.unzip();
    remedies.dedup();
    match found.is_empty() {
        false => Judgement::warning(found.join("; "), remedies.join("; ")),
        true if of == Aspect::Cluster => {
            let names: Vec<&str> = outbox.sinks.iter().map(|sink| &*sink.name).collect();
            Judgement::ok(format!("{}: {}", names.join(", "), of.fine()))
        }
        true => Judgement::ok(of.fine()),
    }
}

fn cluster(sink: &SinkStatus, outbox: &OutboxStatus) -> Option<(String, String)> {
    (sink.cluster_id != outbox.cluster_id).then(|| {
        (
            "it was made in another PostgreSQL cluster, of which this database is a copy: no relay begins here"
                .to_owned(),
            "give `turnstile relay` --adopt if the original is gone for good, and else another --sink".to_owned(),
        )
    })
}

fn frontier(sink: &SinkStatus, outbox: &OutboxStatus) -> Option<(String, String)> {
    let (frontier, next) = (sink.frontier, outbox.table.positions.next);
    (frontier >= next).then(|| {
        (
            format!("its frontier {frontier} is ahead of the sequence, whose next position is {next}: events would be passed over"),
            format!("stop the loaders, and let the owner set the sequence outbox_position_seq to {frontier} by setval"),
        )
    })
}

fn chunks(sink: &SinkStatus, outbox: &OutboxStatus) -> Option<(String, String)> {
    let left: Vec<_> = sink.chunks.iter().filter(|chunks| outbox.now - chunks.lease_ends > LEFT).collect();
    let oldest = left.first()?;
    let over = outbox.now - oldest.lease_ends;
    Some((
        format!("chunks are open whose lease ended {} ago: no relay of this sink takes them over", in_words(over)),
        format!("start `turnstile relay --to {} --sink {}`, or look into its log", sink.target, sink.name),
    ))
}

fn lag(sink: &SinkStatus, outbox: &OutboxStatus) -> Option<(String, String)> {
    let age = outbox.now - sink.oldest?;
    (age > OLD).then(|| {
        (
            format!("the oldest event that it has not got is {} old", in_words(age)),
            "see in the log of its relay whether the target takes events, and start more relays if it only takes them slowly"
                .to_owned(),
        )
    })
}

fn gaps(sink: &SinkStatus, outbox: &OutboxStatus) -> Option<(String, String)> {
    let old: Vec<&OpenGap> = sink.gaps.iter().filter(|gap| outbox.now - gap.since > STAYS).collect();
    let oldest = old.iter().min_by_key(|gap| gap.since)?;
    let (first, last) = (oldest.positions.start(), oldest.positions.end());
    let held_by = oldest.held_by(&outbox.holders);
    let who: Vec<String> = held_by.iter().map(|holder| named(holder, outbox)).collect();
    let who = if who.is_empty() { "nobody: no relay looks at it".to_owned() } else { who.join(", ") };
    let age = in_words(outbox.now - oldest.since);
    let mut remedies: Vec<String> = held_by.iter().map(|holder| end_of(holder)).collect();
    if remedies.is_empty() {
        remedies.push(format!("start `turnstile relay --to {} --sink {}`", sink.target, sink.name));
    }
    remedies.sort();
    remedies.dedup();
    Some((format!("a gap at {first}..{last} is open for {age}, held by {who}"), remedies.join(", or ")))
}

fn failures(sink: &SinkStatus) -> Option<(String, String)> {
    let set_aside: i64 =
        sink.failures.iter().filter(|refusals| refusals.status == "set_aside").map(|refusals| refusals.events).sum();
    (set_aside > 0).then(|| {
        let events = if set_aside == 1 { "event is" } else { "events are" };
        (
            format!("{set_aside} {events} set aside, because the target refuses what they are"),
            format!("`turnstile outbox failures list --sink {}` says why; then retry or discard them", sink.name),
        )
    })
}

/// `pid 4711 (turnstile, idle in transaction, for 3 min)`, `the prepared transaction 'x' (for 2 h)`.
pub fn named(holder: &Holder, outbox: &OutboxStatus) -> String {
    let age = holder.since.map(|since| format!("for {}", in_words(outbox.now - since)));
    match (holder.pid, &holder.gid) {
        (Some(pid), _) => {
            let state = holder.state.as_deref().unwrap_or("its state is hidden from this role");
            let known: Vec<String> = holder
                .application
                .iter()
                .filter(|name| !name.is_empty())
                .map(|name| name.escape_debug().to_string())
                .chain([state.to_owned()])
                .chain(age)
                .collect();
            format!("pid {pid} ({})", known.join(", "))
        }
        (None, Some(gid)) => {
            format!(
                "the prepared transaction '{}'{}",
                gid.escape_debug(),
                age.map_or_else(String::new, |age| format!(" ({age})"))
            )
        }
        (None, None) => "a prepared transaction that has just ended".to_owned(),
    }
}

/// How a transaction is ended that does not end by itself.
fn end_of(holder: &Holder) -> String {
    match (holder.pid, &holder.gid) {
        (Some(pid), _) => format!("SELECT pg_terminate_backend({pid}) if that session hangs"),
        (None, Some(gid)) => {
            let gid = gid.replace('\'', "''").escape_debug().to_string();
            format!("COMMIT PREPARED '{gid}' or ROLLBACK PREPARED '{gid}'")
        }
        (None, None) => "look again".to_owned(),
    }
}

/// `45 s`, `3 min`, `2 h`, `3 d`.
pub fn in_one_unit(length: Duration) -> String {
    in_words(length).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `45 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn in_words(length: Duration) -> String {
    let seconds = length.whole_seconds().max(0);
    let two = |large: i64, of: &str, small: i64, rest: &str| match small {
        0 => format!("{large} {of}"),
        _ => format!("{large} {of} {small} {rest}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::table::facts::Positions;
    use crate::table::relay_status::{Backlog, OutboxTable, OwnedChunks, Refusals};

    const NOW: time::OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn ago(seconds: i64) -> time::OffsetDateTime {
        NOW - Duration::seconds(seconds)
    }

    fn outbox(holders: Vec<Holder>) -> OutboxStatus {
        let positions = Positions { next: 101, highest: Some(100) };
        let table = OutboxTable { positions, partitions: Vec::new(), bytes: 0, pruned_below: None };
        OutboxStatus { now: NOW, cluster_id: 7, table, sinks: Vec::new(), holders }
    }

    fn sink() -> SinkStatus {
        SinkStatus {
            name: "warehouse".to_owned(),
            target: "stdout:".to_owned(),
            is_ordered: false,
            cluster_id: 7,
            since: ago(1_000_000),
            frontier: 100,
            backlog: Backlog { events: 0, is_exact: true, positions: 0 },
            oldest: Some(ago(300)),
            rates: Vec::new(),
            chunks: vec![chunks(60)],
            gaps_in_all: 1,
            positions_in_gaps: 2,
            gaps: vec![gap(60)],
            failures: vec![refusals("waiting"), refusals("discarded")],
        }
    }

    fn chunks(ended: i64) -> OwnedChunks {
        OwnedChunks { owner: None, chunks: 1, positions: 2, most_attempts: 1, lease_ends: ago(ended) }
    }

    fn gap(seconds: i64) -> OpenGap {
        OpenGap { positions: 7..=9, since: ago(seconds), writers: Some(vec!["3/1".to_owned()]) }
    }

    fn refusals(status: &str) -> Refusals {
        Refusals { status: status.to_owned(), code: "Bad".to_owned(), events: 2, since: ago(9) }
    }

    #[test]
    fn each_trouble_is_told_from_its_limit_on_and_not_before() {
        let outbox = outbox(Vec::new());
        assert_eq!(troubles(&sink(), &outbox), []);
        type Changed = (Aspect, fn(&mut SinkStatus));
        let changes: [Changed; 6] = [
            (Aspect::Cluster, |sink| sink.cluster_id = 8),
            (Aspect::Frontier, |sink| sink.frontier = 101),
            (Aspect::Chunks, |sink| sink.chunks = vec![chunks(61)]),
            (Aspect::Lag, |sink| sink.oldest = Some(ago(301))),
            (Aspect::Gaps, |sink| sink.gaps = vec![gap(61)]),
            (Aspect::Failures, |sink| sink.failures = vec![refusals("set_aside")]),
        ];
        for (of, change) in changes {
            let mut changed = sink();
            change(&mut changed);
            let found = troubles(&changed, &outbox);
            assert_eq!(found.iter().map(|trouble| trouble.of).collect::<Vec<_>>(), [of]);
            assert!(found.iter().all(|trouble| !trouble.remedy.is_empty()));
        }
    }

    #[test]
    fn who_holds_a_gap_is_told_with_how_it_is_ended() {
        let holder = |id: &str, pid: Option<i32>, gid: Option<&str>, state: Option<&str>| Holder {
            id: id.to_owned(),
            is_prepared: pid.is_none(),
            pid,
            application: pid.map(|_| "turnstile".to_owned()),
            state: state.map(str::to_owned),
            gid: gid.map(str::to_owned),
            since: Some(ago(7_500)),
        };
        let stuck = SinkStatus { gaps: vec![gap(61)], ..sink() };
        for (holder, found, remedy) in [
            (
                holder("3/1", Some(4711), None, Some("idle in transaction")),
                "held by pid 4711 (turnstile, idle in transaction, for 2 h 5 min)",
                "SELECT pg_terminate_backend(4711) if that session hangs",
            ),
            (holder("3/1", Some(4711), None, None), "its state is hidden from this role", "pg_terminate_backend(4711)"),
            (
                holder("-1/5", None, Some("it's"), None),
                "held by the prepared transaction 'it\\'s' (for 2 h 5 min)",
                "ROLLBACK PREPARED 'it",
            ),
            (holder("5/5", Some(1), None, None), "held by nobody", "start `turnstile relay"),
        ] {
            let told = troubles(&stuck, &outbox(vec![holder]));
            let [Trouble { found: said, remedy: does, .. }] = &told[..] else { panic!("{told:?}") };
            assert!(said.contains(found), "{said}");
            assert!(does.contains(remedy), "{does}");
        }
    }

    #[test]
    fn a_length_of_time_is_told_in_two_units_at_most() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (7_500, "2 h 5 min"),
            (3_600, "1 h"),
            (273_600, "3 d 4 h"),
            (-5, "0 s"),
        ] {
            assert_eq!(in_words(Duration::seconds(seconds)), words);
            assert!(words.starts_with(&in_one_unit(Duration::seconds(seconds))));
        }
    }
}
