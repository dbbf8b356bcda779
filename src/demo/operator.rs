//! Somebody who looks after the demo's world: a role to sign in with, and what it has done before anybody looks.

use std::time::Duration;

use serde_json::json;
use stand_ins::postgres::{PostgresError, StatementError};

use super::DemoError;
use super::world::World;
use crate::database::{Database, DatabaseSettings};
use crate::decode::Form;
use crate::discard::{Becomes, change};
use crate::keyring::Keyring;
use crate::mask::MaskKind;
use crate::message::MessageHash;
use crate::replay::edit::{Change, Edit, pointer};
use crate::replay::{Replay, Unfinished, Wanted};
use crate::table::dead_letters::{self, Filter, Search};
use crate::table::operator_actions::Said;
use crate::table::replay_plans::Draft;

/// The role, and its password too: it opens a server on loopback that holds made-up logins and ends with the demo.
const NAME: &str = "demo";

/// What each role may do. At the head of the file are the statements that make them.
const GRANTS: &str = include_str!("../../deploy/grants.sql");

/// The deadline of a statement.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What becomes of the letters of a plan.
enum Then {
    /// It is run.
    Runs,
    /// It waits for somebody to run it.
    Waits,
}

/// A role of the demo's database that may do all that operators, revealers and auditors may.
pub struct Operator {
    /// Where to sign in, and by what.
    pub database: DatabaseSettings,
    /// The keys of the demo's tables.
    pub keyring: Keyring,
}

impl Operator {
    /// Makes the role, and lets it do what operators do: it discards a letter, edits and replays some, and draws up a plan of
    /// others. Whatever kinds the demo's messages did not have are left out.
    ///
    /// # Errors
    ///
    /// [`DemoError`]
    pub async fn of(world: &World) -> Result<Self, DemoError> {
        make_role(world).await?;
        let address = world.address()?.as_role(NAME, Some(NAME));
        let operator =
            Self { database: DatabaseSettings::new(address, 1, CALL_TIMEOUT), keyring: world.read_keyring()? };
        let database = Database::new(&operator.database)?;
        operator.discard(&database, "invalid_json", "A test of the app's team, no login").await?;
        let known_as = "The build 2.1000 is known as 2.1";
        operator.replay(&database, ("version_part_too_large", "2.1"), known_as, Then::Runs).await?;
        let counts_as = "The beta of 2.3.0 counts as 2.3.0";
        operator.replay(&database, ("version_pre_release", "2.3.0"), counts_as, Then::Waits).await?;
        Ok(operator)
    }

    /// The role's name.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The role's password.
    pub fn password(&self) -> &'static str {
        NAME
    }

    /// Discards the newest letter with this code.
    async fn discard(&self, database: &Database, code: &str, reason: &str) -> Result<(), DemoError> {
        let newest = database.snapshot(async |seen| dead_letters::newest(seen, &of(code), 1).await).await?;
        let hashes: Vec<MessageHash> = newest.iter().map(|letter| letter.key.hash).collect();
        change(database, &hashes, &Said::by("").because(reason), Becomes::Discarded).await?;
        Ok(())
    }

    /// Gives all letters with this code another version of the app.
    async fn replay(
        &self,
        database: &Database,
        (code, version): (&str, &str),
        reason: &str,
        then: Then,
    ) -> Result<(), DemoError> {
        let Ok(place) = pointer("/app_version") else { return Ok(()) };
        let edit = Edit::Changes(vec![Change::Set(place, json!(version))]);
        let draft = Draft { meant: format!("code {code}"), force: false, edits: edit.operations() };
        let wanted = Wanted { filter: of(code), draft, ..Wanted::default() };
        let replay = Replay {
            opener: self.keyring.body_opener(),
            sealer: self.keyring.body_sealer(),
            hash_key: self.keyring.shared_hash_key(),
            form: Form::Login,
            masker: self.keyring.masker(MaskKind::default()),
            said: Said::by("").because(reason),
            database: database.clone(),
        };
        let plan = replay.draw_up(&wanted, Some(&edit), |_| {}).await?;
        match then {
            Then::Runs => drop(replay.run_plan(plan.id, |_| {}).await.map_err(|Unfinished { error, .. }| error)?),
            Then::Waits => {}
        }
        Ok(())
    }
}

fn of(code: &str) -> Filter {
    Filter { search: Search { code: Some(code.to_owned()), ..Search::default() }, hashes: None }
}

/// Does what the head of the file of the grants tells the administrator to do, and what the owner of the tables is told.
async fn make_role(world: &World) -> Result<(), DemoError> {
    let told = GRANTS.lines().filter_map(|line| line.strip_prefix("--"));
    let roles: Vec<&str> = told.filter(|line| line.trim().starts_with("CREATE ROLE turnstile_")).collect();
    let of_all = "turnstile_viewer, turnstile_operator, turnstile_revealer, turnstile_auditor, pg_read_all_stats";
    let one = format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}' IN ROLE {of_all}");
    let administrator = world.administrator().await?;
    for statements in [&*roles.join("\n"), GRANTS, &one] {
        administrator.batch_execute(statements).await.map_err(|error| {
            let what = "make the role of the demo's operator";
            DemoError::Postgres(PostgresError::Statement { what, source: StatementError::Refused(error) })
        })?;
    }
    Ok(())
}
