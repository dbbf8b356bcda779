//! Where the database is, and how the way to it is secured.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Place;
use super::rds_token::RdsTokens;

/// A database URL or `key=value` string, read; it prints host, port and database, never the password.
#[derive(Clone)]
pub struct DatabaseAddress {
    pub(super) config: Config,
    root_certificates: Option<PathBuf>,
    client_certificate: Option<ClientCertificate>,
    /// Whether the password is a token of AWS's IAM, made for each connection.
    iam: bool,
}

/// By what this client shows who it is.
#[derive(Clone)]
struct ClientCertificate {
    certificates: PathBuf,
    key: PathBuf,
}

/// A database URL cannot be used. Names the parameter, never the URL: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The driver cannot read it.
    #[error("it is not a PostgreSQL URL (postgres://USER@HOST:PORT/DATABASE) or key=value string")]
    Unreadable,
    /// No host.
    #[error("it names no host")]
    NoHost,
    /// A port that is not a number.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// A parameter of another tool.
    #[error("it has a parameter that is not known here: {0}")]
    Unknown(String),
    /// A parameter that is known, and its value is not.
    #[error("its parameter {0} has a value that is not known")]
    Value(String),
    /// An sslmode that PostgreSQL's own tools do not know either.
    #[error("sslmode must be disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// A client certificate without its key, or the key without it.
    #[error("sslcert and sslkey belong together, and it has one of them only")]
    HalfACertificate,
    /// A way to log in that is not known.
    #[error("auth must be aws-iam, or be left out")]
    Auth,
    /// What a token of AWS's IAM does not go with.
    #[error("with auth=aws-iam {0}")]
    Iam(&'static str),
}

impl AddressError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable => {
                "write it as postgres://USER@HOST:PORT/DATABASE, with reserved characters percent-encoded"
            }
            Self::NoHost => "write it as postgres://USER@HOST:PORT/DATABASE",
            Self::Port => "write it as postgres://USER@HOST:5432/DATABASE",
            Self::Unknown(_) => {
                "remove it; known are sslmode, sslrootcert, sslcert, sslkey, auth, application_name, options, \
                 connect_timeout, keepalives, target_session_attrs, load_balance_hosts, channel_binding, hostaddr"
            }
            Self::Value(_) => "correct its value (PostgreSQL's manual: Connection Strings), or remove it",
            Self::SslMode => {
                "choose verify-full: TLS, with the server's certificate verified; require and verify-ca mean the same \
                 here. With allow and prefer, the connection is in clear where the server says so; with disable always"
            }
            Self::HalfACertificate => "name both: sslcert=FILE&sslkey=FILE",
            Self::Auth => {
                "write auth=aws-iam to log in with a token of AWS's IAM, or remove it to log in with a password"
            }
            Self::Iam(_) => {
                "write it as postgres://USER@HOST:PORT/DATABASE?auth=aws-iam&sslmode=verify-full, with one host and \
                 without a password"
            }
        }
    }

    /// What the driver says, without any value. `known_names` says whether the names of parameters may be shown: behind a
    /// password they may be pieces of it.
    fn of(error: &tokio_postgres::Error, known_names: bool) -> Self {
        let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let named = |before: &str| {
            let name = said.strip_prefix(before)?.strip_prefix('`')?.strip_suffix('`')?;
            let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            (is_name && !name.is_empty()).then(|| name.to_owned())
        };
        match (named("invalid value for option "), named("unknown option ")) {
            (Some(name), _) if name == "port" => Self::Port,
            (Some(name), _) => Self::Value(name),
            (_, Some(name)) if known_names => Self::Unknown(name),
            (None, _) => Self::Unreadable,
        }
    }
}

/// The certificates that TLS needs are not available.
#[derive(Debug)]
pub enum TlsError {
    /// The files of `sslcert` and `sslkey`.
    ClientCertificate {
        /// Which of them.
        parameter: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file of `sslrootcert`.
    RootCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system's certificates.
    NoSystemCertificates(String),
    /// The TLS library refuses.
    Library(rustls::Error),
}

impl std::error::Error for TlsError {}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientCertificate { parameter, path, problem } => {
                write!(f, "{parameter} {}: {problem}", path.display())
            }
            Self::RootCertificates { path, problem } => write!(f, "sslrootcert {}: {problem}", path.display()),
            Self::NoSystemCertificates(problem) => write!(f, "no root certificate is on this system ({problem})"),
            Self::Library(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Library(error)
    }
}

