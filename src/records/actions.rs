//! What operators did.

use serde_json::{Value, json};

use crate::readable::exact;
use crate::table::operator_actions::Done;

/// Something that was done.
pub fn action_json(done: &Done) -> Value {
    json!({
        "id": done.id,
        "at": exact(done.at),
        "action": done.action.as_str(),
        "hash": done.letter.map(|key| key.hash.to_string()),
        "letters": done.letters,
        "role": done.role,
        "name": done.person,
        "reason": done.reason,
        "subject": done.subject,
        "plan": done.plan.map(|plan| plan.0),
    })
}
