//! Plans to replay dead letters.

use serde_json::{Value, json};

use crate::readable::exact;
use crate::table::replay_plan_letters::{Compared, Fate, PlanLetter};
use crate::table::replay_plans::{Plan, State};

/// `replayed`, `open: missing_field`.
pub fn fate_words(fate: &Fate) -> String {
    match fate {
        Fate::Replayed => "replayed".to_owned(),
        Fate::Absorbed => "absorbed".to_owned(),
        Fate::NoLongerOpen => "resolved by somebody else".to_owned(),
        Fate::StaysOpen(obstacle) => format!("open: {obstacle}"),
    }
}

/// How fast a plan is run: `90 a second`; nothing where it is not.
pub fn rate(plan: &Plan) -> Option<String> {
    let (begun, worked) = plan.begun_at.zip(plan.worked_at)?;
    let is_known = plan.state == State::Running && worked > begun;
    is_known.then(|| format!("{:.0} a second", plan.done as f64 / (worked - begun).as_seconds_f64()))
}

/// A plan.
pub fn plan_json(plan: &Plan) -> Value {
    json!({
        "plan": plan.id.0,
        "state": plan.state.as_str(),
        "letters": plan.letters,
        "done": plan.done,
        "of": plan.meant,
        "changes": plan.edits,
        "force": plan.force,
        "role": plan.role,
        "name": plan.person,
        "reason": plan.reason,
        "made_at": exact(plan.made_at),
        "begun_at": plan.begun_at.map(exact),
        "worked_at": plan.worked_at.map(exact),
        "ended_at": plan.ended_at.map(exact),
    })
}

/// Letters of one fate.
pub fn compared_json(compared: &Compared) -> Value {
    json!({
        "foreseen": compared.foreseen.word(),
        "foreseen_detail": compared.foreseen.detail(),
        "pointer": compared.pointer,
        "became": compared.became.as_ref().map(Fate::word),
        "became_detail": compared.became.as_ref().and_then(Fate::detail),
        "letters": compared.letters,
    })
}

/// A letter of a plan.
pub fn letter_json(letter: &PlanLetter) -> Value {
    json!({
        "hash": letter.key.hash.to_string(),
        "code": letter.code,
        "revision": letter.revision.map(|plan| plan.0),
        "foreseen": letter.foreseen.word(),
        "foreseen_detail": letter.foreseen.detail(),
        "place": letter.place,
        "became": letter.became.as_ref().map(Fate::word),
        "became_detail": letter.became.as_ref().and_then(Fate::detail),
        "became_at": letter.became_at.map(exact),
    })
}
