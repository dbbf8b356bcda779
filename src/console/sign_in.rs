//! Signing in with a role of the database and its password, and signing out.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::Form;
use axum::extract::{Query, State};
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::frame::{self, bare};
use super::guard::{is_path_of_ours, set_cookie};
use super::person::Use;
use super::session::Session;
use super::{Console, SignIn};
use crate::database::migrate::newest_version;
use crate::database::{Database, DatabaseError, DatabaseSettings};
use crate::table::powers::Powers;

/// The longest name of a role.
const LONGEST_ROLE: usize = 63;
/// How long a wrong password takes at least: whether the role exists is not to be told from it.
const WRONG_TAKES: Duration = Duration::from_millis(300);

/// What the form says.
#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    role: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// Why somebody is not signed in.
#[derive(Debug)]
enum Refused {
    /// The role or the password is another.
    Wrong,
    /// There were too many attempts.
    Wait(Duration),
    /// The database lets the role in without a password, so nobody knows who this is.
    WithoutPassword,
    /// The role may see nothing here.
    Powerless,
    /// The tables are not of this version.
    Tables(String),
    /// The database does not answer.
    Database(DatabaseError),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::WithoutPassword | Self::Powerless => StatusCode::FORBIDDEN,
            Self::Tables(_) | Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Not who it was: a password is typed in the place of a name now and then.
    fn log(&self) {
        match self {
            Self::Database(error) => {
                tracing::warn!(sqlstate = error.sqlstate(), remedy = error.remedy(), "the database let nobody sign in");
            }
            Self::Wrong | Self::Wait(_) | Self::WithoutPassword | Self::Powerless | Self::Tables(_) => {
                tracing::warn!(why = self.in_words(), "somebody could not sign in");
            }
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Wrong => "The role or its password is not right.".to_owned(),
            Self::Wait(wait) => {
                format!("Too many attempts were wrong. Try again in {} s.", wait.as_secs().saturating_add(1))
            }
            Self::WithoutPassword => {
                "The database asks this role for no password, so anybody could sign in by it. Let pg_hba.conf ask for one \
                 (scram-sha-256), or sign in through a proxy (--sign-in proxy-header)."
                    .to_owned()
            }
            Self::Powerless => {
                "This role may not see Turnstile's tables. Make it a member of turnstile_viewer, turnstile_operator, \
                 turnstile_revealer or turnstile_auditor (deploy/grants.sql)."
                    .to_owned()
            }
            Self::Tables(words) => words.clone(),
            Self::Database(_) => "The database does not answer, or lets nobody in for now.".to_owned(),
        }
    }
}

/// The form.
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Query(Next { next }): Query<Next>,
    headers: HeaderMap,
) -> Response {
    match (&console.settings.sign_in, console.person(&headers, Use::ByPage)) {
        (SignIn::ProxyHeader(_), _) | (SignIn::Role, Ok(_)) => to(path(&next)),
        (SignIn::Role, Err(_)) => form(&console, StatusCode::OK, "", &next, None),
    }
}

fn form(console: &Console, status: StatusCode, role: &str, next: &str, refused: Option<&str>) -> Response {
    let page = bare(
        console,
        "Sign in",
        html! {
            form.sign-in method="post" action="/sign-in" {
                h1 { "Turnstile" }
                p.quiet { "Sign in with your role of the database." }
                @if let Some(refused) = refused { p.refused role="alert" { (refused) } }
                input type="hidden" name="next" value=(path(next));
                label for="role" { "Role" }
                input #role name="role" type="text" value=(role) required maxlength=(LONGEST_ROLE) autocomplete="username"
                    autocapitalize="none" spellcheck="false" autofocus[role.is_empty()];
                label for="password" { "Password" }
                input #password name="password" type="password" required autocomplete="current-password" autofocus[!role.is_empty()];
                button type="submit" { "Sign in" }
                p.note { "The console keeps nothing of it but open connections, and acts by what the role may do." }
            }
        },
    );
    (status, frame::HTML, page.into_string()).into_response()
}

