//! The outbox and its sinks.

use serde_json::{Value, json};

use crate::check::sinks::troubles;
use crate::readable::exact;
use crate::table::facts::partitions_ahead;
use crate::table::relay_status::{Holder, OpenGap, OutboxStatus, SinkStatus};

/// How the sinks stand.
pub fn outbox_json(status: &OutboxStatus) -> Value {
    let OutboxStatus { now, table, sinks, .. } = status;
    let ahead = partitions_ahead(&table.partitions, table.positions.next);
    json!({
        "at": exact(*now),
        "outbox": {
            "next_position": table.positions.next,
            "highest_position": table.positions.highest,
            "partitions": table.partitions.len(),
            "partitions_ahead": ahead,
            "bytes": table.bytes,
            "pruned_below": table.pruned_below,
        },
        "sinks": sinks.iter().map(|sink| sink_json(sink, status)).collect::<Vec<_>>(),
    })
}

fn sink_json(sink: &SinkStatus, status: &OutboxStatus) -> Value {
    let [last_minute, last_ten_minutes] = [0, 1].map(|n| {
        sink.rates.get(n).map(|rate| json!({"positions_a_second": rate.a_second, "over_seconds": rate.over_seconds}))
    });
    let chunks = sink.chunks.iter().map(|chunks| {
        json!({
            "owner": chunks.owner,
            "chunks": chunks.chunks,
            "positions": chunks.positions,
            "most_attempts": chunks.most_attempts,
            "lease_ends": exact(chunks.lease_ends),
        })
    });
    let failures = sink.failures.iter().map(|refusals| {
        json!({
            "status": refusals.status,
            "code": refusals.code,
            "events": refusals.events,
            "since": exact(refusals.since),
        })
    });
    let look_at = troubles(sink, status)
        .into_iter()
        .map(|trouble| json!({"what": trouble.of.as_str(), "found": trouble.found, "remedy": trouble.remedy}));
    json!({
        "sink": sink.name,
        "target": sink.target,
        "ordered": sink.is_ordered,
        "since": exact(sink.since),
        "of_this_cluster": sink.cluster_id == status.cluster_id,
        "frontier": sink.frontier,
        "backlog": {
            "events": sink.backlog.events,
            "is_exact": sink.backlog.is_exact,
            "positions": sink.backlog.positions,
        },
        "oldest": sink.oldest.map(exact),
        "oldest_age_seconds": sink.oldest.map(|oldest| (status.now - oldest).as_seconds_f64()),
        "rate": {"last_minute": last_minute, "last_ten_minutes": last_ten_minutes},
        "chunks": chunks.collect::<Vec<_>>(),
        "gaps": {
            "gaps": sink.gaps_in_all,
            "positions": sink.positions_in_gaps,
            "lowest": sink.gaps.iter().map(|gap| gap_json(gap, status)).collect::<Vec<_>>(),
        },
        "failures": failures.collect::<Vec<_>>(),
        "look_at": look_at.collect::<Vec<_>>(),
    })
}

fn gap_json(gap: &OpenGap, status: &OutboxStatus) -> Value {
    let holder = |holder: &&Holder| {
        json!({
            "pid": holder.pid,
            "application_name": holder.application,
            "state": holder.state,
            "gid": holder.gid,
            "since": holder.since.map(exact),
        })
    };
    json!({
        "first": gap.positions.start(),
        "last": gap.positions.end(),
        "since": exact(gap.since),
        "held_by": gap.held_by(&status.holders).iter().map(holder).collect::<Vec<_>>(),
    })
}
