//! The form that draws a replay up.

use maud::{Markup, html};

use crate::console::pieces::{once, reason};

/// Which letters it is of.
pub(super) enum Of<'o> {
    /// One message's.
    Letter(&'o str),
    /// All that match.
    All(&'o [(&'static str, String)]),
}

/// The form: bodies as they are, or changed.
pub(super) fn form(of: &Of<'_>) -> Markup {
    html! {
        form.act method="post" action="/plans/draw" {
            (once())
            @match of {
                Of::Letter(hash) => { input type="hidden" name="letter" value=(hash); }
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
                    @if let Of::Letter(_) = of {
                        label for="body" { "or replace the whole body" }
                        textarea #body name="body" rows="6" autocomplete="off" spellcheck="false" {}
                    }
                    label.check { input type="checkbox" name="as-delivered" value="on"; " Start from the body as it was delivered, whatever was tried since" }
                }
            }
            // The server asks for one where a body is changed.
            (reason("reason-replay", false))
            div.buttons { button type="submit" { "Draw up a plan" } }
        }
    }
}
