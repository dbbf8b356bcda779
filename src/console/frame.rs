//! The frame around every page: the bar, the places, the foot.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use maud::{DOCTYPE, Markup, html};
use time::OffsetDateTime;

use super::doing::Told;
use super::pieces::{once, text};
use super::place::Place;
use super::session::Session;
use super::view::{NoPage, View};
use super::{Console, SignIn, assets};
use crate::readable::{exact, printable, seconds};

/// What a page is.
pub(super) const HTML: [(HeaderName, HeaderValue); 1] =
    [(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];

/// The places of the bar: their addresses, names, and the keys behind `g`.
const PLACES: [(&str, &str, &str); 9] = [
    ("/", "Now", "n"),
    ("/loaders", "Loaders", "l"),
    ("/dead-letters", "Dead letters", "d"),
    ("/plans", "Plans", "p"),
    ("/outbox", "Outbox", "o"),
    ("/audit", "Audit", "a"),
    ("/costs", "Costs", "s"),
    ("/actions", "Actions", "h"),
    ("/check", "Check", "c"),
];

fn document(console: &Console, title: &str, body: Markup) -> Markup {
    let environment = console.settings.environment.as_ref();
    let of = environment.map(|(name, _)| format!(" · {name}")).unwrap_or_default();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Turnstile" (of) }
                link rel="stylesheet" href=(assets::style());
                link rel="icon" href=(assets::icon()) type="image/svg+xml";
                script defer src=(assets::script()) {}
            }
            (body)
        }
    }
}

/// A page without the places: for those who are not signed in.
pub(super) fn bare(console: &Console, title: &str, main: Markup) -> Markup {
    let environment = console.settings.environment.as_ref();
    let colour = environment.map_or("", |(_, colour)| colour.as_str());
    document(
        console,
        title,
        html! {
            body.bare {
                header class={ "stripe " (colour) } { @if let Some((name, _)) = environment { (name) } }
                main { (main) }
            }
        },
    )
}

/// A page of somebody who is signed in.
pub(super) struct Frame<'f> {
    pub(super) console: &'f Console,
    pub(super) session: &'f Session,
    /// The address that is shown.
    pub(super) address: &'f str,
}

impl Frame<'_> {
    fn bar(&self) -> Markup {
        let here = |path: &str| match path {
            "/" => self.address == "/" || self.address.starts_with("/?"),
            path => self.address.starts_with(path),
        };
        let environment = self.console.settings.environment.as_ref();
        html! {
            header class={ "bar " (environment.map_or("", |(_, colour)| colour.as_str())) } {
                a.skip href="#main" { "Skip to the page" }
                a.home href="/" { "Turnstile" }
                @if let Some((name, _)) = environment { span.environment { (name) } }
                nav aria-label="Places" {
                    @for (path, name, key) in PLACES {
                        a href=(path) data-key=(key) aria-current=[here(path).then_some("page")] { (name) }
                    }
                }
                div.person {
                    span title="Acts by this role of the database, or under this name" { (text(&self.session.name)) }
                    @if self.console.settings.sign_in == SignIn::Role {
                        form method="post" action="/sign-out" { (once()) button.plain type="submit" { "Sign out" } }
                    }
                }
            }
        }
    }

    fn whole(&self, title: &str, main: Markup, foot: Markup) -> Markup {
        document(
            self.console,
            title,
            html! {
                body {
                    (self.bar())
                    main #main { (main) }
                    footer {
                        (foot)
                        span.keys hidden { "Keys: " kbd { "?" } }
                    }
                    (keys())
                }
            },
        )
    }

    /// What was found at a place. `told` is what came of the form that led here, and the body that it revealed.
    pub(super) fn page(&self, place: &Place, view: &dyn View, told: Option<(&Told, Option<Markup>)>) -> Markup {
        let now = OffsetDateTime::now_utc();
        let main = html! {
            @if let Some((told, body)) = told {
                p class={ "told " (if told.is_done() { "well" } else { "look" }) } role="status" { (text(&told.in_words())) }
                @if let Some(body) = body { (body) }
            }
            (view.still())
            div #live data-feed=(self.address) { (view.live(now)) }
            (view.below())
        };
        let foot = html! {
            span { "As of " time #as-of datetime=(exact(now)) { (seconds(now)) } }
            a href=(place.in_form(".json")) { "JSON" }
        };
        self.whole(&view.title(), main, foot)
    }

    /// A page that a form leads to at once, and that stands at no address.
    pub(super) fn plain(&self, title: &str, main: Markup) -> Markup {
        let main = html! { header.page { h1 { (title) } a href=(self.address) { "Back to the letter" } } (main) };
        self.whole(title, main, html! { span { (seconds(OffsetDateTime::now_utc())) } })
    }

    /// Why there is no page.
    pub(super) fn no_page(&self, why: &NoPage) -> Markup {
        let (title, main) = in_words(why);
        let main = html! { header.page { h1 { (title) } } (main) };
        self.whole(title, main, html! { span { (seconds(OffsetDateTime::now_utc())) } })
    }
}

fn in_words(why: &NoPage) -> (&'static str, Markup) {
    match why {
        NoPage::Unknown => ("There is no such page", html! { p { "See the places above." } }),
        NoPage::Absent(words) => ("Not here", html! { p { (words) } p { a href="/audit" { "Find a message" } } }),
        NoPage::Forbidden(needs) => (
            "Not for this role",
            html! { p { "The database does not let this role see or do it. It takes a member of " (needs) "." } },
        ),
        NoPage::Wrong(all) => (
            "Not understood",
            html! {
                ul.wrong {
                    @for wrong in all {
                        li { code { (text(&wrong.name)) @if !wrong.given.is_empty() { "=" (text(&wrong.given)) } } " " (text(&wrong.problem)) ": " (text(&wrong.remedy)) "." }
                    }
                }
            },
        ),
        NoPage::Database(error) => (
            "The database does not give this page",
            html! {
                p { (printable(error.to_string().as_bytes())) "." }
                p.remedy { (printable(error.remedy().as_bytes())) "." }
                p { "Loaders go on without this console. " a href="" { "Try again" } }
            },
        ),
        NoPage::Over => ("Signed out", html! { p { a href="/sign-in" { "Sign in again" } } }),
    }
}

/// What the keys do; shown by `?`.
fn keys() -> Markup {
    html! {
        dialog #keys aria-label="Keys" {
            h2 { "Keys" }
            dl {
                div { dt { kbd { "/" } } dd { "to the filters" } }
                div { dt { kbd { "j" } " " kbd { "k" } } dd { "next, last row" } }
                div { dt { kbd { "Enter" } } dd { "open the row" } }
                @for (_, name, key) in PLACES { div { dt { kbd { "g" } " " kbd { (key) } } dd { (name) } } }
                div { dt { kbd { "?" } } dd { "these" } }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}
