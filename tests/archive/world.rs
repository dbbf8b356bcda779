//! Detached partitions with rows in them, as retention leaves them, and an archive in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use turnstile::archive::ArchiveError;
use turnstile::archive::keep::{KeepSettings, Kept, archive};
use turnstile::archive::storage::{Place, Storage};
use turnstile::archive::verify::{Verified, verify};

use crate::support::tables::Tables;

/// A partition that has left its table.
pub(super) struct Partition {
    pub(super) parent: &'static str,
    pub(super) place: &'static str,
    since: Option<&'static str>,
    until: &'static str,
}

/// What stood in the table before it was partitioned, rows of before Turnstile among it.
pub(super) const FIRST: Partition =
    Partition { parent: "user_logins", place: "public.user_logins_before_202610", since: None, until: "2026-10-01" };
/// A month of logins.
pub(super) const LOGINS: Partition = Partition {
    parent: "user_logins",
    place: "public.user_logins_202610",
    since: Some("2026-10-01"),
    until: "2026-11-01",
};
/// The month after it.
pub(super) const NEXT: Partition = Partition {
    parent: "user_logins",
    place: "public.user_logins_202611",
    since: Some("2026-11-01"),
    until: "2026-12-01",
};
/// A month of claims.
pub(super) const CLAIMS: Partition = Partition {
    parent: "processed_messages",
    place: "turnstile.processed_messages_202610",
    since: Some("2026-10-01"),
    until: "2026-11-01",
};

impl Partition {
    pub(super) fn name(&self) -> &'static str {
        self.place.rsplit('.').next().unwrap()
    }

    fn is_of_logins(&self) -> bool {
        self.parent == "user_logins"
    }

    /// Rows by their number: hashes are random, texts are such as trip up who frames or escapes them. Every tenth row of the
    /// first partition is older than Turnstile, and two of them are equal.
    fn rows(&self, rows: u32, order: &str) -> String {
        let place = self.place;
        let begin = self.since.unwrap_or("2026-09-01");
        let at = format!("timestamptz '{begin} 00:00:00+00' + n * interval '1.234567 seconds'");
        let hash = "sha256(n::text::bytea)";
        if !self.is_of_logins() {
            return format!(
                "INSERT INTO {place} (sent_at, message_hash, outcome, absorbed_by, absorbed_by_sent_at, message_id, body_hash,
                                      received_at, processed_at)
                 SELECT {at}, {hash}, CASE n % 9 WHEN 0 THEN 'absorbed' ELSE 'loaded' END,
                        CASE n % 9 WHEN 0 THEN {hash} END, CASE n % 9 WHEN 0 THEN {at} END, 'id ' || n, {hash}, {at}, {at}
                 FROM generate_series(1, {rows}) n ORDER BY {order}"
            );
        }
        let is_old = if self.since.is_none() { "n % 10 = 0" } else { "false" };
        let key = "(SELECT key_id FROM turnstile.turnstile_keys LIMIT 1)";
        format!(
            "INSERT INTO {place} (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date,
                                  message_sent_at, message_hash)
             SELECT CASE n % 7 WHEN 0 THEN '' WHEN 1 THEN 'Zoë \"日本\" 1:2' ELSE 'user ' || n % 50 END,
                    CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN '-' ELSE 'ios' END,
                    CASE n % 11 WHEN 0 THEN '203.0.113.7' ELSE {key} || '.' || md5((n % 90)::text) || repeat('x', 11) END,
                    {key} || ':' || md5((n % 40)::text), CASE n % 3 WHEN 0 THEN E'a\\nb' END, n * 1000,
                    ({at})::date, CASE WHEN NOT ({is_old}) THEN {at} END, CASE WHEN NOT ({is_old}) THEN {hash} END
             FROM generate_series(1, {rows}) n ORDER BY {order};
             UPDATE {place} SET app_version = 7, masked_device_id = 'x', user_id = 'x', masked_ip = 'x', locale = 'x',
                                device_type = 'x', create_date = '2026-09-01'
             WHERE message_hash IS NULL AND app_version IN (10000, 20000)"
        )
    }
}

/// A database in which partitions wait for the archive.
pub(super) struct World {
    pub(super) tables: Tables,
}

impl World {
    pub(super) async fn new() -> Self {
        let tables = Tables::new().await;
        let sql = "INSERT INTO turnstile.partitioning (parent, period, made_until, since)
                   SELECT parent, 'monthly', '2027-03-01', '2026-10-01' FROM unnest(ARRAY['user_logins', 'processed_messages']) parent";
        tables.client.batch_execute(sql).await.unwrap();
        // As `turnstile migrate --partition` makes the table: a row of before it has no message.
        let nullable =
            "ALTER TABLE public.user_logins ALTER message_sent_at DROP NOT NULL, ALTER message_hash DROP NOT NULL";
        tables.client.batch_execute(nullable).await.unwrap();
        Self { tables }
    }

    /// Lets a partition with so many rows wait.
    pub(super) async fn retire(&self, partition: &Partition, rows: u32) {
        self.retire_in_order(partition, rows, "n").await;
    }

    /// The same, its rows having been written in this order.
    pub(super) async fn retire_in_order(&self, partition: &Partition, rows: u32, order: &str) {
        self.make(partition).await;
        self.run(&partition.rows(rows, order)).await;
        self.detached(partition).await;
    }

