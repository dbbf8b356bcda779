//! What an audit found.

use serde_json::json;

use crate::audit::Audit;
use crate::readable::exact;
use crate::table::agreement::{Breaks, RULES};

/// What the tables say of each other, and which rules are broken.
pub fn audit_json(audit: &Audit) -> serde_json::Value {
    let counts = audit.counts;
    let broken = audit.broken.iter().map(|(rule, Breaks { total, first })| {
        let first: Vec<String> = first.iter().map(ToString::to_string).collect();
        json!({"rule": rule.name, "broken_by": rule.broken_by, "messages": total, "first": first})
    });
    json!({
        "holds": audit.holds(),
        "rules": RULES.len(),
        "broken": broken.collect::<Vec<_>>(),
        "processed_messages": {"loaded": counts.loaded, "dead_lettered": counts.dead_lettered, "absorbed": counts.absorbed},
        "identities": counts.identities,
        "user_logins": {"rows": counts.rows, "adopted": counts.adopted_rows},
        "dead_letters": {
            "open": counts.open,
            "replayed": counts.replayed,
            "absorbed": counts.letters_absorbed,
            "discarded": counts.discarded,
        },
        "outbox": counts.events,
        "pruned_until": audit.pruned_until.map(exact),
        "decided_until": audit.decided_until.map(exact),
    })
}
