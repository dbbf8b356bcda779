//! What is known of a loader in a line, for logs and pipes, and in the cells of a table.

use super::Moment;
use super::row::Row;
use super::words::{known, latency, length, rate, window};

/// The line of this moment.
pub fn line(row: &Row, now: Moment) -> String {
    let (hour, minute, second) = now.clock.to_hms();
    let begin =
        format!("{}T{hour:02}:{minute:02}:{second:02}Z {} {}", now.clock.date(), row.name, row.state_in_words());
    match &row.why {
        Some(why) => format!("{begin}: {why}"),
        None => {
            let [received, loaded] = [row.received, row.loaded].map(|number| known(number, rate));
            let [p50, p99] = [row.p50, row.p99].map(|lag| known(lag, latency));
            let [in_hand, dead] = [row.in_hand, row.dead].map(|count| known(count, |count| count.to_string()));
            let over = known(row.over, window);
            if let Some(relay) = &row.relay {
                let backlog = known(relay.backlog, |events| events.to_string());
                let oldest = relay.oldest.map_or_else(String::new, |oldest| format!(" (oldest {})", latency(oldest)));
                return format!(
                    "{begin}; over {over}: {received} events in/s, {loaded} carried/s, delay p50 {p50} p99 {p99}; \
                     now: {in_hand} in hand, {backlog} not carried{oldest}, {dead} set aside"
                );
            }
            format!(
                "{begin}; over {over}: {received} in/s, {loaded} loaded/s, lag p50 {p50} p99 {p99}; \
                 now: {in_hand} in hand; since start {} ago: {dead} dead letters",
                known(row.uptime, length)
            )
        }
    }
}

/// The heads of a table that is printed once.
pub const HEADS: [&str; 11] = [
    "loader",
    "state",
    "in/s",
    "loaded/s",
    "lag p50",
    "lag p99",
    "over",
    "in hand",
    "dead since start",
    "up",
    "version",
];

/// The cells of a loader below [`HEADS`].
pub fn cells(row: &Row) -> Vec<String> {
    vec![
        row.name.clone(),
        row.state_in_words(),
        known(row.received, rate),
        known(row.loaded, rate),
        known(row.p50, latency),
        known(row.p99, latency),
        known(row.over, window),
        known(row.in_hand, |messages| messages.to_string()),
        known(row.dead, |letters| letters.to_string()),
        known(row.uptime, length),
        known(row.version.clone(), |version| version),
    ]
}
