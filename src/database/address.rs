//! Where the database is, and how the way to it is secured.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A database URL or `key=value` string, read; it prints host, port and database, never the password.
#[derive(Clone)]
pub struct DatabaseAddress {
    pub(super) config: Config,
    root_certificates: Option<PathBuf>,
}

/// A database URL cannot be used. Names the parameter, never the URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The driver cannot read it.
    #[error("it is no PostgreSQL URL (postgres://USER@HOST:PORT/DATABASE) or key=value string")]
    Unreadable,
    /// No host.
    #[error("it names no host")]
    NoHost,
    /// An sslmode that PostgreSQL's own tools do not know either.
    #[error("sslmode must be disable, prefer, require, verify-ca or verify-full")]
    SslMode,
}

/// The certificates to check the server's with cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `sslrootcert`.
    #[error("sslrootcert {}: {problem}", path.display())]
    RootCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system's certificates.
    #[error("no root certificate on this system (install ca-certificates, or name a file with sslrootcert=…): {0}")]
    NoSystemCertificates(String),
    /// The TLS library refuses.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

impl DatabaseAddress {
    /// Reads a URL or `key=value` string as PostgreSQL's own tools write it.
    ///
    /// Beyond what the driver knows: `sslmode=verify-ca` and `verify-full` mean what `require` means here, a verified
    /// chain and host name; `sslrootcert` names a file of PEM certificates; where no `sslmode` is given, a database on
    /// this machine is reached in clear and every other one must offer TLS. Of several hosts one that takes rows is
    /// looked for, in any order, where `target_session_attrs` and `load_balance_hosts` say nothing else.
    ///
    /// # Errors
    ///
    /// [`AddressError`]; its text holds nothing of the URL's values.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let mut parameters = Parameters::split(text).ok_or(AddressError::Unreadable)?;
        let ssl_mode = parameters.take("sslmode");
        let root_certificates = parameters.take("sslrootcert").filter(|path| path != "system").map(PathBuf::from);
        let [balanced, session] = ["load_balance_hosts", "target_session_attrs"].map(|name| parameters.holds(name));
        let mut config: Config = parameters.join().parse().map_err(|_| AddressError::Unreadable)?;
        if config.get_hosts().is_empty() {
            return Err(AddressError::NoHost);
        }
        if !balanced {
            // One of several hosts that hangs uses up the deadline of the whole attempt: the next may begin with another.
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
        if !session && config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.ssl_mode(match ssl_mode.as_deref() {
            None if is_local(&config) => SslMode::Disable,
            None | Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some("disable") => SslMode::Disable,
            Some("prefer" | "allow") => SslMode::Prefer,
            Some(_) => return Err(AddressError::SslMode),
        });
        Ok(Self { config, root_certificates })
    }

    /// What the driver connects with, together with [`Self::tls`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sets the password where the address holds none (`PGPASSWORD`).
    pub fn set_password_if_none(&mut self, password: &str) {
        if self.config.get_password().is_none() {
            self.config.password(password);
        }
    }

    /// Whether the address itself holds a password.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// How the way there is secured.
    pub fn transport(&self) -> Transport {
        match self.config.get_ssl_mode() {
            SslMode::Require => Transport::Verified,
            SslMode::Disable if is_local(&self.config) => Transport::Local,
            _ => Transport::MayBeClear,
        }
    }

    /// How the driver secures a connection, where [`Self::config`] says that it is secured.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the certificates to check the server's with are not available.
    pub fn tls(&self) -> Result<MakeRustlsConnect, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(tls))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if self.config.get_ssl_mode() == SslMode::Disable {
            return Ok(roots);
        }
        let Some(path) = &self.root_certificates else {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            return match (roots.is_empty(), found.errors.first()) {
                (false, _) => Ok(roots),
                (true, error) => {
                    Err(TlsError::NoSystemCertificates(error.map(ToString::to_string).unwrap_or_default()))
                }
            };
        };
        let unusable = |problem: String| TlsError::RootCertificates { path: path.clone(), problem };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
            roots
                .add(certificate.map_err(|error| unusable(error.to_string()))?)
                .map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("holds no PEM certificate".to_owned()));
        }
        Ok(roots)
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => f.write_str(host)?,
            #[cfg(unix)]
            Some(Host::Unix(path)) => write!(f, "{}", path.display())?,
            None => {}
        }
        write!(f, ":{}", self.config.get_ports().first().unwrap_or(&5432))?;
        write!(f, "/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseAddress({self})")
    }
}

/// How the connection to the database is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TLS, with the server's chain and host name verified.
    Verified,
    /// In clear, and it does not leave this machine.
    Local,
    /// In clear, or in clear when the server says so.
    MayBeClear,
}

fn is_local(config: &Config) -> bool {
    config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
        && config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost"
                    || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        })
}

/// The parameters of a connection string, so that ours can be taken out before the driver reads it.
struct Parameters<'t> {
    /// What stands before the parameters: the URL up to its `?`, or nothing.
    head: Option<&'t str>,
    pairs: Vec<&'t str>,
}

