//! Which PostgreSQL the tests use: a named one, or one on loan.

use std::{env, fmt};

use super::{OnLoan, OnLoanError, Options, create_database, drop_database};
use crate::database::address::{AddressError, DatabaseAddress};

/// The PostgreSQL that tests use: the one that `DATABASE_URL` names, else one on loan.
#[derive(Debug)]
pub enum Loan {
    /// A server that somebody else runs. Its user must be allowed to create databases.
    Named(Named),
    /// A server that lives as long as this value.
    Started(Box<OnLoan>),
}

impl Loan {
    /// Takes the server that `DATABASE_URL` names, or starts one.
    ///
    /// # Errors
    ///
    /// [`OnLoanError::NotAUrl`] if the variable holds no PostgreSQL URL; otherwise as for [`OnLoan::start`].
    pub async fn from_env_or_start(options: Options) -> Result<Self, OnLoanError> {
        match env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
            Some(url) => Named::new(url).map(Self::Named),
            None => OnLoan::start(options).await.map(|server| Self::Started(Box::new(server))),
        }
    }

    /// Creates a database, empty or as a copy of `template`, and returns its URL.
    ///
    /// # Errors
    ///
    /// [`OnLoanError::Statement`] if it exists already, may not be created, or the server does not answer.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<String, OnLoanError> {
        match self {
            Self::Started(server) => server.create_database(name, template).await,
            Self::Named(server) => {
                create_database(&server.address, name, template).await?;
                Ok(server.url_of(name))
            }
        }
    }

    /// Drops a database and whoever is connected to it.
    ///
    /// # Errors
    ///
    /// [`OnLoanError::Statement`] if it may not be dropped, or the server does not answer.
    pub async fn drop_database(&self, name: &str) -> Result<(), OnLoanError> {
        let address = match self {
            Self::Started(server) => &server.maintenance(),
            Self::Named(server) => &server.address,
        };
        drop_database(address, name).await
    }
}

/// A server that `DATABASE_URL` names.
pub struct Named {
    address: Box<DatabaseAddress>,
    /// Everything of the URL before the database's name, and everything after it.
    around_database: (String, String),
}

impl Named {
    fn new(url: String) -> Result<Self, OnLoanError> {
        let address = DatabaseAddress::parse(&url).map(Box::new).map_err(OnLoanError::NotAUrl)?;
        let no_url = || OnLoanError::NotAUrl(AddressError::Unreadable);
        let around_database = around_database(&url).ok_or_else(no_url)?;
        Ok(Self { address, around_database })
    }

    fn url_of(&self, database: &str) -> String {
        format!("{}{database}{}", self.around_database.0, self.around_database.1)
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Named")
    }
}

/// Splits a PostgreSQL URL into what stands before and after the name of its database.
fn around_database(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (rest, String::new()),
    };
    let authority = place.split_once('/').map_or(place, |(authority, _)| authority);
    Some((format!("{scheme}://{authority}/"), query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_a_url_is_exchanged() {
        for (url, expected) in [
            ("postgres://u:p@h:5432/db", "postgres://u:p@h:5432/new"),
            ("postgresql://h", "postgresql://h/new"),
            ("postgres://u@h/?sslmode=require", "postgres://u@h/new?sslmode=require"),
            ("postgres://h?host=/run/postgresql", "postgres://h/new?host=/run/postgresql"),
            (
                "postgres://u@h/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
                "postgres://u@h/new?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            ),
        ] {
            let server = Named::new(url.to_owned()).unwrap();
            assert_eq!(server.url_of("new"), expected);
        }
        assert!(matches!(Named::new("host=h dbname=db".to_owned()), Err(OnLoanError::NotAUrl(_))));
    }

    #[test]
    fn a_named_server_is_printed_without_its_password() {
        let server = Loan::Named(Named::new("postgres://u:hunter2@h/db".to_owned()).unwrap());
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}
