//! The form that draws a replay up.

use maud::{Markup, html};

use crate::console::acts::AS_DELIVERED;
use crate::console::pieces::{once, reason};

/// Which letters it is of.
pub(super) enum Of<'o> {
    /// One message's, and whether what is typed may be judged.
    Letter(&'o str, bool),
    /// All that match.
    All(&'o [(&'static str, String)]),
}

/// The form: bodies as they are, or changed.
pub(super) fn form(of: &Of<'_>) -> Markup {
    html! {
        form.act method="post" action="/plans/draw" {
            (once())
            @match of {
                Of::Letter(hash, _) => { input type="hidden" name="letter" value=(hash); }
                Of::All(asked) => { @for (name, value) in *asked { input type="hidden" name=(name) value=(value); } }
            }
            h3 { "Replay" }
            p { "Decodes, masks and loads it under the hash that it has. First a plan says what would become of it; nothing is changed before you run that." }
            details {
                summary { "Change the body before" }
                div.fields {
                    label for="set-place" { "Set this place" }
                    input #set-place name="set-place" type="text" placeholder="/app_version" autocomplete="off" spellcheck="false";
                    label for="set-value" { "to this JSON value" }
                    input #set-value name="set-value" type="text" placeholder="\"2.3.0\"" autocomplete="off" spellcheck="false";
                    label for="remove" { "Remove this place" }
                    input #remove name="remove" type="text" placeholder="/beta" autocomplete="off" spellcheck="false";
                    @if let Of::Letter(hash, judges) = of {
                        (body_field("body", "or replace the whole body", hash, "", 6, *judges, None))
                    }
                    label.check { input type="checkbox" name=(AS_DELIVERED) value="on"; " Start from the body as it was delivered, whatever was tried since" }
                }
            }
            // The server asks for one where a body is changed.
            (reason("reason-replay", false))
            div.buttons {
                button type="submit" { "Draw up a plan" }
                @if let Of::Letter(hash, true) = of { (judge_button(hash)) }
            }
        }
    }
}

/// The form that draws a plan up of an edited body: `judged` is what was said of it. Where the role may not replay, it is judged
/// only.
pub(in crate::console) fn editing(hash: &str, body: &str, judged: Option<&Markup>, replays: bool) -> Markup {
    html! {
        form.act.edit method="post" action="/plans/draw" {
            (once())
            input type="hidden" name="letter" value=(hash);
            (body_field("edit-body", "The body", hash, body, 12, true, judged))
            @if replays {
                (reason("reason-edit", true))
                div.buttons { button type="submit" { "Draw up a plan" } (judge_button(hash)) }
                p.note { "The delivered body stays. A plan says first what would become of the letter." }
            } @else {
                div.buttons { (judge_button(hash)) }
            }
        }
    }
}

/// Where a whole body is typed. With script, it is judged whenever somebody stops; the button does it without.
fn body_field(id: &str, name: &str, hash: &str, body: &str, rows: u8, judges: bool, judged: Option<&Markup>) -> Markup {
    let (judge, verdict) = (format!("/dead-letters/{hash}/judge"), format!("{id}-verdict"));
    html! {
        label for=(id) { (name) }
        // A browser drops a first line break: this one.
        textarea id=(id) name="body" rows=(rows) autocomplete="off" spellcheck="false" data-judge=[judges.then_some(&judge)]
            aria-describedby=[judges.then_some(&verdict)] { "\n" (body) }
        @if judges { p.judged id=(verdict) role="status" { @if let Some(judged) = judged { (judged) } } }
    }
}

/// The way to the same without script. It stands behind what Enter is for.
fn judge_button(hash: &str) -> Markup {
    html! { button.plain type="submit" formaction={ "/dead-letters/" (hash) "/judge" } formnovalidate { "Judge the body" } }
}
