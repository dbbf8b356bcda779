//! Who acts, and why: what the database is told before it notes an action.

use super::plan_id::PlanId;
use crate::database::{DatabaseError, Transaction};

/// What a person says along with an action. The role that acts is the database's own knowledge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Who acts; empty where nobody is named.
    pub person: String,
    /// Why; empty where nothing is said.
    pub reason: String,
    /// Of which plan it is a part.
    pub plan: Option<PlanId>,
}

impl Said {
    /// By this person, without a reason.
    pub fn by(person: impl Into<String>) -> Self {
        Self { person: person.into(), ..Self::default() }
    }

    /// The same, for this reason.
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// The same, as a part of this plan.
    pub fn of_plan(self, plan: PlanId) -> Self {
        Self { plan: Some(plan), ..self }
    }
}

/// Says for the rest of this transaction what stands in the actions of it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn say(transaction: &Transaction, said: &Said) -> Result<(), DatabaseError> {
    let sql =
        "SELECT pg_catalog.set_config('letters.person', $1, true), pg_catalog.set_config('letters.reason', $2, true),
                      pg_catalog.set_config('letters.plan', $3, true)";
    let plan = said.plan.map(|plan| plan.to_string()).unwrap_or_default();
    transaction.query("say who acts", sql, &[&said.person, &said.reason, &plan]).await.map(drop)
}