impl TlsError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ClientCertificate { .. } => {
                "let sslcert=FILE name the client's certificate (PEM, with those that lead to its authority behind it), and \
                 sslkey=FILE its key (PEM, without a passphrase), which this user may read"
            }
            Self::RootCertificates { .. } => {
                "let sslrootcert=FILE name the certificate of the authority that signed the server's (PEM)"
            }
            Self::NoSystemCertificates(_) => "install ca-certificates, or name a file with sslrootcert=FILE",
            Self::Library(_) => "look at the files that sslrootcert, sslcert and sslkey name",
        }
    }
}

impl DatabaseAddress {
    /// Reads a URL or `key=value` string as PostgreSQL's own tools write it.
    ///
    /// Beyond what the driver knows: `sslmode=verify-ca` and `verify-full` mean what `require` means here, a verified
    /// chain and host name; `sslrootcert` names a file of PEM certificates; where no `sslmode` is given, a database on
    /// this machine is reached in clear and every other one must offer TLS. `sslcert` and `sslkey` name the files of a client's
    /// certificate and key; `auth=aws-iam` makes a token of AWS's IAM the password of each connection. Of several hosts one that takes rows is
    /// looked for, in any order, where `target_session_attrs` and `load_balance_hosts` say nothing else.
    ///
    /// # Errors
    ///
    /// [`AddressError`]; its text holds nothing of the URL's values.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let mut parameters = Parameters::split(text).ok_or(AddressError::Unreadable)?;
        let ssl_mode = parameters.take("sslmode");
        let root_certificates = parameters.take("sslrootcert").filter(|path| path != "system").map(PathBuf::from);
        let client_certificate = match (parameters.take("sslcert"), parameters.take("sslkey")) {
            (None, None) => None,
            (Some(certificates), Some(key)) => {
                Some(ClientCertificate { certificates: certificates.into(), key: key.into() })
            }
            (Some(_), None) | (None, Some(_)) => return Err(AddressError::HalfACertificate),
        };
        let iam = match parameters.take("auth").as_deref() {
            None => false,
            Some("aws-iam") => true,
            Some(_) => return Err(AddressError::Auth),
        };
        let [balanced, session] = ["load_balance_hosts", "target_session_attrs"].map(|name| parameters.holds(name));
        let known_names = !parameters.holds("password");
        let mut config: Config = parameters.join().parse().map_err(|error| AddressError::of(&error, known_names))?;
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
            // A certificate is shown in TLS only.
            None if is_local(&config) && client_certificate.is_none() => SslMode::Disable,
            None | Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some("disable") => SslMode::Disable,
            Some("prefer" | "allow") => SslMode::Prefer,
            Some(_) => return Err(AddressError::SslMode),
        });
        let address = Self { config, root_certificates, client_certificate, iam };
        if iam { address.fit_for_iam() } else { Ok(address) }
    }

    /// A token is a password for a quarter of an hour, made for one host, port and role.
    fn fit_for_iam(self) -> Result<Self, AddressError> {
        let [host] = self.config.get_hosts() else { return Err(AddressError::Iam("one host must be named")) };
        match host {
            _ if self.config.get_ssl_mode() != SslMode::Require => {
                Err(AddressError::Iam("TLS is required (sslmode=verify-full): a token is a password for 15 minutes"))
            }
            _ if self.has_password() => Err(AddressError::Iam("no password is needed: the token is the password")),
            _ if self.config.get_user().is_none() => Err(AddressError::Iam("the role must be named")),
            #[cfg(unix)]
            Host::Unix(_) => Err(AddressError::Iam("a host on the network must be named")),
            Host::Tcp(_) => Ok(self),
        }
    }

    /// What the driver connects with, together with [`Self::tls`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sets the password where the address holds none (`PGPASSWORD`), and needs one.
    pub fn set_password_if_none(&mut self, password: &str) {
        if self.config.get_password().is_none() && !self.iam {
            self.config.password(password);
        }
    }

    /// The same database for another role, which logs in by this password, or by none.
    pub fn as_role(&self, role: &str, password: Option<&str>) -> Self {
        let mut config = self.config.clone();
        // What is not set is set to something else: the driver has no way to unset a password.
        if self.has_password() || password.is_some() {
            config.password(password.unwrap_or_default());
        }
        // Without a database's name, that of the role would be taken.
        if let (None, Some(user)) = (config.get_dbname(), self.config.get_user()) {
            config.dbname(user);
        }
        config.user(role);
        Self { config, iam: false, ..self.clone() }
    }

    /// Whether the address itself holds a password.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Where it leads, for people.
    pub(super) fn place(&self) -> Place {
        let config = &self.config;
        let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
        let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(at)),
            #[cfg(unix)]
            Host::Unix(folder) => format!("{}:{}", folder.display(), port(at)),
        });
        let mut text = hosts.collect::<Vec<_>>().join(" or ");
        for (what, name) in [("database", config.get_dbname()), ("role", config.get_user())] {
            if let Some(name) = name {
                text += &format!(", {what} {name}");
            }
        }
        Place { text, by_token: self.iam }
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
            .with_root_certificates(self.roots()?);
        let tls = match &self.client_certificate {
            None => tls.with_no_client_auth(),
            Some(certificate) => {
                let (certificates, key) = certificate.read()?;
                let problem = |error: rustls::Error| certificate.unusable("sslkey", error.to_string());
                tls.with_client_auth_cert(certificates, key).map_err(problem)?
            }
        };
        Ok(MakeRustlsConnect::new(tls))
    }

    /// The tokens to log in with, where that is how.
    pub(super) fn tokens(&self) -> Option<RdsTokens> {
        let (Some(Host::Tcp(host)), Some(user), true) =
            (self.config.get_hosts().first(), self.config.get_user(), self.iam)
        else {
            return None;
        };
        Some(RdsTokens::of(host, *self.config.get_ports().first().unwrap_or(&5432), user))
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

impl ClientCertificate {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let of_certificates = |error: pem::Error| self.unusable("sslcert", error.to_string());
        let found = CertificateDer::pem_file_iter(&self.certificates).map_err(of_certificates)?;
        let certificates = found.collect::<Result<Vec<_>, _>>().map_err(of_certificates)?;
        if certificates.is_empty() {
            return Err(self.unusable("sslcert", "holds no PEM certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| {
            let problem = match error {
                pem::Error::NoItemsFound => "holds no PEM key, or one with a passphrase".to_owned(),
                other => other.to_string(),
            };
            self.unusable("sslkey", problem)
        })?;
        Ok((certificates, key))
    }

    fn unusable(&self, parameter: &'static str, problem: String) -> TlsError {
        let path = if parameter == "sslcert" { &self.certificates } else { &self.key };
        TlsError::ClientCertificate { parameter, path: path.clone(), problem }
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
            ("postgres://me@localhost/db?sslcert=a&sslkey=b", Transport::Verified),
            ("postgres://me@db.example/db?sslmode=allow", Transport::MayBeClear),
            ("postgres://me@db.example/db?auth=aws-iam", Transport::Verified),
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
            ("sesame", "not a PostgreSQL URL"),
            ("mysql://sesame", "or key=value string"),
            ("postgres://me:sesame@h/db?gssencmode=sesame", "not known here: gssencmode"),
            ("postgres://me@h/db?password=open&sesame=1", "not a PostgreSQL URL"),
            ("host=h password=open sesame=1", "not a PostgreSQL URL"),
            ("postgres://me:sesame@h/db?connect_timeout=sesame", "connect_timeout has a value"),
            ("postgres://me:sesame@h/db?sslcert=sesame", "sslcert and sslkey belong together"),
            ("postgres://me:sesame@h/db?auth=sesame", "auth must be aws-iam"),
            ("postgres://me:sesame@h/db?auth=aws-iam", "no password is needed"),
            ("postgres://me@h/db?auth=aws-iam&sslmode=prefer", "TLS is required"),
            ("postgres://me@localhost/db?auth=aws-iam", "TLS is required"),
            ("postgres://h/db?auth=aws-iam", "role must be named"),
            ("postgres://me@a,b/db?auth=aws-iam", "one host"),
            ("postgres://me:sesame@h:sesame/db", "port is not a number"),
            ("postgres://me@h/db?sslmode=sesame", "sslmode must be"),
            ("user=me password=sesame", "no host"),
            ("postgres://me:open@sesame@h/db", "not a PostgreSQL URL"),
            ("postgres://me:open/sesame@h/db", "not a PostgreSQL URL"),
            ("postgres://h/db?user=me&password=sesame@open", "not a PostgreSQL URL"),
            (" postgres://me:open@sesame@h/db", "not a PostgreSQL URL"),
            ("postgres://me@h/db password=sesame", "not a PostgreSQL URL"),
            ("host= password=sesame", "not a PostgreSQL URL"),
            ("host=h\\ password=sesame", "not a PostgreSQL URL"),
        ] {
            let said = DatabaseAddress::parse(text).unwrap_err().to_string();
            assert!(said.contains(needle) && !said.contains("sesame"), "{text}: {said}");
        }
    }
}