/// What the form is for.
pub(super) async fn enter(State(console): State<Arc<Console>>, Form(given): Form<Given>) -> Response {
    if console.settings.sign_in != SignIn::Role {
        return StatusCode::NOT_FOUND.into_response();
    }
    let role = given.role.trim().to_owned();
    let password = Zeroizing::new(given.password);
    match console.let_in(&role, &password).await {
        Ok(session) => {
            tracing::info!(role, "signed in");
            let token = console.sessions.begin(session);
            let mut answer = to(path(&given.next));
            if let Ok(cookie) = HeaderValue::from_str(&set_cookie(console.is_secure(), Some(&token))) {
                answer.headers_mut().insert(SET_COOKIE, cookie);
            }
            answer
        }
        Err(refused) => {
            refused.log();
            let mut answer = form(&console, refused.status(), &role, &given.next, Some(&refused.in_words()));
            if let Refused::Wait(wait) = refused {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
            }
            answer
        }
    }
}

/// Ends the session.
pub(super) async fn leave(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    if let Some(token) = console.token(&headers) {
        console.sessions.end(token);
    }
    let mut answer = to("/sign-in");
    if let Ok(cookie) = HeaderValue::from_str(&set_cookie(console.is_secure(), None)) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

/// A path of ours, and the first page where it is none.
fn path(next: &str) -> &str {
    if is_path_of_ours(next) && !next.starts_with("/sign-") { next } else { "/" }
}

/// Another page, by GET.
pub(super) fn to(path: &str) -> Response {
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

impl Console {
    async fn let_in(&self, role: &str, password: &Zeroizing<String>) -> Result<Session, Refused> {
        if role.is_empty() || role.len() > LONGEST_ROLE || role.contains(char::is_control) || password.is_empty() {
            return Err(Refused::Wrong);
        }
        let attempts = || self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts().begin(role, Instant::now()).map_err(Refused::Wait)?;
        let begun = Instant::now();
        let entered = self.enter_by(role, password).await;
        match &entered {
            Err(Refused::Wrong) => tokio::time::sleep(WRONG_TAKES.saturating_sub(begun.elapsed())).await,
            Ok(_) | Err(Refused::Powerless | Refused::WithoutPassword) => attempts().succeeded(role),
            Err(Refused::Tables(_) | Refused::Database(_) | Refused::Wait(_)) => attempts().taken_back(role),
        }
        entered
    }

    async fn enter_by(&self, role: &str, password: &str) -> Result<Session, Refused> {
        if self.is_open_to_all(role).await? {
            return Err(Refused::WithoutPassword);
        }
        let database = self.database_of(role, Some(password))?;
        let powers = database.snapshot(Powers::read).await.map_err(of_entering)?;
        if !powers.lists && !powers.audits {
            return Err(Refused::Powerless);
        }
        let (version, needed) = (database.schema_version().await.map_err(of_entering)?, newest_version());
        if version.is_none_or(|version| version < needed) {
            let version = version.map_or_else(|| "no".to_owned(), |version| version.to_string());
            let words = format!(
                "The tables are at version {version}, and this console needs {needed}: run `turnstile migrate`."
            );
            return Err(Refused::Tables(words));
        }
        Ok(Session::new(role.to_owned(), false, database))
    }

    /// Whether the database lets the role in without a password: then a password that it takes says nothing.
    async fn is_open_to_all(&self, role: &str) -> Result<bool, Refused> {
        match self.database_of(role, None)?.begin_snapshot().await {
            Ok(_) => Ok(true),
            Err(error) if error.asks_for_password() => Ok(false),
            Err(error) => match of_entering(error) {
                Refused::Wrong => Ok(false),
                other => Err(other),
            },
        }
    }

    fn database_of(&self, role: &str, password: Option<&str>) -> Result<Database, Refused> {
        let settings = &self.settings.database;
        let address = settings.address.as_role(role, password);
        // That the certificates can be had was seen at the start.
        let made = Database::new(&DatabaseSettings { address, ..settings.clone() });
        made.map_err(|error| Refused::Tables(format!("The database cannot be reached: {error}.")))
    }
}

fn of_entering(error: DatabaseError) -> Refused {
    match error.sqlstate() {
        Some("28P01" | "28000") => Refused::Wrong,
        Some("42501") => Refused::Powerless,
        Some(_) | None => Refused::Database(error),
    }
}
