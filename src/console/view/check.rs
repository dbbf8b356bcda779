//! What a check finds in the database, for the console's role.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{NoPage, View};
use crate::check::{Finding, Judgement, Level, standing};
use crate::console::Console;
use crate::console::pieces::{Mood, nothing, plural, text, verdict};
use crate::console::session::Session;
use crate::readable::exact;
use crate::records::findings::finding_json;
use crate::table::powers::Powers;

/// What was looked at, and what the role may do.
pub(super) struct Check {
    at: OffsetDateTime,
    findings: Vec<Finding>,
    powers: Powers,
    has_keys: bool,
}

pub(super) async fn look(console: &Console, session: &Session, powers: &Powers) -> Result<Check, NoPage> {
    let findings = standing(&session.database, &console.settings.database).await?;
    let has_keys = console.keys.is_some();
    Ok(Check { at: OffsetDateTime::now_utc(), findings, powers: powers.clone(), has_keys })
}

impl Check {
    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.judgement.level == level).count()
    }

    fn list(&self) -> Markup {
        // What is wrong comes first.
        let levels = [Level::Error, Level::Warning, Level::Skipped, Level::Ok];
        let in_order = levels
            .iter()
            .flat_map(|level| self.findings.iter().filter(move |finding| finding.judgement.level == *level));
        html! {
            dl.findings {
                @for Finding { what, judgement: Judgement { level, found, remedy } } in in_order {
                    div class=(level.as_str()) {
                        dt { span class={ "badge " (level.as_str()) } { (level.as_str()) } " " (what) }
                        dd {
                            (text(found))
                            @if let Some(remedy) = remedy { p.remedy { (text(remedy)) } }
                        }
                    }
                }
            }
        }
    }

    fn may(&self) -> [(&'static str, bool); 10] {
        let Powers { lists, outbox, resolves, replays, requeues, reveals, audits, history, loaders, pauses, .. } =
            self.powers;
        [
            ("see dead letters", lists),
            ("see what was done", history),
            ("see the outbox", outbox),
            ("see the loaders", loaders),
            ("pause and resume loaders", pauses),
            ("discard and reopen", resolves),
            ("replay", replays && self.has_keys),
            ("send back to the queue", requeues && self.has_keys),
            ("reveal bodies", reveals && self.has_keys),
            ("run an audit", audits),
        ]
    }
}

impl View for Check {
    fn title(&self) -> String {
        match (self.count(Level::Error), self.count(Level::Warning)) {
            (0, 0) => "ok · Check".to_owned(),
            (0, warnings) => format!("{} · Check", plural(warnings as u64, "warning")),
            (errors, _) => format!("{} · Check", plural(errors as u64, "error")),
        }
    }

    fn still(&self) -> Markup {
        html! { header.page { h1 { "Check" } } }
    }

    fn live(&self, _: OffsetDateTime) -> Markup {
        html! {
            @match (self.count(Level::Error), self.count(Level::Warning)) {
                (0, 0) => { (verdict(Mood::Well, html! { "The database is as it should be." })) }
                (0, warnings) => { (verdict(Mood::Look, html! { (plural(warnings as u64, "warning")) })) }
                (errors, _) => { (verdict(Mood::Bad, html! { (plural(errors as u64, "error")) })) }
            }
            (self.list())
        }
    }

    fn below(&self) -> Markup {
        html! {
            section {
                h2 { "What " (text(&self.powers.role)) " may do here" }
                @if self.powers.is_superuser { (nothing("It is a superuser: it may do and read everything.")) }
                ul.may {
                    @for (what, may) in self.may() {
                        li class=(if may { "yes" } else { "no" }) { (if may { "may " } else { "may not " }) (what) }
                    }
                }
                p.note { code { "turnstile check" } " looks at a loader's queue, keys and grants, too." }
            }
        }
    }

    fn json(&self) -> Value {
        json!({
            "at": exact(self.at),
            "findings": self.findings.iter().map(finding_json).collect::<Vec<_>>(),
            "role": self.powers.role,
            "may": self.may().map(|(what, may)| json!({"what": what, "may": may})),
        })
    }
}