    /// Makes the table, which has its rows to come.
    pub(super) async fn make(&self, partition: &Partition) {
        let Partition { parent, place, since, until } = partition;
        let schema = if partition.is_of_logins() { "public" } else { "turnstile" };
        let since = since.map_or("NULL".to_owned(), |since| format!("timestamptz '{since} 00:00:00+00'"));
        self.run(&format!(
            "CREATE TABLE {place} (LIKE {schema}.{parent} INCLUDING ALL);
             INSERT INTO turnstile.retired_partitions (partition, parent, since, until, for_archive)
             VALUES ('{}', '{parent}', {since}, '{until} 00:00:00+00', true)",
            partition.name()
        ))
        .await;
    }

    /// Notes that it is a table of its own.
    pub(super) async fn detached(&self, partition: &Partition) {
        let Partition { place, .. } = partition;
        self.run(&format!(
            "UPDATE turnstile.retired_partitions SET detached_at = now(), row_count = (SELECT count(*) FROM {place})
             WHERE partition = '{}'",
            partition.name()
        ))
        .await;
    }

    pub(super) async fn run(&self, sql: &str) {
        self.tables.client.batch_execute(sql).await.unwrap();
    }

    pub(super) async fn stands(&self, table: &str) -> bool {
        let row = self.tables.client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await.unwrap();
        row.get(0)
    }

    pub(super) async fn key_id(&self) -> String {
        let sql = "SELECT key_id FROM turnstile.turnstile_keys LIMIT 1";
        self.tables.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub(super) async fn keep(&self, archive: &Archive) -> Result<Vec<Kept>, ArchiveError> {
        self.archive(archive, &KeepSettings::default()).await
    }

    pub(super) async fn archive(&self, into: &Archive, settings: &KeepSettings) -> Result<Vec<Kept>, ArchiveError> {
        let storage = Storage::open(&into.place()).await.unwrap();
        archive(&self.tables.database, storage, &into.place(), settings, |_| {}).await
    }

    /// The digest of each table that waits, in the order in which they go, by SQL that is written here once more.
    pub(super) async fn sql_digests(&self) -> Vec<String> {
        let mut digests = Vec::new();
        for Partition { parent, place, .. } in [&FIRST, &LOGINS, &CLAIMS] {
            let texts: Vec<&str> = match *parent {
                "user_logins" => vec![
                    "user_id",
                    "device_type",
                    "masked_ip",
                    "masked_device_id",
                    "locale",
                    "app_version::text",
                    "(create_date - '1970-01-01')::text",
                    "round(extract(epoch from message_sent_at) * 1000000)::bigint::text",
                    "encode(message_hash, 'hex')",
                ],
                _ => vec![
                    "round(extract(epoch from sent_at) * 1000000)::bigint::text",
                    "encode(message_hash, 'hex')",
                    "outcome",
                    "encode(absorbed_by, 'hex')",
                    "round(extract(epoch from absorbed_by_sent_at) * 1000000)::bigint::text",
                    "message_id",
                    "encode(body_hash, 'hex')",
                    "round(extract(epoch from received_at) * 1000000)::bigint::text",
                    "round(extract(epoch from processed_at) * 1000000)::bigint::text",
                ],
            };
            let framed: Vec<_> =
                texts.iter().map(|text| format!("coalesce(octet_length({text}) || ':' || ({text}), '-')")).collect();
            let sql = format!(
                "SELECT sum(('x' || left(md5(concat({})), 15))::bit(60)::bigint)::text FROM {place}",
                framed.join(", ")
            );
            digests.push(self.tables.client.query_one(&sql, &[]).await.unwrap().get(0));
        }
        digests
    }
}

/// An archive in a folder of its own.
pub(super) struct Archive {
    folder: TempDir,
    root: PathBuf,
}

impl Archive {
    /// A folder that is not there yet.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("archive");
        Self { folder, root }
    }

    pub(super) fn path(&self) -> &str {
        self.root.to_str().unwrap()
    }

    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn place(&self) -> Place {
        Place::Folder(self.root.clone())
    }

    pub(super) async fn storage(&self) -> Storage {
        Storage::open(&self.place()).await.unwrap()
    }

    pub(super) async fn verify(&self, deep: bool) -> Verified {
        verify(&self.storage().await, deep, None, |_| {}).await.unwrap()
    }

    /// What stands in it, whatever it is.
    pub(super) fn objects(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.root, &mut found);
        let name = |path: &PathBuf| path.strip_prefix(&self.root).unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = found.iter().map(name).collect();
        names.sort();
        names
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.root.join(name)).unwrap()
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.root.join(name)).unwrap();
    }

    /// Where the first digit behind this text is.
    pub(super) fn digit_of(&self, name: &str, behind: &str) -> usize {
        String::from_utf8(self.read(name)).unwrap().find(behind).unwrap() + behind.len()
    }

    /// Changes a bit of an object.
    pub(super) fn flip(&self, name: &str, at: usize) {
        let mut bytes = self.read(name);
        bytes[at] ^= 1;
        self.write(name, &bytes);
    }

    /// The names and bytes of its files.
    pub(super) fn parquet(&self) -> Vec<(String, Vec<u8>)> {
        let files = self.objects().into_iter().filter(|name| name.ends_with(".parquet"));
        files.map(|name| (name.clone(), self.read(&name))).collect()
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, found),
            false => found.push(path),
        }
    }
}
