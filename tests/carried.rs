//! Dead letters are carried out of one database in a file, and into another: each message at most once, and nothing in clear where
//! nobody asked for it.

mod drained;
#[cfg(feature = "failpoints")]
mod killed;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use turnstile::carry::import::{Import, Report};
use turnstile::carry::manifest_of;
use turnstile::carry::read::{LetterFile, LetterFileError};
use turnstile::discard::{Becomes, change};
use turnstile::keyring::{Keyring, Masters};
use turnstile::table::dead_letters::{Filter, Search, Status};
use turnstile::table::operator_actions::Said;

use crate::grants::granted;
use crate::support::loading::introduce;
use crate::support::tables::{Ended, Tables};
use crate::support::verdicts::CANARIES;

/// Two databases, and a folder between them.
struct Between {
    from: Tables,
    to: Tables,
    folder: TempDir,
}

impl Between {
    /// The first with three letters that are logins now, one that is none, and one that was discarded.
    async fn new() -> Self {
        let (from, to) = (Tables::new().await, Tables::new().await);
        from.load_once_rejected(&["canary 1", "canary 2", "canary 3"]).await;
        from.load_rejected(&[("broken", r#"{"ip": "203.0.113.7", canary"#), ("test", r#"["canary"]"#)]).await;
        let between = Self { from, to, folder: tempfile::tempdir().unwrap() };
        let of_code = Search { code: Some("array_body".to_owned()), ..Search::default() };
        let said = Said::by("ada").because("a test of ours");
        let hashes = between.hashes(of_code).await;
        assert_eq!(change(&between.from.database, &hashes, &said, Becomes::Discarded).await.unwrap().len(), 1);
        between
    }

    /// The first with so many letters that are logins now, all of them in the file.
    async fn of(letters: u32) -> Self {
        let between = Self { from: Tables::new().await, to: Tables::new().await, folder: tempfile::tempdir().unwrap() };
        let users: Vec<String> = (0..letters).map(|n| format!("canary {n}")).collect();
        between.from.load_once_rejected(&users.iter().map(String::as_str).collect::<Vec<_>>()).await;
        between.export(&["--all"]).await.assert_said(0, &[&format!("{letters} dead letters")]);
        between
    }

    async fn hashes(&self, search: Search) -> Vec<turnstile::message::MessageHash> {
        let filter = Filter { search, hashes: None };
        let find = async |seen: &_| turnstile::table::dead_letters::next(seen, &filter, None, 100).await;
        self.from.database.snapshot(find).await.unwrap().into_iter().map(|key| key.hash).collect()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("letters.ndjson")
    }

    /// Exports with these arguments beside the file.
    async fn export(&self, arguments: &[&str]) -> Ended {
        let file = self.file();
        let all = ["dead-letters", "export", "--to", file.to_str().unwrap()];
        self.from.turnstile(&[&all, arguments].concat()).await
    }

    /// Exports every letter, sealed.
    async fn export_all(&self) -> Ended {
        let exported = self.export(&["--all", "--status", "all"]).await;
        exported.assert_discreet();
        assert_eq!(exported.code, 0, "{exported:?}");
        exported
    }

    async fn import(&self, arguments: &[&str]) -> Ended {
        let file = self.file();
        let imported =
            self.to.turnstile(&[&["dead-letters", "import", file.to_str().unwrap()], arguments].concat()).await;
        imported.assert_discreet();
        imported
    }

    /// Changes the text of the file, and makes the manifest say what it says.
    fn forge(&self, change: impl Fn(&str) -> String) {
        let text = change(&fs::read_to_string(self.file()).unwrap());
        fs::write(self.file(), &text).unwrap();
        self.change_manifest(|manifest| {
            manifest["bytes"] = text.len().into();
            manifest["blake3"] = blake3::hash(text.as_bytes()).to_hex().to_string().into();
        });
    }

    fn change_manifest(&self, change: impl Fn(&mut serde_json::Value)) {
        let path = manifest_of(&self.file());
        let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut manifest);
        fs::write(&path, manifest.to_string()).unwrap();
    }
}

fn import_with<'i>(tables: &'i Tables, keyring: &Keyring, said: &'i Said) -> Import<'i> {
    Import {
        database: &tables.database,
        keys: keyring.ids().cloned().collect(),
        opener: keyring.body_opener(),
        sealer: keyring.body_sealer(),
        said,
    }
}

fn other_keyring() -> Keyring {
    Masters::generate_as("other".parse().unwrap()).unwrap().derive().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(folder: &TempDir) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn letters_are_carried_to_another_database_and_replayed_there_and_the_same_file_again_changes_nothing() {
    let between = Between::new().await;
    let exported = between.export_all().await;
    exported.assert_said(0, &["5 dead letters in", "open with: test-key", "1 discarded array_body"]);
    let text = fs::read_to_string(between.file()).unwrap();
    assert!(CANARIES.iter().all(|canary| !text.contains(canary)) && !text.contains("\"body\""), "nothing is in clear");
    assert_eq!((text.lines().count(), mode(&between.file()), mode(&manifest_of(&between.file()))), (5, 0o600, 0o600));
    assert_eq!(names(&between.folder), ["letters.ndjson", "letters.ndjson.manifest.json"]);

    let foreseen = between.import(&["--dry-run"]).await;
    foreseen.assert_said(0, &["5 dead letters would be imported"]);
    assert_eq!(between.to.counts().await, [0, 0, 0, 0]);
    let imported = between.import(&["--by", "grace", "--reason", "moved"]).await;
    imported.assert_said(0, &["5 dead letters imported: 1 array_body, 1 invalid_json, 3 invalid_version"]);
    let tables = &between.to;
    assert_eq!(tables.counts().await, [5, 0, 5, 0]);
    let noted = "operator_actions a JOIN dead_letters d USING (sent_at, message_hash)
                 WHERE a.action = 'imported' AND a.letters = 1 AND a.person = 'grace' AND a.reason = 'moved' AND a.role = session_user";
    assert_eq!(tables.count(noted).await, 5);
    let discarded =
        "dead_letters WHERE status = 'discarded' AND code = 'array_body' AND resolved_by = session_user || ': grace'";
    assert_eq!(tables.count(discarded).await, 1);
    assert_eq!(between.from.count("operator_actions WHERE action = 'exported' AND letters = 5").await, 1);
    tables.assert_promise().await;

    let again = between.import(&[]).await;
    again.assert_said(0, &["0 dead letters imported", "5 recorded here already"]);
    assert_eq!((tables.counts().await, tables.count("operator_actions").await), ([5, 0, 5, 0], 5));
    let replayed = tables.replay_all().await;
    assert_eq!((replayed.replayed, replayed.stay_open()), (3, 1));
    tables.assert_promise().await;
    between.import(&[]).await.assert_said(0, &["0 dead letters imported", "5 recorded here already"]);
    assert_eq!(tables.counts().await, [5, 3, 5, 3]);
    tables.assert_promise().await;
    between.from.assert_promise().await;
}

#[tokio::test]
async fn every_fact_of_a_letter_but_when_it_came_and_was_resolved_is_the_same_there() {
    let between = Between::new().await;
    between.export_all().await;
    between.import(&[]).await;
    let facts = async |tables: &Tables| -> String {
        let sql = "SELECT jsonb_agg(to_jsonb(d) - 'dead_lettered_at' - 'resolved_at' - 'resolved_by' ORDER BY message_hash)::text
                   FROM dead_letters d";
        tables.client.query_one(sql, &[]).await.unwrap().get(0)
    };
    assert_eq!(facts(&between.from).await, facts(&between.to).await);
    let claims = async |tables: &Tables| -> String {
        let sql =
            "SELECT jsonb_agg(to_jsonb(p) - 'processed_at' ORDER BY message_hash)::text FROM processed_messages p";
        tables.client.query_one(sql, &[]).await.unwrap().get(0)
    };
    assert_eq!(claims(&between.from).await, claims(&between.to).await);
}

#[tokio::test]
async fn what_is_recorded_there_already_is_left_alone_and_what_was_replayed_is_not_taken() {
    let between = Between::new().await;
    let tables = &between.to;
    tables.load_logins(&["canary 1"]).await;
    tables.load_once_rejected(&["canary 2"]).await;
    let three = Search { code: Some("invalid_version".to_owned()), ..Search::default() };
    let by_order = between.hashes(three).await;
    let only = Filter::of(by_order[..1].to_vec());
    assert_eq!(between.from.replay().run(&only, None, |_| {}).await.unwrap().replayed, 1);
    between.export_all().await;
    let imported = between.import(&["--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&imported.stdout).unwrap();
    assert_eq!((&report["letters"], &report["resolved_elsewhere"]), (&5.into(), &1.into()), "{report}");
    let new = report["imported"].as_object().unwrap().values().map(|new| new.as_u64().unwrap()).sum::<u64>();
    assert_eq!(new + report["recorded_already"].as_u64().unwrap(), 4, "{report}");
    assert_eq!(tables.count("user_logins").await, 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn revealed_bodies_are_sealed_anew_under_another_keyring() {
    let between = Between::new().await;
    let refused = between.export(&["--all", "--reveal", "--yes"]).await;
    assert!(refused.code == 2 && refused.stderr.contains("--reason"), "{refused:?}");
    let unasked = between.export(&["--all", "--reveal", "--reason", "moved"]).await;
    assert!(unasked.code == 1 && unasked.stderr.contains("--yes"), "{unasked:?}");
    assert!(names(&between.folder).is_empty(), "{:?}", names(&between.folder));
    let exported = between.export(&["--all", "--reveal", "--reason", "moved", "--yes"]).await;
    exported.assert_discreet();
    exported.assert_said(0, &["4 dead letters in", "in clear"]);
    assert_eq!(mode(&between.file()), 0o600);
    let noted = "operator_actions WHERE action = 'revealed' AND reason = 'moved' AND message_hash IS NOT NULL";
    assert_eq!(between.from.count(noted).await, 4);

    let (other, said) = (other_keyring(), Said::by("ada"));
    let letter_file = LetterFile::open(&between.file()).unwrap();
    let report = import_with(&between.to, &other, &said).run(&letter_file, false, |_| {}).await.unwrap();
    assert_eq!((report.buried.letters(), report.left_out()), (4, 0));
    let replay = turnstile::replay::Replay {
        opener: other.body_opener(),
        hash_key: other.shared_hash_key(),
        ..between.to.replay()
    };
    let replayed = replay.run(&Filter::default(), None, |_| {}).await.unwrap();
    assert_eq!((replayed.replayed, replayed.stay_open()), (3, 1));
    between.to.assert_promise().await;
}

#[tokio::test]
async fn sealed_bodies_need_a_keyring_that_has_their_keys() {
    let between = Between::new().await;
    between.export_all().await;
    let said = Said::by("ada");
    let letter_file = LetterFile::open(&between.file()).unwrap();
    let refused = import_with(&between.to, &other_keyring(), &said).run(&letter_file, false, |_| {}).await.unwrap_err();
    assert!(refused.to_string().contains("test-key"), "{refused}");
    assert_eq!(between.to.counts().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_body_that_does_not_open_for_its_row_is_left_out_and_counted() {
    let between = Between::new().await;
    between.export_all().await;
    // Two letters change their bodies: sealed with the right key, for another message.
    between.forge(|text| {
        let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (one, other) = (lines[0]["sealed_body"].clone(), lines[1]["sealed_body"].clone());
        (lines[0]["sealed_body"], lines[1]["sealed_body"]) = (other, one);
        lines.iter().map(|line| format!("{line}\n")).collect()
    });
    let imported = between.import(&[]).await;
    imported.assert_said(1, &["3 dead letters imported", "2 not imported, the body does not open"]);
    assert_eq!(between.to.counts().await, [3, 0, 3, 0]);
    between.to.assert_promise().await;
}

#[tokio::test]
async fn a_file_that_is_not_what_its_manifest_says_is_refused_before_anything_is_written() {
    let between = Between::new().await;
    between.export_all().await;
    let whole = fs::read(between.file()).unwrap();
    let manifest = fs::read(manifest_of(&between.file())).unwrap();
    let refuses = async |problem: &str| {
        let refused = between.import(&[]).await;
        assert!(refused.code == 1 && refused.stderr.contains(problem), "{problem}: {refused:?}");
        assert_eq!(between.to.counts().await, [0, 0, 0, 0], "{problem}");
        fs::write(between.file(), &whole).unwrap();
        fs::write(manifest_of(&between.file()), &manifest).unwrap();
    };
    fs::write(between.file(), &whole[..whole.len() / 2]).unwrap();
    refuses("it has").await;
    let mut changed = whole.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    fs::write(between.file(), &changed).unwrap();
    refuses("its BLAKE3 digest is another").await;
    fs::remove_file(manifest_of(&between.file())).unwrap();
    refuses("manifest.json\" cannot be read").await;
    fs::write(manifest_of(&between.file()), "{}").unwrap();
    refuses("is not the manifest of an export").await;
    between.change_manifest(|manifest| manifest["version"] = 2.into());
    refuses("version 2 of the format").await;
    between.change_manifest(|manifest| manifest["letters"] = 4.into());
    refuses("it has 5 letters and not 4").await;
    between.change_manifest(|manifest| manifest["queues"] = serde_json::json!([]));
    refuses("the manifest does not name its queue").await;
    // Another message's claim, under this letter's hash.
    between.forge(|text| text.replacen("\"message_id\":\"", "\"message_id\":\"x", 1));
    refuses("line 1: its hash is not that of its queue and its MessageId").await;
    between.forge(|text| text.replacen("{\"hash\"", "{\"hash_\"", 1));
    refuses("line 1: it is not a dead letter of an export").await;
    between.forge(|text| text.replacen("\"status\":\"open\"", "\"status\":\"lost\"", 1));
    refuses("its status, or when it was received, cannot be read").await;
    between.import(&[]).await.assert_said(0, &["5 dead letters imported"]);
}

#[tokio::test]
async fn an_export_overwrites_nothing_and_leaves_nothing_where_it_fails() {
    let between = Between::new().await;
    fs::write(between.file(), "mine").unwrap();
    let refused = between.export(&["--all"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("there is a file"), "{refused:?}");
    assert_eq!(fs::read_to_string(between.file()).unwrap(), "mine");
    fs::remove_file(between.file()).unwrap();
    fs::write(manifest_of(&between.file()), "mine").unwrap();
    let refused = between.export(&["--all"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("there is a file"), "{refused:?}");
    assert_eq!(names(&between.folder), ["letters.ndjson.manifest.json"]);
    fs::remove_file(manifest_of(&between.file())).unwrap();
    // A body that does not open ends it.
    let swap =
        "UPDATE dead_letters SET sealed_body = (SELECT sealed_body FROM dead_letters WHERE code = 'invalid_json')";
    between.from.client.batch_execute(swap).await.unwrap();
    let failed = between.export(&["--all", "--reveal", "--reason", "why", "--yes"]).await;
    assert!(failed.code == 1 && failed.stderr.contains("cannot be revealed"), "{failed:?}");
    assert!(names(&between.folder).is_empty(), "{:?}", names(&between.folder));
}

#[tokio::test]
async fn the_filters_of_an_export_are_those_of_the_list_and_letters_are_named_however_they_stand() {
    let between = Between::new().await;
    between
        .export(&["--code", "invalid_version"])
        .await
        .assert_said(0, &["3 dead letters in", "3 open invalid_version"]);
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest_of(&between.file())).unwrap()).unwrap();
    assert_eq!(manifest["filter"], "code invalid_version, open");
    fs::remove_file(between.file()).unwrap();
    fs::remove_file(manifest_of(&between.file())).unwrap();
    let discarded = Search { status: Some(Status::Discarded), ..Search::default() };
    let hash = between.hashes(discarded).await[0].to_string();
    between.export(&[&hash]).await.assert_said(0, &["1 dead letter in", "1 discarded array_body"]);
}

#[tokio::test]
async fn two_imports_at_once_write_each_letter_once() {
    let between = Between::of(250).await;
    let letter_file = [(), (), ()].map(|()| LetterFile::open(&between.file()).unwrap());
    let said = Said::by("ada");
    let import = import_with(&between.to, &between.to.keyring, &said);
    let run = async |letter_file: &LetterFile| import.run(letter_file, false, |_| {}).await.unwrap();
    let (one, two, three) = tokio::join!(run(&letter_file[0]), run(&letter_file[1]), run(&letter_file[2]));
    let reports: [Report; 3] = [one, two, three];
    assert_eq!(reports.iter().map(|report| report.buried.letters()).sum::<u64>(), 250, "{reports:?}");
    assert_eq!(reports.iter().map(|report| report.buried.recorded).sum::<u64>(), 500, "{reports:?}");
    assert_eq!(between.to.counts().await, [250, 0, 250, 0]);
    between.to.assert_promise().await;
}

#[tokio::test]
async fn what_is_older_than_the_tables_remember_becomes_a_letter_that_is_replayed_by_force_alone() {
    let between = Between::new().await;
    between.export_all().await;
    let tables = &between.to;
    tables.load_once_rejected(&["canary 1"]).await;
    tables.client.batch_execute("UPDATE horizon SET retained_since = '2026-03-02'").await.unwrap();
    let foreseen = between.import(&["--dry-run"]).await;
    foreseen.assert_said(0, &["4 dead letters would be imported: 4 older_than_memory", "1 recorded here already"]);
    between.import(&[]).await.assert_said(0, &["4 older_than_memory", "1 recorded here already"]);
    assert_eq!(tables.count("dead_letters WHERE sent_at = 'epoch' AND sent_timestamp IS NOT NULL").await, 4);
    between.import(&[]).await.assert_said(0, &["0 dead letters imported", "5 recorded here already"]);
    let replayed = tables.replay_all().await;
    assert_eq!(replayed.replayed, 1, "{replayed:?}");
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_queue_that_gives_no_times_there_claims_under_the_constant_time() {
    let between = Between::new().await;
    between.export_all().await;
    introduce(&between.to.database, "message-id").await;
    between.to.client.batch_execute("UPDATE queues SET time_basis = 'none'").await.unwrap();
    between.import(&[]).await.assert_said(0, &["5 dead letters imported"]);
    assert_eq!(between.to.count("processed_messages WHERE sent_at = 'epoch'").await, 5);
    between.to.assert_promise().await;
}

#[tokio::test]
async fn the_last_edit_that_was_tried_is_in_the_file_and_a_letter_comes_as_it_was_delivered() {
    let between = Between::new().await;
    let hash =
        between.hashes(Search { code: Some("invalid_json".to_owned()), ..Search::default() }).await[0].to_string();
    let body = between.folder.path().join("body");
    fs::write(&body, "[1]").unwrap();
    let arguments = ["dead-letters", "replay", &hash, "--replace", body.to_str().unwrap(), "--reason", "why"];
    let tried = between.from.turnstile(&arguments).await;
    assert_eq!(tried.code, 1, "it is still no login: {tried:?}");
    between.export(&["--code", "invalid_json"]).await.assert_said(0, &["1 dead letter in"]);
    let line: serde_json::Value = serde_json::from_str(&fs::read_to_string(between.file()).unwrap()).unwrap();
    assert!(line["edited"]["plan"].is_number() && line["edited"]["sealed_body"].is_string(), "{line}");
    between.import(&[]).await.assert_said(0, &["1 dead letter imported", "1 as they were delivered"]);
    assert_eq!(between.to.count("dead_letter_revisions").await, 0);
    between.to.assert_promise().await;
}

#[tokio::test]
async fn only_an_operator_exports_and_imports_and_a_revealer_reveals() {
    let between = Between::new().await;
    between.export_all().await;
    let (_test, roles) = granted().await;
    let file = between.file();
    let file = file.to_str().unwrap();
    let at = async |url: &str, arguments: &[&str]| {
        let tables = Tables::at(url, std::time::Duration::from_secs(30)).await;
        tables.turnstile(&[&["dead-letters"], arguments].concat()).await
    };
    for refused in [&roles.loader_url, &roles.viewer_url, &roles.revealer_url, &roles.auditor_url] {
        let ended = at(refused, &["import", file]).await;
        assert!(ended.code == 1 && ended.stderr.contains("42501"), "{ended:?}");
    }
    at(&roles.operator_url, &["import", file]).await.assert_said(0, &["5 dead letters imported"]);
    let out = between.folder.path().join("out");
    let out = out.to_str().unwrap();
    for refused in [&roles.loader_url, &roles.viewer_url, &roles.revealer_url] {
        let ended = at(refused, &["export", "--all", "--to", out]).await;
        assert!(ended.code == 1 && ended.stderr.contains("42501"), "{ended:?}");
    }
    let revealing = ["export", "--all", "--to", out, "--reveal", "--reason", "why", "--yes"];
    let ended = at(&roles.operator_url, &revealing).await;
    assert!(ended.code == 1 && ended.stderr.contains("42501"), "{ended:?}");
    at(&roles.revealer_url, &revealing).await.assert_said(0, &["4 dead letters in"]);
    let sealed = between.folder.path().join("sealed");
    let sealed = ["export", "--all", "--to", sealed.to_str().unwrap()];
    at(&roles.operator_url, &sealed).await.assert_said(0, &["4 dead letters in"]);
    roles.drop().await;
}

#[tokio::test]
async fn an_file_of_letters_that_is_gone_says_which_file_is_meant() {
    let error = LetterFile::open(Path::new("/nowhere/letters")).err().unwrap();
    assert!(
        matches!(&error, LetterFileError::Unreadable { .. }) && error.to_string().contains("/nowhere/letters"),
        "{error}"
    );
}