impl<'t> Parameters<'t> {
    /// Nothing for a text in which the driver would find a piece of a password where a host, user or database is due:
    /// those are printed.
    fn split(text: &'t str) -> Option<Self> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) else {
            let pairs: Vec<&str> = text.split_whitespace().collect();
            // In `host= password=…` and `host=h\ password=…` the value of `host` takes in the next pair.
            return pairs.iter().all(|pair| !pair.ends_with(['=', '\\'])).then_some(Self { head: None, pairs });
        };
        // The user and password end at the first `@` of the URL, wherever it stands.
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        let ats = |part: &str| part.matches('@').count();
        let (head, query) = text.split_once('?').unwrap_or((text, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).collect();
        let is_plain = ats(authority) <= 1 && ats(rest) == ats(authority) && !rest.contains(char::is_whitespace);
        is_plain.then_some(Self { head: Some(head), pairs })
    }

    fn holds(&self, name: &str) -> bool {
        self.pairs.iter().any(|pair| pair.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let value = |pair: &&str| pair.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned);
        let found = self.pairs.iter().rev().find_map(value);
        self.pairs.retain(|pair| value(pair).is_none());
        found.map(|value| value.replace("%2F", "/").replace("%2f", "/").trim_matches('\'').to_owned())
    }

    fn join(&self) -> String {
        match self.head {
            Some(head) if self.pairs.is_empty() => head.to_owned(),
            Some(head) => format!("{head}?{}", self.pairs.join("&")),
            None => self.pairs.join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_elsewhere_must_offer_tls_unless_the_address_says_otherwise() {
        for (text, transport) in [
            ("postgres://me@localhost/db", Transport::Local),
            ("postgres://me@127.0.0.1:5433/db", Transport::Local),
            ("postgres://me@[::1]/db", Transport::Local),
            ("host=/var/run/postgresql dbname=db", Transport::Local),
            ("postgres://me@db.example/db", Transport::Verified),
            ("postgres://me@db.example/db?sslmode=require", Transport::Verified),
            ("postgres://me@db.example/db?sslmode=verify-full&sslrootcert=/etc/ca.pem", Transport::Verified),
            ("host=db.example user=me sslmode=verify-ca", Transport::Verified),
            ("postgres://me@db.example/db?sslmode=prefer", Transport::MayBeClear),
            ("postgres://me@db.example/db?sslmode=disable&connect_timeout=3", Transport::MayBeClear),
            ("postgres://me@localhost/db?sslmode=verify-full", Transport::Verified),
        ] {
            assert_eq!(DatabaseAddress::parse(text).unwrap().transport(), transport, "{text}");
        }
    }

    #[test]
    fn of_several_hosts_one_that_takes_rows_is_looked_for_unless_the_address_says_otherwise() {
        use LoadBalanceHosts::{Disable, Random};
        use TargetSessionAttrs::{Any, ReadOnly, ReadWrite};
        for (text, session, order) in [
            ("postgres://me@a/db", Any, Random),
            ("postgres://me@a,b/db", ReadWrite, Random),
            ("host=a,b user=me", ReadWrite, Random),
            ("postgres://me@a,b/db?target_session_attrs=any", Any, Random),
            ("postgres://me@a,b/db?target_session_attrs=read-only", ReadOnly, Random),
            ("postgres://me@a,b/db?load_balance_hosts=disable", ReadWrite, Disable),
            ("host=a,b user=me load_balance_hosts=disable target_session_attrs=any", Any, Disable),
        ] {
            let config = DatabaseAddress::parse(text).unwrap().config;
            assert_eq!(config.get_target_session_attrs(), session, "{text}");
            assert_eq!(config.get_load_balance_hosts(), order, "{text}");
        }
    }

    #[test]
    fn an_address_prints_where_it_leads_and_never_its_password() {
        let address = DatabaseAddress::parse("postgres://me:sesame@db.example:6432/logins").unwrap();
        assert_eq!(format!("{address} {address:?}"), "db.example:6432/logins DatabaseAddress(db.example:6432/logins)");
        assert!(address.has_password());
    }

    #[test]
    fn an_unusable_address_says_why_without_its_values() {
        for (text, needle) in [
            ("", "no host"),
            ("sesame", "no PostgreSQL URL"),
            ("mysql://sesame", "or key=value string"),
            ("postgres://me:sesame@h/db?sesame=sesame", "no PostgreSQL URL"),
            ("postgres://me:sesame@h:sesame/db", "no PostgreSQL URL"),
            ("postgres://me@h/db?sslmode=sesame", "sslmode must be"),
            ("user=me password=sesame", "no host"),
            ("postgres://me:open@sesame@h/db", "no PostgreSQL URL"),
            ("postgres://me:open/sesame@h/db", "no PostgreSQL URL"),
            ("postgres://h/db?user=me&password=sesame@open", "no PostgreSQL URL"),
            (" postgres://me:open@sesame@h/db", "no PostgreSQL URL"),
            ("postgres://me@h/db password=sesame", "no PostgreSQL URL"),
            ("host= password=sesame", "no PostgreSQL URL"),
            ("host=h\\ password=sesame", "no PostgreSQL URL"),
        ] {
            let said = DatabaseAddress::parse(text).unwrap_err().to_string();
            assert!(said.contains(needle) && !said.contains("sesame"), "{text}: {said}");
        }
    }
}
