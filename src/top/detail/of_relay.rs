//! All that is said of a relay.

use indicatif::HumanCount;

use super::{Section, Subject, quantiles};
use crate::metrics::{Carriage, Label as _, Part, Peer, Refusal, SinkCall, Standing};
use crate::top::words::{known, plain, seconds};

impl Subject<'_> {
    /// Those of a relay. What a loader says too is left to it, where the process is both.
    pub(super) fn sections_of_relay(&self) -> Vec<Section> {
        let section = |name, line: String| Section { name, lines: vec![line] };
        let is_alone = !self.figures.work.has(Part::Loader);
        let mut sections = vec![Section { name: "events", lines: self.events() }];
        if self.is_live {
            let delay = self.stretch.and_then(|stretch| stretch.figures.relay_delay.get(()));
            sections.push(section("delay", format!("{} {}, written to taken", quantiles(delay), self.over())));
        }
        if is_alone {
            sections.push(section("lanes", self.lanes()));
            if !self.is_sum {
                let last_look = self.figures.relay_observed_at.get(());
                sections.push(section("database", self.peer(Peer::Database, "last look", last_look)));
            }
        }
        if !self.is_sum {
            sections.push(section("sink", self.sink()));
            sections.push(Section { name: "outbox", lines: self.outbox() });
        }
        if is_alone {
            sections.push(section("log", self.log()));
        }
        if self.is_live {
            sections.push(section("to sink", self.calls_to_sink()));
        }
        sections.push(section("refused", self.refused_events()));
        sections
    }

    fn events(&self) -> Vec<String> {
        let figures = self.figures;
        let ended = |how| HumanCount(figures.relay_events.get((how,)));
        let balance = match figures.imbalance_of_events() {
            0 => "the books balance".to_owned(),
            off => format!("BOOKS ARE OFF by {off}"),
        };
        let in_hand = known(figures.relay_in_hand.get(()), |events| HumanCount(events as u64).to_string());
        vec![
            format!("{} taken up since start; {balance}", HumanCount(figures.relay_taken_up.total())),
            format!(
                "= {} carried + {} refused + {} left to others + {in_hand} in hand",
                ended(Carriage::Carried),
                ended(Carriage::Refused),
                ended(Carriage::Left)
            ),
        ]
    }

    fn sink(&self) -> String {
        let name = self.figures.work.relays_to.as_deref().unwrap_or_default();
        let attempts = self.figures.relay_attempts.get(()).unwrap_or_default();
        let takes = match (self.figures.relay_away_since.get(()), self.figures.relay_reachable.get(())) {
            (Some(since), _) if self.is_live => {
                format!("TAKES NOTHING for {}, {attempts:.0} calls failed", self.ago(since))
            }
            (Some(since), _) => format!("took nothing, from {} ago on", self.ago(since)),
            (None, Some(_)) => "takes events".to_owned(),
            (None, None) => "not called yet".to_owned(),
        };
        let last = self.figures.relay_last_carried.get(());
        let last = last.map_or_else(|| "no event yet".to_owned(), |last| format!("last event {} ago", self.ago(last)));
        format!("{} {takes}; {last}", plain(name))
    }

    fn outbox(&self) -> Vec<String> {
        let figures = self.figures;
        let Some(said_at) = figures.relay_observed_at.get(()) else {
            return vec!["the database has not said yet what is not carried".to_owned()];
        };
        let number = |gauge: Option<f64>| known(gauge, |number| HumanCount(number.max(0.0) as u64).to_string());
        let oldest =
            figures.relay_oldest.get(()).map(|oldest| format!(", the oldest {} old", seconds(said_at - oldest)));
        vec![
            format!(
                "{} events not carried{}; said {} ago",
                number(figures.relay_backlog.get(())),
                oldest.unwrap_or_default(),
                self.ago(said_at)
            ),
            format!(
                "{} gaps, {} of them old; {} chunks open; {} partitions ahead",
                number(figures.relay_gaps.get(())),
                number(figures.relay_old_gaps.get(())),
                number(figures.relay_chunks.get(())),
                number(figures.relay_partitions_ahead.get(()))
            ),
        ]
    }

    fn calls_to_sink(&self) -> String {
        let calls = self.rate(|figures| figures.relay_calls.total());
        let away = known(self.stretch, |stretch| stretch.figures.relay_calls.get((SinkCall::Away,)).to_string());
        let took = self.stretch.and_then(|stretch| stretch.figures.relay_call_duration.get(()));
        format!("{calls} calls, {}; {away} failed {}", quantiles(took), self.over())
    }

    fn refused_events(&self) -> String {
        let of = |standing| known(self.figures.relay_failures.get((standing,)), |events| format!("{events}"));
        let classes: Vec<String> = Refusal::ALL
            .iter()
            .map(|class| (*class, self.figures.relay_refusals.get((*class,))))
            .filter(|(_, refused)| *refused > 0)
            .map(|(class, refused)| format!("{} {}", HumanCount(refused), class.word().replace('_', " ")))
            .collect();
        let since_start = if classes.is_empty() { "nothing".to_owned() } else { classes.join(", ") };
        let (waiting, set_aside) = (of(Standing::Waiting), of(Standing::SetAside));
        format!("{since_start} since start; {waiting} wait, {set_aside} set aside")
    }
}
