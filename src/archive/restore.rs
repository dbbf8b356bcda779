//! Rows back from an archive, into tables beside those that they left. Only files that are what their manifests say are read.

use super::binary::binary;
use super::chain::{self, Link};
use super::failure::ArchiveError;
use super::keep::equal;
use super::reader::{self, ReadError};
use super::storage::Storage;
use super::stored::open;
use crate::database::{Database, LoneSession};
use crate::table::archived_columns::RowDigest;
use crate::table::restored::{self, Filling};
use crate::table::time_partitions::Parent;

/// A table that was filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its name, in the schema of the table that the rows belonged to.
    pub table: String,
    /// How many rows it holds.
    pub rows: u64,
}

/// Restores what an archive holds of a month, or of a day where it has days: the logins and the claims, as far as it has them.
/// `tell` hears of each table.
///
/// # Errors
///
/// [`ArchiveError`]: a table is there whole, or not at all.
pub async fn restore(
    database: &Database,
    storage: &Storage,
    month: &str,
    mut tell: impl FnMut(&Restored),
) -> Result<Vec<Restored>, ArchiveError> {
    let (chain, problems) = chain::look(storage).await?;
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem.into());
    }
    let current = chain.current();
    let mut done = Vec::new();
    for parent in Parent::ALL {
        let of_month = current.iter().filter(|((of, label), _)| *of == parent && is_of(label, month));
        let links: Vec<&Link> = of_month.map(|(_, link)| *link).collect();
        if !links.is_empty() {
            // A session of its own takes a table that is not kept with it.
            let one = fill(&database.lone_session().await?, storage, parent, month, &links).await?;
            tell(&one);
            done.push(one);
        }
    }
    if done.is_empty() {
        let mut held: Vec<&str> = current.keys().map(|(_, label)| label.as_str()).collect();
        held.dedup();
        let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
        return Err(ArchiveError::NoSuchMonth { month: month.to_owned(), held });
    }
    Ok(done)
}

/// Whether rows are of a month, or of a day.
fn is_of(label: &str, month: &str) -> bool {
    label == month || label.strip_prefix(month).is_some_and(|day| day.len() == 3 && day.starts_with('-'))
}

async fn fill(
    session: &LoneSession,
    storage: &Storage,
    parent: Parent,
    month: &str,
    links: &[&Link],
) -> Result<Restored, ArchiveError> {
    let table = format!("{parent}_restored_{}", month.replace("before-", "before_").replace('-', ""));
    if restored::stands(session, parent, &table).await? {
        return Err(ArchiveError::Exists(table));
    }
    let columns = links.first().map(|link| link.manifest.columns.clone()).unwrap_or_default();
    let filling = Filling::begin(session, parent, &table, &columns).await?;
    let mut expected = RowDigest::default();
    let mut rows = filling.rows().await?;
    for Link { manifest, .. } in links {
        if manifest.columns != columns {
            return Err(ArchiveError::unreadable(&manifest.name())(ReadError::OtherColumns));
        }
        expected.add_all(&manifest.rows.reckoned());
        for file in &manifest.files {
            let opened = open(storage, file).await?;
            let groups = reader::groups(opened, &columns).map_err(ArchiveError::unreadable(&file.name))?;
            for group in groups {
                let group = group.map_err(ArchiveError::unreadable(&file.name))?;
                for row in 0..group.rows {
                    let values = columns.iter().enumerate();
                    let values: Vec<_> =
                        values.map(|(at, column)| binary(group.value(row, at), column.kept_as)).collect();
                    rows.add(&values).await?;
                }
            }
        }
    }
    rows.end().await?;
    equal(&table, "archive", &filling.digest().await?, &expected)?;
    filling.keep().await?;
    Ok(Restored { table, rows: expected.rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_its_days_and_no_other_time() {
        for (label, month, is) in [
            ("2026-11", "2026-11", true),
            ("2026-11-27", "2026-11", true),
            ("2026-11-27", "2026-11-27", true),
            ("2026-11", "2026-1", false),
            ("2026-11", "2026", true),
            ("2026-11-27", "2026", false),
            ("2026-11-27", "2026-1", false),
            ("before-2026-11-01", "2026-11", false),
            ("before-2026-11-01", "before-2026-11-01", true),
        ] {
            assert_eq!(is_of(label, month), is, "{label} {month}");
        }
    }
}
