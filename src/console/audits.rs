//! Audits that people begin from a page: one at a time, on a connection of its own, with a deadline.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::audit::{Audit, audit};
use crate::database::Database;
use crate::readable::exact;
use crate::records::audit::audit_json;
use crate::table::agreement::RULES;

/// How many runs are remembered.
const REMEMBERED: usize = 10;

/// The audits of this process, the last first.
#[derive(Clone, Default)]
pub(super) struct Audits(Arc<Mutex<VecDeque<Arc<Run>>>>);

/// An audit, whatever became of it.
#[derive(Debug)]
pub(super) struct Run {
    /// When it began.
    pub(super) begun: OffsetDateTime,
    /// Who began it.
    pub(super) by: String,
    /// How it stands.
    pub(super) standing: Standing,
}

/// How an audit stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// It is at this rule.
    Running(usize),
    /// It came to its end.
    Ended {
        /// After so long.
        took: Duration,
        /// What it found.
        audit: Arc<Audit>,
    },
    /// Nothing is proven: what went wrong, and what to do about it.
    Failed {
        /// What.
        error: String,
        /// What to do.
        remedy: String,
    },
}

impl Audits {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Run>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The audits, the last first.
    pub(super) fn all(&self) -> Vec<Arc<Run>> {
        self.lock().iter().cloned().collect()
    }

    /// The one that began last.
    pub(super) fn last(&self) -> Option<Arc<Run>> {
        self.lock().front().cloned()
    }

    /// The last one that came to its end.
    pub(super) fn last_that_ended(&self) -> Option<Arc<Run>> {
        self.lock().iter().find(|run| matches!(run.standing, Standing::Ended { .. })).cloned()
    }

    /// Begins one, unless one is under way: then nothing is done.
    pub(super) fn begin(&self, database: Database, deadline: Duration, by: String) -> bool {
        let begun = OffsetDateTime::now_utc();
        {
            let mut all = self.lock();
            if all.front().is_some_and(|run| matches!(run.standing, Standing::Running(_))) {
                return false;
            }
            all.truncate(REMEMBERED - 1);
            all.push_front(Arc::new(Run { begun, by: by.clone(), standing: Standing::Running(0) }));
        }
        let all = Self(self.0.clone());
        tokio::spawn(async move {
            let since = Instant::now();
            let say = |standing| all.say(Run { begun, by: by.clone(), standing });
            let audited = audit(&database, deadline, |rules| say(Standing::Running(rules))).await;
            say(match audited {
                Ok(audit) => Standing::Ended { took: since.elapsed(), audit: Arc::new(audit) },
                Err(error) => Standing::Failed { error: error.to_string(), remedy: error.remedy().to_owned() },
            });
        });
        true
    }

    /// Only one is under way: the last.
    fn say(&self, run: Run) {
        if let Some(last) = self.lock().front_mut() {
            *last = Arc::new(run);
        }
    }
}

impl Run {
    /// Whether a rule is broken.
    pub(super) fn is_broken(&self) -> bool {
        match &self.standing {
            Standing::Ended { audit, .. } => !audit.holds(),
            Standing::Running(_) | Standing::Failed { .. } => false,
        }
    }

    /// How it stands, in a word.
    pub(super) fn in_a_word(&self) -> &'static str {
        match &self.standing {
            Standing::Running(_) => "running",
            Standing::Ended { audit, .. } if audit.holds() => "holds",
            Standing::Ended { .. } => "broken",
            Standing::Failed { .. } => "failed",
        }
    }

    /// For scripts; `names` says whether the messages are named that break a rule.
    pub(super) fn json(&self, names: bool) -> Value {
        let mut record = json!({"begun": exact(self.begun), "by": self.by, "state": self.in_a_word()});
        let Value::Object(fields) = &mut record else { return record };
        match &self.standing {
            Standing::Running(rules) => {
                fields.insert("rules_done".to_owned(), json!(rules));
                fields.insert("rules".to_owned(), json!(RULES.len()));
            }
            Standing::Ended { took, audit } => {
                fields.insert("seconds".to_owned(), json!(took.as_secs_f64()));
                if names {
                    fields.insert("found".to_owned(), audit_json(audit));
                }
            }
            Standing::Failed { error, remedy } => {
                fields.insert("error".to_owned(), json!(error));
                fields.insert("remedy".to_owned(), json!(remedy));
            }
        }
        record
    }
}
