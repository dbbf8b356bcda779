//! What the keys do, and what the columns mean.

use ratatui::text::Line;

const HELP: &[&str] = &[
    "── help ── Esc or ? closes it",
    " s, r       sort by the next column; turn the order round",
    " j k ↑ ↓    select the loader that is shown below the table",
    " a          show what all loaders that answer do together",
    " /          show the loaders whose name holds a text",
    " q, Esc     quit",
    "",
    " state      away: it does not answer; frozen: its figures stand still",
    " in/s       deliveries received a second      load/s  logins loaded a second",
    " p50, p99   of the lag, from the queue's SentTimestamp to the verified commit;",
    "            known to the bucket of the histogram that it is served as",
    " over       what the four are taken over: never more than the window, and",
    "            nothing from before a restart",
    " hand       received, and not ended yet       dead    since the loader's start",
    " a relay    in/s: events taken up; load/s: carried; dead: set aside now",
    " –          not known now; of a lag: nothing was loaded",
    " Each is asked once a second for /metrics; docs/METRICS.md says what they mean",
];

pub(super) fn lines<'a>() -> Vec<Line<'a>> {
    HELP.iter().map(|line| Line::raw(*line)).collect()
}
