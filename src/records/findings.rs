//! What a check found.

use serde_json::json;

use crate::check::{Finding, Judgement};

/// A finding, with what to do about it.
pub fn finding_json(Finding { what, judgement }: &Finding) -> serde_json::Value {
    let Judgement { level, found, remedy } = judgement;
    json!({"what": what, "level": level.as_str(), "found": found, "remedy": remedy})
}
